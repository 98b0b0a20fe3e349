"""Every value that crosses a border between stages.

Image coordinates are float, x right, y down; an integer is a pixel centre, as in OpenCV and the
official HRNet code. Pictures are uint8 RGB tensors of shape (3, H, W). N people in a frame,
B crops in a batch, K keypoints. Missing is a low score, never NaN. N = 0 is legal everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hrpose.skeleton import Skeleton

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


def _describe(value: object) -> str:
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return value.name if isinstance(value, Skeleton) else repr(value)


class _Shown:
    """Gives a value object a ``repr`` with shapes instead of numbers."""

    __slots__ = ()

    def __repr__(self) -> str:
        inside = ", ".join(f"{f.name}={_describe(getattr(self, f.name))}" for f in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({inside})"


def _check(name: str, got: Sequence[int], want: tuple[int | None, ...]) -> None:
    fits = len(got) == len(want) and all(w in (None, g) for g, w in zip(got, want, strict=True))
    if not fits:
        shown = tuple("any" if w is None else w for w in want)
        raise ValueError(f"{name} has shape {tuple(got)}, expected {shown}")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Frame(_Shown):
    """One picture, upright.

    Attributes:
        image: (3, H, W) uint8 RGB.
        index: Position in the source, from 0.
        time: Presentation timestamp in seconds, or None for a picture without time.
        source: Where it came from: a path as the user gave it, or a name.
        damaged: Whether the decoder marked the picture as damaged.
    """

    image: torch.Tensor
    index: int = 0
    time: float | None = None
    source: str = ""
    damaged: bool = False

    def __post_init__(self) -> None:
        _check("image", self.image.shape, (3, None, None))
        if self.image.dtype != torch.uint8:
            raise ValueError(f"image is {self.image.dtype}, expected uint8 RGB")

    @property
    def size(self) -> Size:
        return Size(int(self.image.shape[2]), int(self.image.shape[1]))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Detections(_Shown):
    """People found in one frame, best first.

    Attributes:
        boxes: (N, 4) float32 xyxy in image pixels; may reach outside the picture.
        scores: (N,) float32, 0 to 1.
    """

    boxes: torch.Tensor
    scores: torch.Tensor

    def __post_init__(self) -> None:
        _check("scores", self.scores.shape, (None,))
        _check("boxes", self.boxes.shape, (len(self.scores), 4))

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Crops(_Shown):
    """Network inputs cut from a batch of frames.

    Attributes:
        pixels: (B, 3, h, w) float, normalised.
        image_from_crop: (B, 2, 3) float32 affine maps from crop pixels to image pixels.
        frame: (B,) int64 position of the crop's frame in the batch.
        person: (B,) int64 position of the person in its frame.
    """

    pixels: torch.Tensor
    image_from_crop: torch.Tensor
    frame: torch.Tensor
    person: torch.Tensor

    def __post_init__(self) -> None:
        batch = len(self.frame)
        _check("pixels", self.pixels.shape, (batch, 3, None, None))
        _check("image_from_crop", self.image_from_crop.shape, (batch, 2, 3))
        _check("person", self.person.shape, (batch,))

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Peaks(_Shown):
    """Keypoints in heatmap cells; a type of its own so that cells are never taken for pixels.

    Attributes:
        xy: (B, K, 2) float32 in heatmap cells, integer = cell centre.
        scores: (B, K) float32 heatmap value at the peak, or the expected OKS there.
    """

    xy: torch.Tensor
    scores: torch.Tensor

    def __post_init__(self) -> None:
        _check("scores", self.scores.shape, (None, None))
        _check("xy", self.xy.shape, (*self.scores.shape, 2))

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Heatmaps(_Shown):
    """What the network saw of the people of one frame, on the host; for drawing.

    Attributes:
        values: (N, K, h, w) float16.
        image_from_cells: (N, 2, 3) float32 affine maps from heatmap cells to image pixels.
    """

    values: NDArray[np.float16]
    image_from_cells: FloatArray

    def __post_init__(self) -> None:
        _check("values", self.values.shape, (None, None, None, None))
        _check("image_from_cells", self.image_from_cells.shape, (len(self.values), 2, 3))

    def __len__(self) -> int:
        return len(self.values)

    def take(self, people: IntArray) -> Heatmaps:
        """Those of the given people, in the given order."""
        return Heatmaps(self.values[people], self.image_from_cells[people])


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Poses(_Shown):
    """The people of one frame, on the host; in the order of their detections.

    Attributes:
        keypoints: (N, K, 2) float32 xy in image pixels.
        keypoint_scores: (N, K) float32; 0 is "not found". The OKS that is to be expected (embedded
            models), or the heatmap's maximum (published ones), see ``Codec.refine``.
        boxes: (N, 4) float32 xyxy in image pixels, as the detector gave them.
        box_scores: (N,) float32, 0 to 1.
        track_ids: (N,) int64, -1 = none.
        size: Size of the frame in pixels.
        skeleton: The keypoint set.
        frame: Index of the frame in its source, from 0.
        time: Presentation timestamp in seconds, or None.
        source: Where the frame came from.
        damaged: Whether the frame is marked as damaged.
        measured: (N, K, 2) float32 what was decoded where ``keypoints`` are smoothed; None where
            they are as decoded.
        filled: (N, K) bool keypoints that were not found here but filled in from frames before
            and after; None is none of them.
        heatmaps: What the network saw, if asked for.
    """

    keypoints: FloatArray
    keypoint_scores: FloatArray
    boxes: FloatArray
    box_scores: FloatArray
    track_ids: IntArray
    size: Size
    skeleton: Skeleton
    frame: int = 0
    time: float | None = None
    source: str = ""
    damaged: bool = False
    measured: FloatArray | None = None
    filled: BoolArray | None = None
    heatmaps: Heatmaps | None = None

    def __post_init__(self) -> None:
        people = len(self.box_scores)
        points = len(self.skeleton)
        _check("keypoints", self.keypoints.shape, (people, points, 2))
        _check("keypoint_scores", self.keypoint_scores.shape, (people, points))
        _check("boxes", self.boxes.shape, (people, 4))
        _check("track_ids", self.track_ids.shape, (people,))
        if self.measured is not None:
            _check("measured", self.measured.shape, (people, points, 2))
        if self.filled is not None:
            _check("filled", self.filled.shape, (people, points))
        if self.heatmaps is not None:
            _check("heatmaps", self.heatmaps.values.shape, (people, points, None, None))

    def __len__(self) -> int:
        return len(self.box_scores)

    def take(self, people: IntArray) -> Poses:
        """The given people, by their positions, in the given order."""
        maps = self.heatmaps
        return replace(
            self,
            keypoints=self.keypoints[people],
            keypoint_scores=self.keypoint_scores[people],
            boxes=self.boxes[people],
            box_scores=self.box_scores[people],
            track_ids=self.track_ids[people],
            measured=None if self.measured is None else self.measured[people],
            filled=None if self.filled is None else self.filled[people],
            heatmaps=None if maps is None else maps.take(people),
        )

    @property
    def scores(self) -> FloatArray:
        """(N,) float32 pose scores: mean of the keypoint scores above 0.2, times the box score.

        The rescoring of the official COCO evaluation (coco.py, ``in_vis_thre`` 0.2); 0 when no
        keypoint is above.
        """
        seen = self.keypoint_scores > 0.2
        total = np.where(seen, self.keypoint_scores, 0).sum(axis=1)
        means: FloatArray = total / np.maximum(seen.sum(axis=1), 1) * self.box_scores
        return means.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Codec:
    """How keypoints become heatmaps and back: convention as data of a model.

    Attributes:
        stride: Input pixels per heatmap cell (4 for HRNet).
        sigma: Standard deviation of the Gaussian target, in cells.
        refine: ``"none"``, ``"quarter"`` (official), ``"dark"`` (Zhang et al. 2020), or ``"oks"``:
            where the expected OKS is greatest, for networks that hesitate.
        cell_offset: Input pixel of cell 0's centre; 0 for the official code, which maps
            cell x to input pixel ``stride * x``.
        mirror_shift: Whether the un-mirrored heatmap moves one cell right before averaging
            (``SHIFT_HEATMAP`` of the official code).
        exact_target: Whether the training target keeps the keypoint's fraction of a cell instead
            of sitting on the nearest one.
    """

    stride: int = 4
    sigma: float = 2.0
    refine: str = "quarter"
    cell_offset: float = 0.0
    mirror_shift: bool = True
    exact_target: bool = False

    def __post_init__(self) -> None:
        if self.refine not in ("none", "quarter", "dark", "oks"):
            raise ValueError(f"refine is {self.refine!r}, expected none, quarter, dark or oks")
