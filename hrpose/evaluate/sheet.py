"""A contact sheet: crops with what was found over what is true, the errors marked.

What was found is drawn as everywhere (``draw.py``), of keypoints that the truth does not label
nothing. The truth is a thin dashed skeleton with rings in the colours of the sides. From every
keypoint that is no better than a miss, swap or inversion a thin line in the colour of that kind
leads to where it should be.

K keypoints; side of a tile in px; tile coordinates are image coordinates moved and scaled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hrpose.draw import draw
from hrpose.evaluate.chart import KIND_COLOURS
from hrpose.evaluate.errors import JITTER, KINDS, Array, Case, Diagnosis, Flags
from hrpose.options import Style
from hrpose.skeleton import Skeleton
from hrpose.types import Frame, Size

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

SIDE = 340  # of a tile's picture
COLUMNS = 6
_CAPTION = 66  # height of the text below a picture
_GAP = 6
_PAD = 0.12  # room around a person, as a share of the greater side
_LEAST = 24.0  # px of the image that a tile shows at least

_GROUND, _INK, _SOFT, _BLANK = (24, 26, 30), (236, 238, 240), (160, 166, 174), (70, 74, 80)
_DARK, _DASH = (18, 20, 26), (255, 255, 255)
_RINGS: dict[str, Colour] = {
    "left": (41, 162, 255), "right": (255, 133, 27), "middle": (255, 255, 255),
}  # fmt: skip
_MARKED = ("miss", "swap", "inversion")
_SHORT = {"left": "L", "right": "R"}


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One case to show.

    Attributes:
        title: First line of the caption.
        frame: The picture; None leaves the ground grey.
        diagnosis: Of that picture.
        case: One of its cases.
    """

    title: str
    frame: Frame | None
    diagnosis: Diagnosis
    case: Case


def draw_sheet(tiles: Iterable[Tile], *, columns: int = COLUMNS) -> Picture:
    """Draws tiles in rows; only one picture is held at a time if ``tiles`` makes them so.

    Args:
        tiles: The cases in order.
        columns: Tiles in a row.

    Returns:
        (H, W, 3) uint8 RGB; a strip that says so where there are no tiles.
    """
    drawn = [draw_tile(tile) for tile in tiles]
    if not drawn:
        return _caption(["nothing to show"], SIDE)
    columns = min(columns, len(drawn))
    height, width = drawn[0].shape[:2]
    rows = -(-len(drawn) // columns)
    shape = (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3)
    sheet = np.full(shape, _GROUND, np.uint8)
    for place, tile in enumerate(drawn):
        row, column = divmod(place, columns)
        top, left = _GAP + row * (height + _GAP), _GAP + column * (width + _GAP)
        sheet[top : top + height, left : left + width] = tile
    return np.vstack([_legend(shape[1]), sheet])


def draw_tile(tile: Tile) -> Picture:
    """Draws one case: a square crop with a caption below."""
    window = _window(tile)
    canvas = _crop(tile, window)
    people, skeleton = tile.diagnosis.people, tile.diagnosis.poses.skeleton
    if tile.case.pose >= 0:
        canvas = _found(canvas, tile, window)
    # of a pose that is nobody's, the people around say why
    shown = range(len(people)) if tile.case.person < 0 else [tile.case.person]
    for person in shown:
        points = window.place(people.points[person])
        _truth(canvas, skeleton, points, people.labelled[person])
    if tile.case.person >= 0 and tile.case.pose >= 0:
        _errors(canvas, tile, window)
    return np.vstack([canvas, _caption(_lines(tile), SIDE)])


@dataclass(frozen=True, slots=True)
class _Window:
    """A square of the image that a tile shows; px of the image."""

    left: int
    top: int
    side: int

    def place(self, points: Array) -> Array:
        corner = np.array([self.left, self.top], np.float64)
        placed: Array = (points - corner + 0.5) * (SIDE / self.side) - 0.5
        return placed


def _window(tile: Tile) -> _Window:
    people, poses, case = tile.diagnosis.people, tile.diagnosis.poses, tile.case
    spots = []
    if case.person >= 0:
        labelled = people.labelled[case.person]
        spots += [people.points[case.person][labelled], people.boxes[case.person].reshape(2, 2)]
    if case.pose >= 0:
        points = poses.keypoints[case.pose].astype(np.float64)
        seen = people.labelled[case.person] if case.person >= 0 else slice(None)
        spots.append(points[seen])
    # poses and labels may lie anywhere; what is far outside the picture is not worth a view
    corners = np.clip(np.concatenate(spots), (0, 0), poses.size)
    low, high = corners.min(axis=0), corners.max(axis=0)
    side = math.ceil(max(float((high - low).max()) * (1 + 2 * _PAD), _LEAST))
    left, top = np.floor((low + high - side) / 2).astype(int).tolist()
    return _Window(left, top, side)


def _crop(tile: Tile, window: _Window) -> Picture:
    canvas = np.full((window.side, window.side, 3), _BLANK, np.uint8)
    if tile.frame is not None:
        width, height = tile.frame.size
        left, right = _overlap(window.left, window.side, width)
        top, bottom = _overlap(window.top, window.side, height)
        part = tile.frame.image[:, top:bottom, left:right].permute(1, 2, 0).cpu().numpy()
        rows = slice(top - window.top, bottom - window.top)
        canvas[rows, left - window.left : right - window.left] = part
    method = cv2.INTER_AREA if window.side > SIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(canvas, (SIDE, SIDE), interpolation=method), np.uint8)


