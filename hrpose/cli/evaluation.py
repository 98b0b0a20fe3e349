"""Options of ``hrpose evaluate``, and the values they become.

No option has a default of its own: what is not given is left to the library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from hrpose.errors import UsageError
from hrpose.evaluate.protocol import NMS, OFFICIAL, PROTOCOLS, Protocol
from hrpose.options import Options

Command = TypeVar("Command", bound=Callable[..., Any])
Given = Mapping[str, Any]

PATH = click.Path(path_type=Path)


class Task(NamedTuple):
    """Where a task is measured, and how its published numbers are made and shown."""

    function: str  # of data, images and options; returns a report
    flip_test: bool
    digits: int = 1


TASKS = {
    "keypoints": Task("hrpose.evaluate.run:evaluate_keypoints", OFFICIAL.flip_test),
    "boxes": Task("hrpose.evaluate.run:evaluate_boxes", flip_test=False),
    "pckh": Task("hrpose.evaluate.mpii:evaluate_pckh", flip_test=True),
    "face": Task("hrpose.evaluate.face:evaluate_face", flip_test=False, digits=2),
    "classify": Task("hrpose.evaluate.classify:evaluate_classify", flip_test=False),
}
FACE_BOXES = ("published", "file", "points")

_DEFAULT = Options()
_COCO, _KEYPOINTS = ("keypoints", "boxes"), ("keypoints",)
_POSES = ("keypoints", "pckh", "face")
# options that mean something in these tasks only
_ONLY = {
    "boxes": (*_COCO, "face"), "detector": _COCO, "detector_weights": _COCO, "protocol": _COCO,
    "threshold": _COCO, "exif": _COCO, "nms": _KEYPOINTS, "oks_threshold": _KEYPOINTS,
    "results": _KEYPOINTS, "predictions": (*_COCO, "face"), "report": _KEYPOINTS,
    "truth": ("pckh",), "flip_test": _POSES, "refine": _POSES,
}  # fmt: skip
_CHAIN = ("pose", "detector", "refine", "device", "dtype", "crop_batch", "frame_batch")
_SHAPING = ("flip_test", "refine", "dtype", "max_people", "crop_batch", "frame_batch")
_POINTS = {  # options that change one point of a protocol, and its name there
    "nms": "nms", "oks_threshold": "oks_threshold", "threshold": "box_threshold",
    "exif": "apply_exif", "flip_test": "flip_test",
}  # fmt: skip
# options of making results, which scoring those of a file has no use for
_MAKING = {*_CHAIN, *_POINTS, "boxes", "weights", "detector_weights", "protocol"} - {"exif"}
_READ = ("boxes", "results", "truth", "weights", "detector_weights")


def _option(*declarations: str, default: Any = None, **attributes: Any) -> Callable[..., Any]:
    shown = default if default is None else str(default)
    return click.option(*declarations, default=None, show_default=shown, **attributes)


_OPTIONS = (
    click.option(
        "--task", type=click.Choice(list(TASKS)), default="keypoints", show_default=True,
        help="COCO keypoint AP, person box AP, MPII PCKh, NME of faces, or top-1 and top-5.",
    ),
    click.option("--data", type=PATH, required=True, help="Labels, in the form of the task."),
    click.option(
        "--images", type=PATH, multiple=True, metavar="PATH",
        help="Folder or ZIP of the pictures; may be repeated.",
    ),
    _option(
        "--boxes", metavar="WHICH",
        help="gt (ground truth), detector (the one of --detector), or a COCO detections file;"
             " for faces published, file or points.",
        default="gt, for boxes: detector, for faces: published",
    ),
    _option("--pose", metavar="NAME", default=_DEFAULT.pose, help="Model to evaluate."),
    _option("--detector", metavar="NAME", default=_DEFAULT.detector, help="Detector."),
    _option("--weights", type=PATH, help="Evaluate this file as the model."),
    _option("--detector-weights", type=PATH, help="The same for the detector."),
    _option("--results", type=PATH, help="Score this list of COCO results; no model runs."),
    _option("--truth", type=PATH, help="pckh: gt_valid.mat of the official code."),
    _option(
        "--protocol", type=click.Choice(list(PROTOCOLS)), default="official",
        help="Whose way of counting; the next five options change single points of it.",
    ),
    _option(
        "--flip-test/--no-flip-test", help="Mirror test.",
        default="as published: with it, for faces without",
    ),
    _option(
        "--nms", type=click.Choice(NMS), default=OFFICIAL.nms,
        help="What is done about poses that repeat a better one.",
    ),
    _option(
        "--oks-threshold", type=click.FloatRange(0, 1, min_open=True),
        default=OFFICIAL.oks_threshold, help="Likeness above which a pose repeats another.",
    ),
    _option(
        "--threshold", type=click.FloatRange(0, 1), default=OFFICIAL.box_threshold,
        help="Least box score; AP wants the unsure boxes too.",
    ),
    _option(
        "--exif/--no-exif", default=OFFICIAL.apply_exif,
        help="Turn pictures as EXIF says; COCO labels their pixels as stored.",
    ),
    _option(
        "--refine", type=click.Choice(["none", "quarter", "dark", "oks"]),
        help="How keypoints are read off heatmaps; default: the model's own.",
    ),
    _option("--device", default=_DEFAULT.device, help="auto, cpu, cuda, cuda:1 or mps."),
    _option(
        "--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default=_DEFAULT.dtype,
        help="Precision of the networks; the two short ones want a GPU.",
    ),
    _option(
        "--frame-batch", type=click.IntRange(1), default=_DEFAULT.frame_batch,
        help="Pictures in the detector at a time.",
    ),
    _option(
        "--crop-batch", type=click.IntRange(1), default=_DEFAULT.crop_batch,
        help="People in the pose network at a time.",
    ),
    _option(
        "--json", type=PATH, metavar="FILE",
        help="Write the numbers with settings, hashes, versions and time.",
    ),
    _option("--predictions", type=PATH, metavar="FILE", help="Write what was scored as JSON."),
    _option(
        "--report", type=PATH, metavar="DIR",
        help="Write what went wrong: a page of errors by kind, and the worst cases as pictures.",
    ),
    click.option("--force", is_flag=True, help="Replace existing files."),
)  # fmt: skip


def asking(command: Command) -> Command:
    """Gives the command its options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def refuse_nonsense(task: str, data: Path, images: tuple[Path, ...], given: Given) -> None:
    """Refuses options that the task does not know, that exclude each other, or that are missing.

    Raises:
        UsageError: They would have been passed over in silence.
    """
    for name, tasks in _ONLY.items():
        if name in given and task not in tasks:
            raise UsageError(f"{_spelt(name)} goes with --task {' or '.join(tasks)}, not {task}")
    if "results" in given and (clash := sorted(_MAKING & given.keys())):
        raise UsageError(f"{_spelt(clash[0])} changes nothing in --results, they are made already")
    if task == "face" and given.get("boxes", FACE_BOXES[0]) not in FACE_BOXES:
        raise UsageError(f"--boxes of faces is one of {', '.join(FACE_BOXES)}")
    unread = "results" in given or (task == "boxes" and _box_file(task, given))
    unread = unread or (task == "classify" and data.is_dir())
    if not images and ("report" in given or not unread):
        raise UsageError("no pictures", hint="name their folder or ZIP by --images")


