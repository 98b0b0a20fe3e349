"""Frame + Poses -> picture: people as coloured skeletons.

Every person is painted on a small RGBA layer of its own, several times larger than the picture
where strokes are thin, and the layer is blended in once. So strokes have fractional widths, edges
are smooth at any size, and opacity shows confidence. Everything is cut to the layer before it
becomes the fixed-point numbers OpenCV draws with: a point may lie anywhere.

K keypoints; xy in image pixels, integer = pixel centre; widths and radii in image pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.options import Style
from hrpose.skeleton import Skeleton
from hrpose.types import FloatArray, Frame, Poses, Size

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
Point = tuple[float, float]

# Blue and orange differ in hue and in lightness for every common colour blindness.
_LIMB: dict[str, Colour] = {
    "left": (41, 162, 255),
    "right": (255, 133, 27),
    "middle": (236, 236, 228),
}
_JOINT: dict[str, Colour] = {
    "left": (168, 220, 255),
    "right": (255, 208, 158),
    "middle": (255, 255, 255),
}
_DARK: Colour = (18, 20, 26)
_PAPER: Colour = (255, 255, 255)

_STROKE = 0.0095  # limb width as a share of the person's box diagonal
_STROKE_PICTURE = (0.0019, 0.0075)  # narrowest and widest, as a share of the picture's diagonal
_FAINT = 0.4  # opacity at min_score
_SURE = 0.85  # score from which a limb is opaque
_RIM_ALPHA = 0.55  # opacity of the rim of boxes
_TEXT = 0.02  # digit height as a share of the picture's short side
_TEXT_PIXELS = 7.0  # px; smaller digits cannot be read
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT = 21.0  # px of a digit at scale 1
_FINE = 8.0  # px; strokes narrower than this are painted enlarged
_LAYER_PIXELS = 1 << 22  # an enlarged layer holds at most so many
_SHIFT = 4  # fraction bits of OpenCV's coordinates
_UNIT = 1 << _SHIFT


_DEFAULT = Style()


@dataclass(frozen=True, slots=True)
class _Layer:
    """An RGBA sheet over a part of the picture, enlarged; alpha 0 where nothing is painted."""

    pixels: Picture
    left: int
    top: int
    zoom: int

    def place(self, point: Point) -> Point:
        return (
            (point[0] - self.left + 0.5) * self.zoom - 0.5,
            (point[1] - self.top + 0.5) * self.zoom - 0.5,
        )

    def line(self, a: Point, b: Point, width: float, rgba: tuple[int, ...]) -> None:
        height, breadth = self.pixels.shape[:2]
        thick = max(1, round(width * self.zoom))
        part = _cut(self.place(a), self.place(b), Size(breadth, height), 2.0 * thick)
        if part is not None:
            first, last = _fixed(part[0]), _fixed(part[1])
            cv2.line(self.pixels, first, last, rgba, thick, cv2.LINE_AA, _SHIFT)

    def disc(self, center: Point, radius: float, rgba: tuple[int, ...]) -> None:
        height, breadth = self.pixels.shape[:2]
        (x, y), reach = self.place(center), radius * self.zoom
        if -reach <= x < breadth + reach and -reach <= y < height + reach:
            size = max(1, round(reach * _UNIT))
            cv2.circle(self.pixels, _fixed((x, y)), size, rgba, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    def blend(self, canvas: Picture) -> None:
        """Lays the sheet onto its part of the picture, in place."""
        height, width = (side // self.zoom for side in self.pixels.shape[:2])
        sheet = self.pixels
        if self.zoom > 1:
            shrunk = cv2.resize(sheet, (width, height), interpolation=cv2.INTER_AREA)
            sheet = np.asarray(shrunk, dtype=np.uint8)
        below = canvas[self.top : self.top + height, self.left : self.left + width]
        sheet = sheet[: below.shape[0], : below.shape[1]]  # a label may be larger than the picture
        painted = np.nonzero(sheet[..., 3])
        ink = sheet[painted].astype(np.int32)
        paper = below[painted].astype(np.int32)
        below[painted] = paper + ((ink[:, :3] - paper) * ink[:, 3:] + 127) // 255


def draw(frame: Frame, poses: Poses, style: Style = _DEFAULT) -> Picture:
    """Draws people onto a copy of a frame.

    Limbs are blue on the person's left, orange on the right, pale in the middle; opacity and
    joint size grow with confidence, width with the size of the person.

    Args:
        frame: The picture; not changed.
        poses: Its people; N = 0 gives the picture back.
        style: What to draw.

    Returns:
        (H, W, 3) uint8 RGB, a new array; (H, 2 W, 3) with ``style.side_by_side``.

    Raises:
        ValueError: The poses belong to a picture of another size.
    """
    if poses.size != frame.size:
        raise ValueError(f"poses of a {poses.size} picture on a frame of {frame.size}")
    image = _pixels(frame)
    canvas = np.zeros_like(image) if style.background == "black" else image
    if style.side_by_side and canvas is image:
        canvas = image.copy()
    sizes = [_diagonal(box) for box in poses.boxes]
    for person in sorted(range(len(poses)), key=lambda i: -sizes[i]):  # the small stay visible
        stroke = _stroke(sizes[person], frame.size)
        seen = _seen(poses, person, style.min_score)
        _figure(canvas, poses.skeleton, seen, stroke)
    scores = poses.scores
    for person in range(len(poses)):
        stroke = _stroke(sizes[person], frame.size)
        if style.boxes:
            _box(canvas, poses.boxes[person], stroke)
        if style.scores:
            caption = _caption(poses, person, float(scores[person]))
            _label(canvas, caption, poses.boxes[person], stroke)
    return np.hstack([image, canvas]) if style.side_by_side else canvas


def _pixels(frame: Frame) -> Picture:
    planes = frame.image.cpu().numpy()
    if planes[0].flags.c_contiguous and planes[0].size:
        # 0.2 ms for 1080p, where a copy of the transpose takes 6 ms
        return np.asarray(cv2.merge(list(planes)), dtype=np.uint8)
    return np.array(planes.transpose(1, 2, 0), order="C")


def _diagonal(box: FloatArray) -> float:
    left, top, right, bottom = (float(v) for v in box)
    size = math.hypot(right - left, bottom - top)
    return size if math.isfinite(size) else 0.0


def _stroke(diagonal: float, size: Size) -> float:
    low, high = (share * math.hypot(*size) for share in _STROKE_PICTURE)
    return max(1.0, min(max(_STROKE * diagonal, low), high))


@dataclass(frozen=True, slots=True)
class _Seen:
    """The keypoints of one person that are drawn, by index: where, and how sure (0 to 1)."""

    xy: dict[int, Point]
    sure: dict[int, float]


def _seen(poses: Poses, person: int, min_score: float) -> _Seen:
    xy, sure = {}, {}
    span = max(_SURE - min_score, 1e-6)
    scores = poses.keypoint_scores[person].tolist()
    for index, (x, y) in enumerate(poses.keypoints[person].tolist()):
        score = scores[index]
        if score >= min_score and math.isfinite(x) and math.isfinite(y):
            xy[index] = (x, y)
            sure[index] = min(max((score - min_score) / span, 0.0), 1.0)
    return _Seen(xy, sure)


def _figure(canvas: Picture, skeleton: Skeleton, seen: _Seen, stroke: float) -> None:
    layer = _layer_over(seen, Size(canvas.shape[1], canvas.shape[0]), stroke)
    if layer is None:
        return
    rim = max(0.6, 0.28 * stroke)
    limbs = [edge for edge in skeleton.edges if edge[0] in seen.xy and edge[1] in seen.xy]
    lengths = {edge: math.dist(seen.xy[edge[0]], seen.xy[edge[1]]) for edge in limbs}
    limbs.sort(key=lambda edge: min(seen.sure[i] for i in edge))  # the surest on top
    for edge in limbs:
        a, b = (seen.xy[i] for i in edge)
        alpha = _opacity(min(seen.sure[i] for i in edge))
        width = min(stroke, max(0.5 * stroke, 0.16 * lengths[edge]))
        layer.line(a, b, width + 2 * rim, (*_DARK, alpha))
        layer.line(a, b, width, (*_LIMB[skeleton.limb_side(edge)], alpha))
    for index, center in seen.xy.items():
        room = max((n for edge, n in lengths.items() if index in edge), default=math.inf)
        radius = stroke * (0.66 + 0.3 * seen.sure[index])
        radius = max(min(radius, 0.24 * room), 0.5 * stroke)
        alpha = _opacity(seen.sure[index])
        layer.disc(center, radius + rim, (*_DARK, alpha))
        layer.disc(center, radius, (*_JOINT[skeleton.side(index)], alpha))
    layer.blend(canvas)


def _opacity(sure: float) -> int:
    return round(255 * (_FAINT + (1 - _FAINT) * sure))


def _layer_over(seen: _Seen, size: Size, stroke: float) -> _Layer | None:
    """An empty layer over what is seen of a person inside the picture; None if that is nothing."""
    if not seen.xy:
        return None
    pad = 2.0 * stroke + 2.0
    xs, ys = zip(*seen.xy.values(), strict=True)
    left, right = (_into(v, size.width) for v in (min(xs) - pad, max(xs) + pad + 1))
    top, bottom = (_into(v, size.height) for v in (min(ys) - pad, max(ys) + pad + 1))
    area = (right - left) * (bottom - top)
    if area == 0:
        return None
    room = max(1, math.isqrt(_LAYER_PIXELS // area))
    zoom = min(4, room, max(1, math.ceil(_FINE / stroke)))
    # Dark under the smoothed edge of the dark rim leaves no fringe. Filled by words: bytes take
    # 50 times as long.
    clear = np.array([*_DARK, 0], dtype=np.uint8).view(np.uint32)
    words = np.full(((bottom - top) * zoom, (right - left) * zoom, 1), clear, dtype=np.uint32)
    pixels = words.view(np.uint8)
    return _Layer(pixels, left, top, zoom)


def _into(value: float, end: int) -> int:
    return math.floor(min(max(value, 0.0), float(end)))


def _fixed(point: Point) -> tuple[int, int]:
    return round(point[0] * _UNIT), round(point[1] * _UNIT)


def _cut(a: Point, b: Point, size: Size, margin: float) -> tuple[Point, Point] | None:
    """The part of a segment within ``margin`` of a sheet (Liang and Barsky 1984), if any."""
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


def _box(canvas: Picture, box: FloatArray, stroke: float) -> None:
    """Draws a pale frame with a dark see-through rim; whole pixels keep it crisp."""
    height, width = canvas.shape[:2]
    core, rim = max(1, round(0.3 * stroke)), max(1, round(0.15 * stroke))
    outside = core + rim + 1
    limits = np.array([width, height, width, height]) + outside
    corners = np.clip(np.nan_to_num(box.astype(np.float64)), -outside, limits)
    left, top, right, bottom = (int(v) for v in np.round(corners))
    for colour, half, alpha in ((_DARK, core / 2 + rim, _RIM_ALPHA), (_PAPER, core / 2, 1.0)):
        low, high = -math.floor(half), math.ceil(half)
        columns, rows = slice(left + low, right + high), slice(top + high, bottom + low)
        for band in (
            (slice(top + low, top + high), columns),
            (slice(max(bottom + low, top + high), bottom + high), columns),
            (rows, slice(left + low, left + high)),
            (rows, slice(max(right + low, left + high), right + high)),
        ):
            part = canvas[tuple(slice(max(s.start, 0), max(s.stop, 0)) for s in band)]
            part[:] = np.rint(part + (np.array(colour) - part) * alpha)


def _caption(poses: Poses, person: int, score: float) -> str:
    track = int(poses.track_ids[person])
    return f"{score:.2f}" if track < 0 else f"#{track} {score:.2f}"


def _label(canvas: Picture, text: str, box: FloatArray, stroke: float) -> None:
    """Writes outlined text over the upper left corner of a box, always inside the picture."""
    height, width = canvas.shape[:2]
    tall = max(_TEXT_PIXELS, _TEXT * min(height, width), 1.6 * stroke)
    pixels, zoom = _text(text, tall)
    high, wide = (side // zoom for side in pixels.shape[:2])
    x, y = np.nan_to_num(box[:2].astype(np.float64)).tolist()
    left = _into(x - stroke, max(width - wide, 0))
    top = _into(y - high - 0.3 * stroke, max(height - high, 0))
    _Layer(pixels, left, top, zoom).blend(canvas)


def _text(text: str, height: float) -> tuple[Picture, int]:
    """Text as the pixels of a layer and their zoom; ``height`` is that of a digit in pixels.

    The rim is grown from the letters themselves: OpenCV 5 spaces bold letters wider, so writing
    twice, bold and dark first, does not line up.
    """
    zoom = min(4, max(1, math.ceil(24 / height)))
    scale = height * zoom / _FONT_HEIGHT
    pen, rim = max(1, round(2 * scale)), max(1, round(0.16 * height * zoom))
    (wide, tall), below = cv2.getTextSize(text, _FONT, scale, pen)
    shape = (tall + below + 2 * (rim + pen), wide + 2 * (rim + pen))
    letters = np.zeros([-(-side // zoom) * zoom for side in shape], dtype=np.uint8)
    cv2.putText(letters, text, (rim + pen, rim + pen + tall), _FONT, scale, 255, pen, cv2.LINE_AA)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    share = letters[..., None] / 255
    ink = np.array(_DARK) * (1 - share) + np.array(_PAPER) * share
    pixels = np.dstack([np.rint(ink).astype(np.uint8), cv2.dilate(letters, brush)])
    return pixels, zoom
