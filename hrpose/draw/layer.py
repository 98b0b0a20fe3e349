"""An RGBA sheet over a part of the picture.

What is painted goes to a small sheet, several times larger than the picture where strokes are
thin, and the sheet is blended in once. So strokes have fractional widths, edges are smooth at any
size, and opacity shows confidence. Everything is cut to the sheet before it becomes the fixed-point
numbers OpenCV draws with: a point may lie anywhere.

xy in image pixels, integer = pixel centre; widths and radii in image pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.draw.colours import DARK
from hrpose.types import FloatArray, Size

Picture = NDArray[np.uint8]
Point = tuple[float, float]
Rgba = tuple[int, int, int, int]

FONT = cv2.FONT_HERSHEY_SIMPLEX
_FINE = 5.0  # px; strokes narrower than this are painted enlarged
_PIXELS = 1 << 22  # an enlarged layer holds at most so many
_SHIFT = 4  # fraction bits of OpenCV's coordinates
_UNIT = 1 << _SHIFT
_PIXEL = np.dtype((np.void, 3))
# Dark under the smoothed edge of a dark rim leaves no fringe.
_CLEAR = np.array([*DARK, 0], dtype=np.uint8).view(np.uint32)[0]


class Coat(NamedTuple):
    """Colour on a stroke: how far it reaches from the stroke's middle, and RGBA."""

    reach: float
    rgba: Rgba


@dataclass(frozen=True, slots=True)
class Layer:
    """A sheet, enlarged; alpha 0 where nothing is painted.

    Attributes:
        pixels: (h * zoom, w * zoom, 4) uint8 RGBA.
        left: Column of the picture under the sheet's first.
        top: Row of the picture under the sheet's first.
        zoom: Pixels of the sheet per pixel of the picture, on both axes.
    """

    pixels: Picture
    left: int
    top: int
    zoom: int

    def line(self, a: Point, b: Point, *coats: Coat) -> None:
        """Paints a line, one coat over the other; their reaches are half of its width."""
        thick = [max(1, round(2 * coat.reach * self.zoom)) for coat in coats]
        part = _cut(self._place(a), self._place(b), self._size, 2.0 * max(thick))
        if part is not None:
            first, last = _fixed(part[0]), _fixed(part[1])
            for width, coat in zip(thick, coats, strict=True):
                cv2.line(self.pixels, first, last, coat.rgba, width, cv2.LINE_AA, _SHIFT)

    def disc(self, center: Point, *coats: Coat) -> None:
        """Paints a disc, one coat over the other; their reaches are its radius."""
        breadth, height = self._size
        x, y = self._place(center)
        for coat in coats:
            reach = coat.reach * self.zoom
            if -reach <= x < breadth + reach and -reach <= y < height + reach:
                at, size = _fixed((x, y)), max(1, round(reach * _UNIT))
                cv2.circle(self.pixels, at, size, coat.rgba, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    def path(self, xy: FloatArray, pieces: Iterable[tuple[slice, Coat]]) -> None:
        """Paints pieces of a line through (M, 2) points, none far outside the picture."""
        places = (xy - [self.left, self.top] + 0.5) * self.zoom - 0.5
        fixed = np.rint(places * _UNIT).astype(np.int32)
        for piece, coat in pieces:
            thick = max(1, round(2 * coat.reach * self.zoom))
            cv2.polylines(self.pixels, [fixed[piece]], False, coat.rgba, thick, cv2.LINE_AA, _SHIFT)

    def blend(self, canvas: Picture) -> None:
        """Lays the sheet onto its part of a picture (H, W, 3), in place."""
        height, width = (side // self.zoom for side in self.pixels.shape[:2])
        sheet = self.pixels
        if self.zoom > 1:
            shrunk = cv2.resize(sheet, (width, height), interpolation=cv2.INTER_AREA)
            sheet = np.asarray(shrunk, dtype=np.uint8)
        below = canvas[self.top : self.top + height, self.left : self.left + width]
        height, width = below.shape[:2]  # a label may be larger than the picture
        words = np.ascontiguousarray(sheet[:height, :width]).view(np.uint32).ravel()
        painted = np.flatnonzero(words != _CLEAR)  # as words, not by alpha: 10 times as fast
        row, column = np.divmod(painted, max(width, 1))
        where = (row + self.top) * canvas.shape[1] + (column + self.left)
        pixels = canvas.reshape(-1, 3)  # a view: the canvas is whole
        ink = words[painted].view(np.uint8).reshape(-1, 4)
        alpha = np.repeat(ink[:, 3], 3).astype(np.uint16)
        mixed = ink[:, :3].ravel() * alpha
        mixed += pixels.take(where, axis=0).ravel() * (255 - alpha)  # 255 * 255 fits
        mixed += 127
        mixed //= 255
        pixels.view(_PIXEL)[where, 0] = mixed.astype(np.uint8).view(_PIXEL)  # whole pixels: faster

    @property
    def _size(self) -> Size:
        height, breadth = self.pixels.shape[:2]
        return Size(breadth, height)

    def _place(self, point: Point) -> Point:
        return (
            (point[0] - self.left + 0.5) * self.zoom - 0.5,
            (point[1] - self.top + 0.5) * self.zoom - 0.5,
        )


def layer_over(
    points: Iterable[Point], size: Size, stroke: float, *, zoom: int | None = None
) -> Layer | None:
    """An empty layer over points and the strokes through them; None if all lie outside.

    Args:
        points: In image pixels, anywhere; at least one.
        size: Of the picture.
        stroke: Width of the strokes.
        zoom: How far it is enlarged; the default is as far as such strokes need.
    """
    pad = 2.0 * stroke + 2.0
    xs, ys = zip(*points, strict=True)
    left, right = (into(v, size.width) for v in (min(xs) - pad, max(xs) + pad + 1))
    top, bottom = (into(v, size.height) for v in (min(ys) - pad, max(ys) + pad + 1))
    area = (right - left) * (bottom - top)
    if area == 0:
        return None
    if zoom is None:
        room = max(1, math.isqrt(_PIXELS // area))
        zoom = min(4, room, max(1, math.ceil(_FINE / stroke)))
    return Layer(clear_pixels((right - left) * zoom, (bottom - top) * zoom), left, top, zoom)


def clear_pixels(width: int, height: int) -> Picture:
    """(height, width, 4) of nothing; filled by words, since bytes take 50 times as long."""
    return np.full((height, width, 1), _CLEAR, dtype=np.uint32).view(np.uint8)


def into(value: float, end: int) -> int:
    """A number rounded down and kept within 0 and ``end``."""
    return math.floor(min(max(value, 0.0), float(end)))


def _fixed(point: Point) -> tuple[int, int]:
    return round(point[0] * _UNIT), round(point[1] * _UNIT)


def _cut(a: Point, b: Point, size: Size, margin: float) -> tuple[Point, Point] | None:
    """The part of a segment within ``margin`` of a sheet (Liang and Barsky 1984), if any."""
    if all(-margin <= p[axis] <= size[axis] + margin for p in (a, b) for axis in (0, 1)):
        return a, b
    start, end = 0.0, 1.0
    for axis in (0, 1):
        low, high = -margin, size[axis] + margin
        step = b[axis] - a[axis]
        if step == 0:
            if not low <= a[axis] <= high:
                return None
            continue
        near, far = sorted(((low - a[axis]) / step, (high - a[axis]) / step))
        start, end = max(start, near), min(end, far)
    if start > end:
        return None
    first, last = (
        (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share) for share in (start, end)
    )
    return first, last
