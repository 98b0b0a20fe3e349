"""``hrpose convert``: result files to another format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hrpose.cli.options import FORMATS, PATH
from hrpose.cli.progress import progress_bar
from hrpose.cli.report import printable, report
from hrpose.errors import InputError, UsageError

if TYPE_CHECKING:
    from hrpose.formats import Hints, Records


@click.command()
@click.argument("source", type=PATH, metavar="IN")
@click.argument("target", type=PATH, metavar="OUT")
@click.option(
    "--to",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    required=True,
    help="Format of OUT; several write a file each, named after OUT.",
)
@click.option(
    "--skeleton", metavar="NAME", help="Keypoints of IN, coco and openpose only; default: coco17."
)
@click.option(
    "--size",
    type=(click.IntRange(1), click.IntRange(1)),
    metavar="W H",
    help="Size of all pictures, coco and openpose only; native and jsonl need it.",
)
@click.option(
    "--fps",
    type=click.FloatRange(0, min_open=True),
    help="IN is of a video with so many frames a second, coco and openpose only.",
)
@click.option("--force", is_flag=True, help="Replace existing results.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def convert(
    source: Path, target: Path, formats: tuple[str, ...], skeleton: str | None,
    size: tuple[int, int] | None, fps: float | None, force: bool, quiet: bool,
) -> int:  # fmt: skip
    """Turn results of one format into another.

    IN is a native JSON, JSONL, COCO keypoint results, or a folder of OpenPose files; which, is
    found out from its content. OUT appears whole or not at all.

    \b
    What each format does not keep of native JSON:
      jsonl          nothing
      coco           sizes, times, box scores, empty frames, measured values,
                     names of pictures with a number in them, failures, clips
      openpose       sizes, times, boxes, scores of people, measured values,
                     folders of names, failures, clips; points with score 0
      openpose-coco  as openpose
      csv, parquet   sizes, boxes, scores of people, empty frames, failures,
                     clips, models, settings

    A JSONL that was cut short is converted up to the cut, and the exit code is 3.
    """
    from hrpose.formats import open_records
    from hrpose.results import check_results, copy_records, open_results, result_paths

    hints = _hints(skeleton, size, fps)
    given = {"--skeleton": skeleton, "--size": size, "--fps": fps}
    check_results([target], formats, force=force, inputs=[source])
    with open_records(source, hints) as records:
        _check(source, records, formats, [name for name, value in given.items() if value])
        with (
            open_results(target, formats, records.header, force=force, inputs=[source]) as results,
            progress_bar(records.total, unit=" B", quiet=quiet) as bar,
        ):
            copied = copy_records(
                records, results, watch=lambda: bar.update(records.position() - bar.n)
            )
    paths = ", ".join(map(str, result_paths(target, formats).values()))
    line = f"{source}: {copied.pictures} pictures, {copied.people} people -> {paths}"
    click.echo(printable(line))
    if copied.cut is None:
        return 0
    report("error", f"{source}: cut short behind line {copied.cut.lines}")
    report("hint", f"what came before is in {paths}")
    return InputError.exit_code


def _hints(skeleton: str | None, size: tuple[int, int] | None, fps: float | None) -> Hints:
    from hrpose.formats import Hints
    from hrpose.skeleton import COCO17, SKELETONS
    from hrpose.types import Size

    if skeleton is not None and skeleton not in SKELETONS:
        raise UsageError(f"unknown skeleton {skeleton!r}", hint=f"one of {', '.join(SKELETONS)}")
    return Hints(
        skeleton=COCO17 if skeleton is None else SKELETONS[skeleton],
        size=None if size is None else Size(*size),
        fps=fps,
    )


def _check(source: Path, records: Records, formats: tuple[str, ...], given: list[str]) -> None:
    from hrpose.results import FORMATS as ROWS

    if records.complete and given:
        raise UsageError(f"{source}: says {given[0]} itself", hint=f"leave {given[0]} out")
    sized = [name for name in formats if ROWS[name].sized]
    if sized and not records.complete and "--size" not in given:
        raise UsageError(
            f"{source}: does not say the size of its pictures, which {sized[0]} needs",
            hint="give it: --size WIDTH HEIGHT",
        )
