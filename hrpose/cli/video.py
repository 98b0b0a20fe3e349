"""``hrpose video``: a video to a drawn video and JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hrpose.cli.options import PATH, Files, takes
from hrpose.cli.progress import load_noted, progress_bar, stoppable
from hrpose.cli.report import printable, report
from hrpose.errors import InputError, UsageError
from hrpose.options import Options, Style

if TYPE_CHECKING:
    from hrpose.media.targets import Target
    from hrpose.media.video import VideoReader
    from hrpose.run import Tally

_SUFFIXES = (".mp4", ".m4v")


@click.command()
@click.argument("clip", type=PATH)
@click.option(
    "--out",
    type=PATH,
    metavar="FILE",
    help="The drawn video, .mp4; default: CLIP.pose.mp4 in the current folder.",
)
@click.option("--json", "json_path", type=PATH, metavar="FILE", help="People of every frame.")
@click.option("--no-draw", is_flag=True, help="Write no video, only --json.")
@takes(Options, Style, Files)
def video(
    clip: Path, out: Path | None, json_path: Path | None, no_draw: bool,
    options: Options, style: Style, files: Files,
) -> int:  # fmt: skip
    """Find people in a video; draw them and write JSON.

    The drawn video is H.264 in MP4 with the size, the frame times and the sound of CLIP. Where
    CLIP is damaged, what can be read is written, and the exit code is 3.

    The files appear whole or not at all. After Ctrl-C they hold the frames until then, under their
    names, playable, and the exit code is 130; a second Ctrl-C stops at once and writes none.
    """
    from hrpose import run
    from hrpose.media.targets import Target, prepare
    from hrpose.media.video import VideoReader

    target = Target(clip, None if no_draw else out or _default(clip), json_path)
    _check(target, asked_for_video=out is not None)
    prepare(target.results, sources=[clip], force=files.force)
    with VideoReader(clip, max_pixels=files.max_pixels) as reader:
        pipeline = load_noted(options, quiet=files.quiet)
        output = run.Output(run.header_of(pipeline, options), files.format, style, files.force)
        with stoppable() as stop:
            with progress_bar(reader.frame_count, unit=" frames", quiet=files.quiet) as bar:
                tally = run.run_video(pipeline, reader, target, output, stop=stop, watch=bar.update)
            _tell(tally, target)
            if stop.asked:
                report("note", f"stopped; the results end after {tally.pictures} frames")
        return _damage(reader, target)


def _default(clip: Path) -> Path:
    return Path(f"{clip.stem}.pose.mp4")


def _check(target: Target, *, asked_for_video: bool) -> None:
    if not target.results:
        raise UsageError("--no-draw without --json writes nothing", hint="add --json FILE")
    if target.drawing is None:
        if asked_for_video:
            raise UsageError("--no-draw and --out exclude each other", hint="leave one out")
        return
    if target.drawing.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"{target.drawing}: videos are written as MP4", hint="name it .mp4")
    if target.json and os.path.abspath(target.json) == os.path.abspath(target.drawing):
        raise UsageError("--out and --json are one file", hint="name two files")


def _tell(tally: Tally, target: Target) -> None:
    for note in tally.notes:
        report("warning", f"{target.source}: {note}")
    each = tally.people / max(tally.pictures, 1)
    results = ", ".join(map(str, target.results))
    line = f"{target.source}: {tally.pictures} frames, {each:.1f} people in each -> {results}"
    click.echo(printable(line))


def _damage(reader: VideoReader, target: Target) -> int:
    if not reader.report.damaged:
        return 0
    report("error", f"{target.source}: video is damaged: {reader.report}")
    results = " and ".join(map(str, target.results))
    report("hint", f"what could be read is in {results}; copy or download the video again")
    return InputError.exit_code
