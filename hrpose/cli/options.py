"""Options that several commands share, and the values they become.

Names and defaults are those of the fields of :class:`~hrpose.options.Options` and
:class:`~hrpose.options.Style`. A decorated command gets one value, not a dozen of parameters.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from hrpose.options import (
    BACKGROUNDS,
    CODECS,
    MAX_PIXELS,
    OVERLAYS,
    Encoding,
    Options,
    Reading,
    Smoothing,
    Span,
    Style,
    Tracking,
    parse_time,
)

Command = Callable[..., Any]

PATH = click.Path(path_type=Path)
FORMATS = ("native", "jsonl", "coco", "openpose", "openpose-coco", "csv", "parquet")
_SHARE = click.FloatRange(0, 1)
_COUNT = click.IntRange(1)
_POSITIVE, _NOT_NEGATIVE = click.FloatRange(0, min_open=True), click.FloatRange(0)


@dataclass(frozen=True, slots=True)
class Files:
    """What a command that writes files is told about them.

    Attributes:
        format: Of the results, some of :data:`FORMATS`.
        force: Whether existing files are replaced.
        max_pixels: Larger pictures are refused.
        quiet: Whether notes and progress bars are left out.
    """

    format: tuple[str, ...] = FORMATS[:1]
    force: bool = False
    max_pixels: int = MAX_PIXELS
    quiet: bool = False


class _Overlay(click.ParamType):
    """``skeleton,boxes`` -> ``("skeleton", "boxes")``; ``none`` -> ``()``."""

    name = "list"

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if not isinstance(value, str):
            return value
        names = () if value == "none" else tuple(name.strip() for name in value.split(","))
        for name in names:
            if name not in OVERLAYS:
                self.fail(f"{name!r} is none of {', '.join(OVERLAYS)}; or say none", param, ctx)
        return names


class _Time(click.ParamType):
    """``1:30.5`` -> 90.5."""

    name = "time"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return parse_time(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Rate(click.ParamType):
    """``25``, ``29.97`` or ``30000/1001`` -> an exact fraction."""

    name = "rate"

    def convert(
        self, value: str | Fraction, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        try:
            return Reading(fps=Fraction(value)).fps
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is no rate, expected such as 25 or 30000/1001", param, ctx)


def _parameter(holder: type[Any], *names: str) -> str:
    return "_".join((holder.__name__.lower(), *names))  # two groups may have a field of one name


def _option(holder: type[Any], name: str, *declarations: str, **attributes: Any) -> Command:
    default = getattr(holder(), name)
    if isinstance(default, bool):
        attributes["is_flag"] = True
    else:
        attributes["show_default"] = default is not None
    return click.option(*declarations, _parameter(holder, name), default=default, **attributes)


_CHAIN = (
    _option(
        Options, "pose", "--pose", metavar="NAME",
        help="Pose model, see `hrpose models`, or a file that `hrpose train` wrote.",
    ),
    _option(
        Options, "detector", "--detector", metavar="NAME",
        help="Detector, or none: the whole picture is one person.",
    ),
    _option(
        Options, "boxes", "--boxes", type=PATH, metavar="FILE",
        help="Take people from this file of COCO detections instead of a detector.",
    ),
    _option(Options, "device", "--device", help="auto, cpu, cuda, cuda:1 or mps."),
    _option(
        Options, "dtype", "--dtype", type=click.Choice(["float32", "bfloat16", "float16"]),
        help="Precision of the networks; the two short ones want a GPU.",
    ),
    _option(
        Options, "flip_test", "--flip-test",
        help="See every person mirrored, too: twice the time, more exact.",
    ),
    _option(
        Options, "refine", "--refine", type=click.Choice(["none", "quarter", "dark", "oks"]),
        help="How keypoints are read off heatmaps; default: the pose model's own.",
    ),
    _option(
        Options, "threshold", "--threshold", type=_SHARE,
        help="Least score of a person; raising it finds fewer and surer ones.",
    ),
    _option(
        Options, "pose_threshold", "--pose-threshold", type=_SHARE,
        help="Least pose score of a person; drops many boxes that fit nobody.",
    ),
    _option(Options, "max_people", "--max-people", type=_COUNT, help="Most people in a picture."),
    _option(
        Options, "frame_batch", "--frame-batch", type=_COUNT,
        help="Pictures in the detector at a time; more is faster and takes more memory.",
    ),
    _option(
        Options, "crop_batch", "--crop-batch", type=_COUNT,
        help="People in the pose network at a time.",
    ),
)  # fmt: skip
_STYLE = (
    _option(
        Style, "overlay", "--overlay", type=_Overlay(), metavar="LIST",
        help=f"What is drawn: {', '.join(OVERLAYS)}, with commas; or none.",
    ),
    _option(
        Style, "background", "--background", type=click.Choice(BACKGROUNDS),
        help="What lies under the overlay; blur is too coarse to recognise faces.",
    ),
    _option(Style, "side_by_side", "--side-by-side", help="Put the untouched picture to the left."),
    _option(
        Style, "min_score", "--min-score", type=_SHARE,
        help="Draw keypoints from this score on; raising it draws less.",
    ),
    _option(Style, "heatmaps", "--heatmaps", help="Overlay what the pose network saw."),
    _option(
        Style, "trails", "--trails", type=click.FloatRange(0, max=math.inf, max_open=True),
        metavar="SECONDS", help="Overlay the paths of joints, which stay for so long.",
    ),
)  # fmt: skip
_SPAN = (
    _option(
        Span, "start", "--start", type=_Time(), metavar="TIME",
        help="Begin here: seconds, m:s or h:m:s, as players show it; exact to the frame.",
    ),
    _option(
        Span, "end", "--end", type=_Time(), metavar="TIME", help="Stop before the frame shown here."
    ),
    _option(Span, "every", "--every", type=_COUNT, metavar="N", help="Take every N-th frame only."),
    _option(
        Span, "max_frames", "--max-frames", type=_COUNT, metavar="N", help="Take N frames at most."
    ),
)  # fmt: skip
_READING = (
    _option(
        Reading, "allow_network", "--allow-network",
        help="Read from http, https, rtsp and rtsps URLs, too.",
    ),
    _option(
        Reading, "fps", "--fps", type=_Rate(), metavar="RATE",
        help="Frames per second of image sequences.",
    ),
    _option(
        Reading, "max_error_rate", "--max-error-rate", type=_SHARE,
        help="Exit with code 3 where a larger share of a clip's frames is lost.",
    ),
)  # fmt: skip
_TRACKING = (
    _option(
        Tracking, "memory", "--track-memory", type=click.FloatRange(0, min_open=True),
        metavar="SECONDS", help="Keep the id of a lost person for so long.",
    ),
    _option(
        Tracking, "detect_every", "--detect-every", type=_COUNT, metavar="N",
        help="Run the detector on every N-th frame; between, boxes follow poses. Implies --track.",
    ),
)  # fmt: skip
_SMOOTHING = (
    _option(
        Smoothing, "method", "--smooth-method",
        type=click.Choice(["none", "one-euro", "zero-phase"]),
        help="one-euro: at once, lags a little; zero-phase: looks 0.6 s ahead. --smooth takes"
        " zero-phase for files; a preview alone is smoothed by one-euro.",
    ),
    _option(
        Smoothing, "cutoff", "--smooth-cutoff", type=_POSITIVE, metavar="HZ",
        help="one-euro: at rest. Raising it lags less and trembles more.",
    ),
    _option(
        Smoothing, "beta", "--smooth-beta", type=_NOT_NEGATIVE, metavar="HZ",
        help="one-euro: added for each person height per second. Raising it lags less in motion.",
    ),
    _option(
        Smoothing, "window", "--smooth-window", type=_POSITIVE, metavar="SECONDS",
        help="zero-phase: the widest fit. Raising it steadies a person at rest more.",
    ),
    _option(
        Smoothing, "fill", "--fill-gaps", type=_NOT_NEGATIVE, metavar="SECONDS",
        help="Interpolate, and mark, people and keypoints missing for at most so long.",
    ),
)  # fmt: skip
_ENCODING = (
    _option(
        Encoding, "codec", "--codec", type=click.Choice(CODECS),
        help="Of the drawn video; default: h264, in .webm vp9. .mov holds h264 and h265, .webm vp9"
        " and av1, .mp4 and .mkv all.",
    ),
    _option(
        Encoding, "quality", "--quality", type=click.IntRange(0, 63), metavar="CRF",
        help="Constant rate factor of the drawn video: 0-51 with h264 and h265, 0-63 with vp9 and"
        " av1; raising it makes the file smaller and worse. Default: 20, 24, 30 and 30.",
    ),
    _option(
        Encoding, "audio", "--audio/--no-audio",
        help="Copy the sound of the clip, which is the default, or leave it out.",
    ),
)  # fmt: skip
_FILES = (
    _option(
        Files, "format", "--format", type=click.Choice(FORMATS), multiple=True,
        help="Of the results, `native` is that of `hrpose schema`; several write a file each,"
        " named after the first.",
    ),
    _option(Files, "force", "--force", help="Replace existing results."),
    _option(
        Files, "max_pixels", "--max-pixels", type=_COUNT,
        help="Refuse larger pictures, by their headers.",
    ),
    _option(Files, "quiet", "-q", "--quiet", help="No notes and no progress bar."),
)  # fmt: skip


_OPTIONS: dict[type[Any], tuple[Command, ...]] = {
    Options: _CHAIN,
    Style: _STYLE,
    Files: _FILES,
    Span: _SPAN,
    Reading: _READING,
    Tracking: _TRACKING,
    Smoothing: _SMOOTHING,
    Encoding: _ENCODING,
}


def takes(*holders: type[Any]) -> Callable[[Command], Command]:
    """Gives a command groups of options, each as one value.

    Args:
        holders: Of ``Options``, ``Style`` and ``Files``; the command gets ``options``, ``style``
            and ``files``.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gathered(**values: Any) -> Any:
            return command(**_gather(values, holders))

        for option in reversed([option for holder in holders for option in _OPTIONS[holder]]):
            gathered = option(gathered)
        return gathered

    return decorate


def _gather(values: dict[str, Any], holders: Sequence[type[Any]]) -> dict[str, Any]:
    for holder in holders:
        own = {
            field.name: values.pop(_parameter(holder, field.name))
            for field in fields(holder)
            if _parameter(holder, field.name) in values
        }
        try:
            values[_parameter(holder)] = holder(**own)
        except ValueError as error:  # two options that do not go together
            raise click.UsageError(str(error)) from error
    return values