def _overlap(start: int, length: int, end: int) -> tuple[int, int]:
    low = min(max(start, 0), end)
    return low, max(low, min(start + length, end))


def _found(canvas: Picture, tile: Tile, window: _Window) -> Picture:
    poses, case = tile.diagnosis.poses, tile.case
    one = slice(case.pose, case.pose + 1)
    scores = np.maximum(poses.keypoint_scores[one], 0.5)  # unsure ones must be seen as well
    if case.person >= 0:
        scores[:, ~tile.diagnosis.people.labelled[case.person]] = -1  # below every threshold
    points = window.place(poses.keypoints[one].astype(np.float64))
    low, high = points[0].min(axis=0), points[0].max(axis=0)
    placed = replace(
        poses,
        keypoints=points.astype(np.float32),
        keypoint_scores=scores,
        boxes=np.array([[*low, *high]], np.float32),
        box_scores=poses.box_scores[one],
        track_ids=poses.track_ids[one],
        size=Size(SIDE, SIDE),
    )
    image = torch.from_numpy(np.ascontiguousarray(canvas.transpose(2, 0, 1)))
    return draw(Frame(image), placed, Style(min_score=0.0))


def _truth(canvas: Picture, skeleton: Skeleton, points: Array, labelled: Flags) -> None:
    for a, b in skeleton.edges:
        if labelled[a] and labelled[b]:
            _dashes(canvas, points[a], points[b])
    for k in np.flatnonzero(labelled).tolist():
        if _near(points[k]):
            _ring(canvas, points[k], 4.0, _DARK, 3)
            _ring(canvas, points[k], 4.0, _RINGS[skeleton.side(k)], 1)


def _near(point: Array) -> bool:
    return bool((np.abs(point) < 4 * SIDE).all())  # others may be far outside the tile


def _dashes(canvas: Picture, a: Array, b: Array, dash: float = 5.0) -> None:
    if not (_near(a) and _near(b)):
        return
    count = max(1, round(float(np.linalg.norm(b - a)) / dash))
    for i in range(0, count, 2):
        start, end = (a + (b - a) * (i + n) / count for n in (0, min(1, count - i)))
        _line(canvas, start, end, _DARK, 3)
        _line(canvas, start, end, _DASH, 1)


def _errors(canvas: Picture, tile: Tile, window: _Window) -> None:
    case = tile.case
    found = window.place(tile.diagnosis.poses.keypoints[case.pose].astype(np.float64))
    true = window.place(tile.diagnosis.people.points[case.person])
    for k in np.flatnonzero(case.kinds > JITTER).tolist():
        if _near(found[k]) and _near(true[k]):
            _line(canvas, found[k], true[k], _DARK, 4)
            _line(canvas, found[k], true[k], _rgb(KIND_COLOURS[KINDS[case.kinds[k]]]), 2)


def _rgb(colour: str) -> Colour:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def _fixed(point: Array) -> tuple[int, int]:
    x, y = np.rint(point * 16).astype(int).tolist()
    return x, y


def _line(canvas: Picture, a: Array, b: Array, colour: Colour, width: int) -> None:
    cv2.line(canvas, _fixed(a), _fixed(b), colour, width, cv2.LINE_AA, 4)


def _ring(canvas: Picture, center: Array, radius: float, colour: Colour, width: int) -> None:
    cv2.circle(canvas, _fixed(center), round(radius * 16), colour, width, cv2.LINE_AA, 4)


def _lines(tile: Tile) -> list[str]:
    case, people = tile.case, tile.diagnosis.people
    if case.outcome == "missed":
        what = f"missed, {int(people.labelled[case.person].sum())} labelled keypoints"
    else:
        what = f"{case.outcome}, OKS {case.oks:.2f}, score {case.score:.2f}"
    return [tile.title, what, *_kinds(case, tile.diagnosis.poses.skeleton)]


def _kinds(case: Case, skeleton: Skeleton) -> list[str]:
    lines = []
    for kind in _MARKED:
        rows = np.flatnonzero(case.kinds == KINDS.index(kind)).tolist()
        if rows:
            names = ", ".join(_short(skeleton.keypoints[k]) for k in rows)
            lines.append(f"{len(rows)} {kind}: {names}")
    return lines


def _short(name: str) -> str:
    side, _, rest = name.partition("_")
    return f"{_SHORT[side]} {rest}" if side in _SHORT else name


def _legend(width: int) -> Picture:
    strip = Image.new("RGB", (width, 24), _GROUND)
    pen = ImageDraw.Draw(strip)
    font = ImageFont.load_default(14)
    left = 10.0
    for text, ink in (
        ("solid: found", _INK),
        ("dashed, rings: true", _INK),
        ("left", _RINGS["left"]),
        ("right", _RINGS["right"]),
        ("lines, from found to true:", _INK),
        *((kind, _rgb(KIND_COLOURS[kind])) for kind in _MARKED),
    ):
        pen.text((left, 4), text, fill=ink, font=font)
        left += font.getlength(text) + 18
    return np.asarray(strip)


def _caption(lines: Sequence[str], width: int) -> Picture:
    strip = Image.new("RGB", (width, _CAPTION), _GROUND)
    pen = ImageDraw.Draw(strip)
    font = ImageFont.load_default(12)
    for row, line in enumerate(lines[:5]):
        ink = _INK if row == 0 else _SOFT
        pen.text((4, 2 + 13 * row), _fitted(line, width - 8, font), fill=ink, font=font)
    return np.asarray(strip)


def _fitted(line: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, cut at the end until it fits; without characters that are not to be shown."""
    text = "".join(c if c.isprintable() else "?" for c in line)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
