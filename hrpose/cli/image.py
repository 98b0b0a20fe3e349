"""``hrpose image``: pictures to drawn pictures and JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hrpose.cli.options import PATH, Files, takes
from hrpose.cli.progress import load_noted
from hrpose.cli.report import printable, report, report_error
from hrpose.errors import InputError
from hrpose.options import Options, Style

if TYPE_CHECKING:
    from hrpose.media.targets import Target


@click.command()
@click.argument("photos", nargs=-1, required=True, type=PATH, metavar="PHOTO...")
@click.option(
    "--out",
    type=PATH,
    default=".",
    metavar="DIR",
    help="Folder of the results, made if it is missing; default: the current one.",
)
@takes(Options, Style, Files)
def image(
    photos: tuple[Path, ...], out: Path, options: Options, style: Style, files: Files
) -> int:  # fmt: skip
    """Find people in pictures; draw them and write JSON.

    photo.jpg gives photo.pose.jpg and photo.pose.json, photo.png gives photo.pose.png and
    photo.pose.json. Pictures that differ in their suffix only keep it: a.jpg.pose.json,
    a.png.pose.json. A name that starts with a dash goes behind --.

    A picture that cannot be read is named, the others go on, and the exit code is 3.
    """
    from hrpose import run
    from hrpose.media.targets import plan, prepare
    from hrpose.results import check_results, derived_suffix

    targets = plan(photos, out, json=derived_suffix(files.format))
    drawings = [target.drawing for target in targets if target.drawing is not None]
    prepare(drawings, sources=photos, force=files.force, make_folders=True)
    records = [target.json for target in targets if target.json is not None]
    check_results(records, files.format, force=files.force, inputs=photos)
    pipeline = load_noted(options, quiet=files.quiet)
    output = run.Output(run.header_of(pipeline, options), files.format, style, files.force)
    readings = run.read_pictures(photos, max_pixels=files.max_pixels, ahead=options.frame_batch)
    failed = 0
    for target, outcome in run.run_pictures(pipeline, readings, targets, output):
        if isinstance(outcome, run.Unreadable):
            report_error(outcome.error)
            failed += 1
        else:
            _tell(target, len(outcome[1]), files.format)
    if failed and len(photos) > 1 and not files.quiet:
        report("note", f"{failed} of {len(photos)} pictures could not be read")
    return InputError.exit_code if failed else 0


def _tell(target: Target, people: int, formats: tuple[str, ...]) -> None:
    from hrpose.results import written

    results = ", ".join(map(str, written(target, formats)))
    found = "1 person" if people == 1 else f"{people} people"
    click.echo(printable(f"{target.source}: {found} -> {results}"))
