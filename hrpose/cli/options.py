"""Options that several commands share, and the values they become.

Names and defaults are those of the fields of :class:`~hrpose.options.Options` and
:class:`~hrpose.options.Style`. A decorated command gets one value, not a dozen of parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from hrpose.options import MAX_PIXELS, Options, Style

Command = Callable[..., Any]

PATH = click.Path(path_type=Path)
FORMATS = ("native", "coco")
_SHARE = click.FloatRange(0, 1)
_COUNT = click.IntRange(1)


@dataclass(frozen=True, slots=True)
class Files:
    """What a command that writes files is told about them.

    Attributes:
        format: Of the JSON: ``native`` or ``coco``.
        force: Whether existing files are replaced.
        max_pixels: Larger pictures are refused.
        quiet: Whether notes and progress bars are left out.
    """

    format: str = FORMATS[0]
    force: bool = False
    max_pixels: int = MAX_PIXELS
    quiet: bool = False


def _parameter(holder: type[Any], *names: str) -> str:
    return "_".join((holder.__name__.lower(), *names))  # Options and Style both have `boxes`


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
        Options, "refine", "--refine", type=click.Choice(["none", "quarter", "dark"]),
        help="Sub-pixel step; default: what the pose model was trained for.",
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
    _option(Style, "boxes", "--show-boxes", help="Draw the boxes of the detector."),
    _option(Style, "scores", "--show-scores", help="Write the score of each person."),
    _option(
        Style, "background", "--background", type=click.Choice(["image", "black"]),
        help="What lies under the skeletons.",
    ),
    _option(Style, "side_by_side", "--side-by-side", help="Put the untouched picture to the left."),
    _option(
        Style, "min_score", "--min-score", type=_SHARE,
        help="Draw keypoints from this score on; raising it draws less.",
    ),
)  # fmt: skip
_FILES = (
    _option(
        Files, "format", "--format", type=click.Choice(FORMATS),
        help="Of the JSON: see `hrpose schema`, or a COCO results list.",
    ),
    _option(Files, "force", "--force", help="Replace existing results."),
    _option(
        Files, "max_pixels", "--max-pixels", type=_COUNT,
        help="Refuse larger pictures, by their headers.",
    ),
    _option(Files, "quiet", "-q", "--quiet", help="No notes and no progress bar."),
)  # fmt: skip


_OPTIONS: dict[type[Any], tuple[Command, ...]] = {Options: _CHAIN, Style: _STYLE, Files: _FILES}


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
        values[_parameter(holder)] = holder(**own)
    return values
