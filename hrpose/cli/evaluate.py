"""``hrpose evaluate``: how right a model is, by the published protocols."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hrpose.cli.evaluation import (
    TASKS,
    arguments_from,
    asking,
    files_from,
    options_from,
    refuse_nonsense,
    settings_from,
)
from hrpose.cli.report import printable, report
from hrpose.errors import InputError

if TYPE_CHECKING:
    from hrpose.evaluate.report import AnyReport

NAMED = 10  # unreadable pictures that are named one by one
COLUMN = 8  # characters, at least


@click.command()
@asking
def evaluate(task: str, data: Path, images: tuple[Path, ...], force: bool, **asked: Any) -> int:
    """Measure a model on labelled data, by default as the published numbers on COCO were made.

    Pictures that cannot be read are named, and the exit code is 3; their people count as missed,
    faces and classified pictures are left out.
    """
    from hrpose.device import choose_device
    from hrpose.evaluate.report import Request, write_report

    given = {name: value for name, value in asked.items() if value is not None}
    refuse_nonsense(task, data, images, given)
    options, files = options_from(task, given), files_from(task, data, given)
    _check_outputs(given, files, force=force)
    device = None if "results" in given else choose_device(options.device)
    settings = settings_from(task, given, options)
    request = Request(task, settings, files, images, device, datetime.now(UTC))
    arguments = arguments_from(task, given)
    if "results" in given:
        found = _function("hrpose.evaluate.run:evaluate_results")(data, images=images, **arguments)
    else:
        found = _function(TASKS[task].function)(data, images, options, **arguments)
    _print(found, digits=TASKS[task].digits)
    _write_results(found, task, given, force=force)
    if "json" in given:
        write_report(given["json"], found, request, force=force)
    return _tell_unreadable(found)


def _function(address: str) -> Any:
    module, _, name = address.partition(":")
    return getattr(import_module(module), name)


def _check_outputs(given: Mapping[str, Any], files: Mapping[str, Path], *, force: bool) -> None:
    from hrpose.media.output import check_output

    for name in ("json", "predictions"):
        if name in given:
            check_output(given[name], force=force, inputs=tuple(files.values()))
    if "report" in given:
        from hrpose.evaluate.breakdown import check_folder

        check_folder(given["report"], force=force)


def _write_results(found: Any, task: str, given: Mapping[str, Any], *, force: bool) -> None:
    if "predictions" in given and task != "face":  # those of faces are written already
        from hrpose.evaluate.results import scored_people, write_boxes, write_results

        path, ids = given["predictions"], found.truth.ids
        if task == "boxes":
            write_boxes(path, found.results, ids, force=force)
        else:
            write_results(path, scored_people(found.results, ids), force=force)
    if "report" in given:
        from hrpose.evaluate.breakdown import write_breakdown

        write_breakdown(
            found.truth,
            found.results,
            given["report"],
            force=force,
            pictures=found.counted,
            about=" and ".join(model.name for model in found.models),
        )


def _print(found: AnyReport, *, digits: int) -> None:
    for model in found.models:
        click.echo(printable(f"{model.task}: {model.name} {model.sha256[:8]}".rstrip()))
    click.echo(f"{found.pictures} pictures, {found.people} people, {found.seconds:.1f} s")
    for title, numbers in found.tables():
        widths = [max(COLUMN, len(name)) for name in numbers]
        click.echo(title)
        for row in (numbers, [f"{value:.{digits}f}" for value in numbers.values()]):
            cells = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            click.echo("  " + "  ".join(cells))


def _tell_unreadable(found: AnyReport) -> int:
    for one in found.unreadable[:NAMED]:
        report("error", one.error.message)
    if found.unreadable:
        hints = "; ".join(sorted({one.error.hint for one in found.unreadable[:NAMED]}))
        total = f"{len(found.unreadable)} of {found.pictures} pictures could not be read"
        report("hint", f"{total}; {hints}")
    return InputError.exit_code if found.unreadable else 0
