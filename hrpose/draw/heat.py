"""Heatmaps as a translucent colour map: the maximum over keypoints and over people."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.draw.layer import Picture, into
from hrpose.types import FloatArray, Heatmaps

_FROM, _FULL = 0.05, 0.45  # heatmap values where it begins to show and is least transparent
_OPAQUE = 0.8  # opacity there
_FINER = 4  # cells are split smoothly into so many on each axis before they are warped


def draw_heat(canvas: Picture, heatmaps: Heatmaps) -> None:
    """Lays the heatmaps of a frame over a picture, in place.

    Args:
        canvas: (H, W, 3).
        heatmaps: Of N people; values from 0, not found, to 1.
    """
    height, width = canvas.shape[:2]
    heat = np.zeros((height, width), np.uint8)
    corners = [
        _lay(heat, values, place)
        for values, place in zip(heatmaps.values, heatmaps.image_from_cells, strict=True)
    ]
    if not corners:
        return
    left, top = np.min([low for low, _ in corners], axis=0).tolist()
    right, bottom = np.max([high for _, high in corners], axis=0).tolist()
    part = (slice(top, bottom), slice(left, right))
    if heat[part].size:
        ink, through = _tables()
        paper, level = canvas[part], np.ascontiguousarray(heat[part])
        below = cv2.multiply(paper, cv2.applyColorMap(level, through), scale=1 / 255)
        canvas[part] = cv2.add(below, cv2.applyColorMap(level, ink))


def _lay(
    heat: Picture, values: NDArray[np.float16], image_from_cells: FloatArray
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Raises ``heat`` (H, W) to one person's maximum; returns the corners of the changed part."""
    place = image_from_cells.astype(np.float64)
    if not np.isfinite(place).all():
        return (0, 0), (0, 0)
    cells = values.astype(np.float32).max(axis=0, initial=0.0)
    rows, columns = cells.shape
    ends = np.array([[x, y, 1.0] for x in (-1, columns) for y in (-1, rows)])
    reached = ends @ place.T
    (left, top), (right, bottom) = reached.min(axis=0).tolist(), reached.max(axis=0).tolist()
    low = into(left, heat.shape[1]), into(top, heat.shape[0])
    high = into(right + 1, heat.shape[1]), into(bottom + 1, heat.shape[0])
    size = high[0] - low[0], high[1] - low[1]
    if min(size) > 0:
        finer = (columns * _FINER, rows * _FINER)
        smooth = cv2.resize(cells, finer, interpolation=cv2.INTER_CUBIC)  # warping so: 4 times
        levels = np.rint(smooth.clip(0.0, 1.0) * 255).astype(np.uint8)
        shift = (1 / _FINER - 1) / 2  # resize keeps the edges of pixels, not their centres
        cells_from_fine = np.array([[1 / _FINER, 0, shift], [0, 1 / _FINER, shift], [0, 0, 1]])
        here = place @ cells_from_fine - [[0, 0, low[0]], [0, 0, low[1]]]
        part = heat[low[1] : high[1], low[0] : high[0]]
        np.maximum(part, cv2.warpAffine(levels, here, size, flags=cv2.INTER_LINEAR), out=part)
    return low, high


@cache
def _tables() -> tuple[Picture, Picture]:
    """By level, (256, 1, 3): the colour times its opacity, and how much of the picture stays."""
    level = np.arange(256, dtype=np.uint8)[:, None]
    colour = cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1]  # RGB; even steps for all
    rise = ((level / 255 - _FROM) / (_FULL - _FROM)).clip(0.0, 1.0)
    opacity = np.rint(255 * _OPAQUE * rise * rise * (3 - 2 * rise))[..., None]  # no edges
    ink = np.rint(colour * opacity / 255).astype(np.uint8)
    through = np.repeat(255 - opacity, 3, axis=2).astype(np.uint8)
    return ink, through
