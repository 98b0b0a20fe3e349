"""People in pictures and videos to keypoints: HRNet with the whole chain around it.

    pose = hrpose.load()
    people = pose("photo.jpg")
    people.keypoints  # (N, 17, 2) float32, xy in image pixels

The map, in dependency order; a file imports only from lines above it. A step of the flow is a
file, a set of interchangeable siblings is a folder.

    errors       HrposeError and its tree
    options      every default of the chain and of drawing
    skeleton     keypoint sets as data
    types        every value that crosses a border: Size, Frame, Detections, Crops, Peaks, Poses
    geometry     boxes, padding, similarity transforms
    similarity   IoU and OKS matrices
    heatmap      the codec: encode, decode, mirror merge
    models/      networks only: no paths, no checkpoint names
    crop         frames + boxes -> Crops, one batched resample on the device
    zoo/         what is known about checkpoints, and loading them
    media/       pixels in and out: pictures, videos, folders, safe output
    formats/     poses to and from files: native JSON, JSONL, COCO, OpenPose, CSV, Parquet
    device       where networks run, in which precision, how many at a time
    stages       steps that overlap, each in a thread behind a bounded queue
    results      people to files: one format or several, whole or not at all
    detector     frames -> Detections
    estimator    Crops -> Poses
    motion       the state of tracked people: a Kalman filter in real seconds
    tracker      Poses -> Poses with ids that last
    filters      the mathematics of smoothing
    smoother     Poses -> Poses, steady over time
    draw/        Frame + Poses -> picture
    pipeline     the chain: frames -> iterator of (Frame, Poses)
    run          files to files: pictures in, drawings and results out
    clip         one video to a drawn video and results
    evaluate/    COCO AP and other metrics
    train/       data, augmentation, losses, loop
    cli/         one command per file
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hrpose.draw import draw
    from hrpose.errors import HrposeError
    from hrpose.media.image import read_image
    from hrpose.options import Options, Smoothing, Style, Tracking
    from hrpose.pipeline import Pipeline, load
    from hrpose.skeleton import Skeleton
    from hrpose.smoother import smooth
    from hrpose.tracker import Tracker
    from hrpose.types import Detections, Frame, Poses, Size

__version__ = "0.1.0"

__all__ = [
    "Detections",
    "Frame",
    "HrposeError",
    "Options",
    "Pipeline",
    "Poses",
    "Size",
    "Skeleton",
    "Smoothing",
    "Style",
    "Tracker",
    "Tracking",
    "draw",
    "load",
    "read_image",
    "smooth",
]

_HOME = {
    "Detections": "hrpose.types",
    "Frame": "hrpose.types",
    "HrposeError": "hrpose.errors",
    "Options": "hrpose.options",
    "Pipeline": "hrpose.pipeline",
    "Poses": "hrpose.types",
    "Size": "hrpose.types",
    "Skeleton": "hrpose.skeleton",
    "Smoothing": "hrpose.options",
    "Style": "hrpose.options",
    "Tracker": "hrpose.tracker",
    "Tracking": "hrpose.options",
    "draw": "hrpose.draw",
    "load": "hrpose.pipeline",
    "read_image": "hrpose.media.image",
    "smooth": "hrpose.smoother",
}


def __getattr__(name: str) -> object:
    """Fetches a public name at first use, so that ``import hrpose`` costs nothing (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # The import system binds the submodule `hrpose.draw` here, whenever somebody first
        # imports it; the public function of the same name would depend on who came first.
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
