"""``hrpose batch``: all pictures below a folder to one JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hrpose.cli.options import PATH, Files, takes
from hrpose.cli.progress import load_noted, progress_bar, stoppable
from hrpose.cli.report import printable, report
from hrpose.errors import InputError, UsageError
from hrpose.options import Options, Style

if TYPE_CHECKING:
    from hrpose.run import Tally


@click.command()
@click.argument("folder", type=PATH)
@click.option("--json", "json_path", type=PATH, required=True, metavar="FILE", help="All results.")
@click.option(
    "--draw",
    "draw_folder",
    type=PATH,
    metavar="DIR",
    help="Draw every picture, too, into this folder with the structure of FOLDER.",
)
@takes(Options, Style, Files)
def batch(
    folder: Path, json_path: Path, draw_folder: Path | None,
    options: Options, style: Style, files: Files,
) -> int:  # fmt: skip
    """Find people in all pictures below FOLDER, at any depth, and write one JSON.

    Pictures that cannot be read are listed at the end and, with the reason, in the native JSON;
    the exit code is 3 then. Drawings below FOLDER are not read as pictures.

    The JSON appears whole or not at all. After Ctrl-C it holds what was done until then, and the
    exit code is 130; a second Ctrl-C stops at once and writes none.
    """
    from hrpose import run
    from hrpose.media.targets import Target, plan, prepare
    from hrpose.results import check_results

    pictures = _pictures(folder, draw_folder)
    targets = [Target(picture) for picture in pictures]
    if draw_folder is not None:
        targets = plan(pictures, draw_folder, below=folder, json=None)
    drawings = [path for target in targets for path in target.results]
    prepare(drawings, sources=pictures, force=files.force, make_folders=True)
    check_results([json_path], files.format, force=files.force, inputs=pictures)
    pipeline = load_noted(options, quiet=files.quiet)
    output = run.Output(run.header_of(pipeline, options), files.format, style, files.force)
    readings = run.read_pictures(pictures, max_pixels=files.max_pixels, ahead=options.frame_batch)
    with stoppable() as stop:
        with progress_bar(len(pictures), unit=" pictures", quiet=files.quiet) as bar:
            tally = run.run_batch(
                pipeline, stop.until(readings), targets, output, json=json_path, watch=bar.update
            )
        _tell(tally, folder, json_path, draw_folder)
        if stop.asked:
            done = tally.pictures + len(tally.failed)
            kept = f"stopped after {done} of {len(pictures)} pictures; {json_path} has them"
            report("note", kept)
    return InputError.exit_code if tally.failed else 0


def _pictures(folder: Path, draw_folder: Path | None) -> list[Path]:
    from hrpose.media import pictures

    found = pictures(folder)
    if draw_folder is None or not draw_folder.resolve().is_relative_to(folder.resolve()):
        return found
    below = draw_folder.resolve().relative_to(folder.resolve())
    if below == Path():
        raise UsageError(
            f"--draw {draw_folder} is the folder of the pictures",
            hint="name another folder, or one below it",
        )
    kept = [path for path in found if folder / below not in path.parents]
    if not kept:
        raise InputError(
            f"{folder}: no pictures in this folder", hint=f"those in {draw_folder} are drawings"
        )
    return kept


def _tell(tally: Tally, folder: Path, json_path: Path, draw_folder: Path | None) -> None:
    for failed in tally.failed:
        report("error", failed.error.message)
    if tally.failed:
        total = tally.pictures + len(tally.failed)
        share = f"{len(tally.failed)} of {total} pictures could not be read"
        report("hint", f"{share}; copy or download them again, or convert them")
    results = ", ".join(str(path) for path in (json_path, draw_folder) if path is not None)
    line = f"{folder}: {tally.pictures} pictures, {tally.people} people -> {results}"
    click.echo(printable(line))