def _spelt(name: str) -> str:
    return "--" + name.replace("_", "-")


def protocol_from(given: Given) -> Protocol:
    """The named protocol of COCO, with the points that were given."""
    points = {point: given[name] for name, point in _POINTS.items() if name in given}
    return replace(PROTOCOLS[given.get("protocol", "official")], **points)


def options_from(task: str, given: Given) -> Options:
    """The models and how to run them."""
    chain = {name: given[name] for name in _CHAIN if name in given}
    return Options(flip_test=given.get("flip_test", TASKS[task].flip_test), **chain)


def arguments_from(task: str, given: Given) -> dict[str, Any]:
    """What else the function of the task takes."""
    names = ("boxes", "results", "weights", "detector_weights", "truth")
    arguments = {name: given[name] for name in names if name in given}
    if task in _COCO:
        arguments["protocol"] = protocol_from(given)
    if task == "boxes" and "detector_weights" in arguments:  # the detector is the model there
        arguments["weights"] = arguments.pop("detector_weights")
    if task == "face" and "predictions" in given:
        arguments["results"] = given["predictions"]
    return arguments


def settings_from(task: str, given: Given, options: Options) -> dict[str, Any]:
    """All that the numbers depend on beside files and models."""
    if "results" in given:
        return {}
    chain = {name: getattr(options, name) for name in _SHAPING}
    if task in _COCO:
        name = given.get("protocol", "official")
        return {"protocol": name, **chain, **asdict(protocol_from(given))}
    return {**chain, "boxes": given["boxes"]} if "boxes" in given else chain


def files_from(task: str, data: Path, given: Given) -> dict[str, Path]:
    """The files that are read, by what they are."""
    names = [name for name in _READ if name in given]
    if not _box_file(task, given):
        names = [name for name in names if name != "boxes"]
    return {"data": data, **{name: Path(given[name]) for name in names}}


def _box_file(task: str, given: Given) -> bool:
    return task in _COCO and given.get("boxes") not in (None, "gt", "detector")
