"""Boxes around people, and labels over them."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from hrpose.draw.colours import DARK, PAPER, Colour, ink_on
from hrpose.draw.layer import FONT, Layer, Picture, clear_pixels, into
from hrpose.types import FloatArray

_RIM_ALPHA = 0.55  # opacity of the rim of boxes
_TEXT = 0.02  # digit height as a share of the picture's short side
_TEXT_PIXELS = 7.0  # px; smaller digits cannot be read
_FONT_HEIGHT = 21.0  # px of a digit at scale 1


def draw_box(canvas: Picture, box: FloatArray, *, stroke: float, colour: Colour) -> None:
    """Draws a coloured frame with a dark see-through rim; whole pixels keep it crisp.

    Args:
        canvas: (H, W, 3), changed in place.
        box: (4,) xyxy in image pixels; may reach outside.
        stroke: Limb width of the person.
        colour: Of the frame.
    """
    height, width = canvas.shape[:2]
    core, rim = max(1, round(0.3 * stroke)), max(1, round(0.15 * stroke))
    outside = core + rim + 1
    limits = np.array([width, height, width, height]) + outside
    corners = np.clip(np.nan_to_num(box.astype(np.float64)), -outside, limits)
    left, top, right, bottom = (int(v) for v in np.round(corners))
    for ink, half, alpha in ((DARK, core / 2 + rim, _RIM_ALPHA), (colour, core / 2, 1.0)):
        low, high = -math.floor(half), math.ceil(half)
        columns, rows = slice(left + low, right + high), slice(top + high, bottom + low)
        for band in (
            (slice(top + low, top + high), columns),
            (slice(max(bottom + low, top + high), bottom + high), columns),
            (rows, slice(left + low, left + high)),
            (rows, slice(max(right + low, left + high), right + high)),
        ):
            part = canvas[tuple(slice(max(s.start, 0), max(s.stop, 0)) for s in band)]
            part[:] = np.rint(part + (np.array(ink) - part) * alpha)


def draw_label(
    canvas: Picture,
    text: str,
    box: FloatArray,
    *,
    stroke: float,
    tag: Colour | None = None,
    centred: bool = False,
) -> None:
    """Writes over the upper left corner of a box, always inside the picture.

    Args:
        canvas: (H, W, 3), changed in place.
        text: Letters of ASCII.
        box: (4,) xyxy in image pixels; may reach outside.
        stroke: Limb width of the person.
        tag: Colour under the letters; None outlines white letters instead.
        centred: Whether it stands over the middle of the upper edge instead.
    """
    height, width = canvas.shape[:2]
    tall = max(_TEXT_PIXELS, _TEXT * min(height, width), 1.6 * stroke)
    pixels, zoom = _text(text, round(tall, 1), tag)
    high, wide = (side // zoom for side in pixels.shape[:2])
    x, y, right, _ = np.nan_to_num(box.astype(np.float64)).tolist()
    x = (x + right - wide) / 2 if centred else x - stroke
    left = into(x, max(width - wide, 0))
    top = into(y - high - 0.3 * stroke, max(height - high, 0))
    Layer(pixels, left, top, zoom).blend(canvas)


@lru_cache(maxsize=256)  # ids stay from frame to frame
def _text(text: str, height: float, tag: Colour | None) -> tuple[Picture, int]:
    """Text as the pixels of a layer and their zoom; ``height`` is that of a digit in pixels.

    The rim is grown from the letters themselves: OpenCV 5 spaces bold letters wider, so writing
    twice, bold and dark first, does not line up.
    """
    zoom = min(4, max(1, math.ceil(24 / height)))
    scale = height * zoom / _FONT_HEIGHT
    pen, rim = max(1, round(2 * scale)), max(1, round(0.16 * height * zoom))
    pad = rim + pen if tag is None else round(0.45 * height * zoom)
    (wide, tall), below = cv2.getTextSize(text, FONT, scale, pen)
    below = below if tag is None else 0
    shape = (tall + below + 2 * pad, wide + 2 * pad)
    rows, columns = (-(-side // zoom) * zoom for side in shape)
    letters = np.zeros((rows, columns), dtype=np.uint8)
    cv2.putText(letters, text, (pad, pad + tall), FONT, scale, 255, pen, cv2.LINE_AA)
    share = letters[..., None] / 255
    if tag is None:
        under, ink = np.array(DARK), np.array(PAPER)
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
        alpha = cv2.dilate(letters, brush)
    else:
        plate = _plate(columns, rows, tag, rim)
        under, ink, alpha = plate[..., :3], np.array(ink_on(tag)), plate[..., 3]
    colour = under * (1 - share) + ink * share
    return np.dstack([np.rint(colour).astype(np.uint8), alpha]), zoom


def _plate(width: int, height: int, colour: Colour, rim: int) -> Picture:
    """(height, width, 4) a rounded plate with a dark rim."""
    pixels = clear_pixels(width, height)
    middle, reach = height // 2, height // 2
    ends = (reach, middle), (max(width - 1 - reach, reach), middle)
    for ink, thick in ((DARK, height - 2), (colour, height - 2 - rim)):
        cv2.line(pixels, *ends, (*ink, 255), max(thick, 1), cv2.LINE_AA)
    return pixels
