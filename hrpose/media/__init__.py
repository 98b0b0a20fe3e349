"""Pixels in and out: pictures by Pillow, videos by PyAV.

EXIF, codecs and hostile files live in this folder and nowhere else. No other package opens a
picture or a video, and OpenCV never gets a path.
"""

from importlib import import_module

from hrpose.media.image import MAX_PIXELS, read_image, write_image
from hrpose.media.output import atomic_output, check_output
from hrpose.media.source import pictures

_VIDEO = ("VideoReader", "VideoReport", "VideoWriter")

__all__ = [
    "MAX_PIXELS",
    "VideoReader",
    "VideoReport",
    "VideoWriter",
    "atomic_output",
    "check_output",
    "pictures",
    "read_image",
    "write_image",
]


def __getattr__(name: str) -> object:
    # On first use only: training reads pictures on machines that lack PyAV.
    if name in _VIDEO:
        return getattr(import_module("hrpose.media.video"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
