"""What files of other programs do not say about themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrpose import __version__
from hrpose.formats.record import Header
from hrpose.skeleton import COCO17, Skeleton
from hrpose.types import FloatArray, Size

UNKNOWN = Size(0, 0)


@dataclass(frozen=True, slots=True)
class Hints:
    """What the user says about an input.

    Attributes:
        skeleton: The keypoint set.
        size: Size of all pictures in pixels, or None: not known.
        fps: Frames per second: pictures are the frames of a video then; None: they are not.
    """

    skeleton: Skeleton = COCO17
    size: Size | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size is {tuple(self.size)}, expected at least 1 x 1")
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise ValueError(f"fps is {self.fps}, expected a positive number")

    def time(self, frame: int) -> float | None:
        """Presentation timestamp of a frame in seconds, or None where pictures have no time."""
        return None if self.fps is None else frame / self.fps

    def header(self, kind: str) -> Header:
        """The header of a converted file.

        Args:
            kind: Format of the input.
        """
        settings: dict[str, str | float] = {"converted_from": kind}
        if self.fps is not None:
            settings["fps"] = self.fps
        return Header.of(self.skeleton, hrpose=__version__, settings=settings)


def extents(keypoints: FloatArray, scores: FloatArray) -> FloatArray:
    """Boxes around the keypoints that were found, for people without a box.

    Args:
        keypoints: (N, K, 2) xy in image pixels.
        scores: (N, K); 0 is "not found".

    Returns:
        (N, 4) float32 xyxy; zeros where nothing was found.
    """
    found = (scores > 0)[..., None]
    low = np.where(found, keypoints, np.inf).min(axis=1, initial=np.inf)
    high = np.where(found, keypoints, -np.inf).max(axis=1, initial=-np.inf)
    boxes = np.concatenate([low, high], axis=1)
    empty = ~found.any(axis=(1, 2))
    boxes[empty] = 0
    return boxes.astype(np.float32)
