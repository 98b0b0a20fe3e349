"""``hrpose video``: clips to drawn videos and results."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from hrpose.cli.clips import Clips, check_codecs, plan
from hrpose.cli.options import PATH, Files, takes
from hrpose.cli.progress import load_noted, stoppable
from hrpose.errors import InputError, UsageError
from hrpose.options import Encoding, Options, Reading, Smoothing, Span, Style, Tracking

if TYPE_CHECKING:
    from hrpose.clip import How
    from hrpose.media.preview import Preview
    from hrpose.pipeline import Pipeline
    from hrpose.run import Stop


@click.command()
@click.argument("clips", nargs=-1, required=True, metavar="CLIPS...")
@click.option(
    "--out", type=PATH, metavar="FILE",
    help="The drawn video: mp4, mov, mkv or webm; default: CLIP.pose.mp4 in the current folder."
    " Of several clips, their folder.",
)  # fmt: skip
@click.option(
    "--json", "json_path", type=PATH, metavar="FILE",
    help="People of every frame, see --format. Of several clips, their folder.",
)  # fmt: skip
@click.option("--no-draw", is_flag=True, help="Write no video.")
@click.option("--show", is_flag=True, help="Show the drawn frames as they come; q ends.")
@click.option("--track", is_flag=True, help="Give people ids; what needs ids does so by itself.")
@click.option("--smooth", is_flag=True, help="Steady the keypoints; see --smooth-method.")
@takes(Options, Span, Reading, Tracking, Smoothing, Style, Encoding, Files)
def video(
    clips: tuple[str, ...], out: Path | None, json_path: Path | None, no_draw: bool, show: bool,
    track: bool, smooth: bool, options: Options, span: Span, reading: Reading, tracking: Tracking,
    smoothing: Smoothing, style: Style, encoding: Encoding, files: Files,
) -> int:  # fmt: skip
    """Find people in videos; draw them and write results.

    CLIPS are videos, patterns, folders of videos or of numbered pictures, patterns of numbered
    pictures (frame_%06d.png), - for standard input, the number of a camera or, with
    --allow-network, URLs.

    A drawn video has the size, the frame times and the sound of its clip. Where a clip is
    damaged, what can be read is written; the exit code is 3 above --max-error-rate.

    The files appear whole or not at all. After Ctrl-C they hold the frames until then, under their
    names, playable, and the exit code is 130; a second Ctrl-C stops at once and writes none.
    """
    from hrpose.media.clips import sources

    found = sources(clips, allow_network=reading.allow_network, rate=reading.fps)
    show = show or (found[0].live and out is None and json_path is None and not no_draw)
    if no_draw and out is not None:
        raise UsageError("--no-draw and --out exclude each other", hint="leave one out")
    if no_draw and json_path is None and not show:
        raise UsageError("--no-draw without --json writes nothing", hint="add --json FILE")
    draw = out is not None or not (no_draw or show)
    if _is_default("smoothing_method") and (smooth or show):
        files_too = draw or json_path is not None
        method = "one-euro" if not files_too else "zero-phase" if smooth else "none"
        smoothing = replace(smoothing, method=method)
    targets = plan(found, out, json_path, draw=draw, files=files)
    check_codecs(targets, encoding)
    wanted = tracking if track or _needs_ids(tracking, smoothing, style) else None
    if wanted is not None and _is_default("style_overlay"):
        style = replace(style, overlay=(*style.overlay, "ids"))

    @cache
    def chain() -> tuple[Pipeline, How]:
        from hrpose.clip import How
        from hrpose.run import Output, header_of

        pipeline = load_noted(options, quiet=files.quiet, heatmaps=style.heatmaps)
        header = header_of(pipeline, options, wanted, smoothing, span)
        output = Output(header, files.format, style, files.force)
        part = span.max_frames is not None
        return pipeline, How(output, wanted, smoothing, encoding, show, part)

    only_shown = not draw and json_path is None and not found[0].live
    with stoppable() as stop, _window(show, stop, real_time=only_shown) as preview:
        work = Clips(chain, span, reading, files, stop, preview)
        failed = 0
        for source, target in zip(found, targets, strict=True):
            if not stop.over:
                failed += not work.run(source, target)
    return InputError.exit_code if failed else 0


def _window(show: bool, stop: Stop, *, real_time: bool) -> AbstractContextManager[Preview | None]:
    if not show:
        return nullcontext()
    from hrpose.media.preview import Preview

    return Preview(real_time=real_time, stopped=lambda: stop.over)


def _is_default(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is ParameterSource.DEFAULT


def _needs_ids(tracking: Tracking, smoothing: Smoothing, style: Style) -> bool:
    steady = smoothing.method != "none" or smoothing.fill > 0
    return tracking.detect_every > 1 or steady or not {"ids", "trails"}.isdisjoint(style.overlay)
