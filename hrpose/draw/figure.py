"""The skeleton of a person.

Limbs are blue on the person's left, orange on the right, pale in the middle; opacity and joint
size grow with confidence, width with the size of the person. A keypoint that was filled in is a
ring, and its limbs are faint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hrpose.draw.colours import DARK, JOINT, LIMB
from hrpose.draw.layer import Coat, Layer, Picture, Point, layer_over
from hrpose.skeleton import Skeleton
from hrpose.types import FloatArray, Poses, Size

_STROKE = 0.0095  # limb width as a share of the person's box diagonal
_STROKE_PICTURE = (0.0019, 0.0075)  # narrowest and widest, as a share of the picture's diagonal
_FAINT = 0.4  # opacity at min_score
_SURE = 0.85  # score from which a limb is opaque
_GUESSED = 0.45  # opacity of a limb to a filled keypoint, as a share of a measured one's
_HOLE = 0.6  # radius of the hole in a filled keypoint, as a share of its own


def diagonal(box: FloatArray) -> float:
    """Of an xyxy box, in pixels; 0 if that is no number."""
    left, top, right, bottom = (float(v) for v in box)
    size = math.hypot(right - left, bottom - top)
    return size if math.isfinite(size) else 0.0


def stroke_of(size: float, picture: Size) -> float:
    """Limb width in pixels of a person with a box diagonal of ``size``."""
    low, high = (share * math.hypot(*picture) for share in _STROKE_PICTURE)
    return max(1.0, min(max(_STROKE * size, low), high))


def draw_figure(
    canvas: Picture, poses: Poses, person: int, *, stroke: float, min_score: float
) -> None:
    """Draws the skeleton of one person, in place."""
    seen = _seen(poses, person, min_score)
    if not seen.xy:
        return
    layer = layer_over(seen.xy.values(), Size(canvas.shape[1], canvas.shape[0]), stroke)
    if layer is not None:
        _paint(layer, poses.skeleton, seen, stroke)
        layer.blend(canvas)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The keypoints of one person that are drawn, by index.

    Attributes:
        xy: Where.
        sure: How sure, 0 to 1.
        guessed: Which of them were filled in.
    """

    xy: dict[int, Point]
    sure: dict[int, float]
    guessed: frozenset[int]

    def opacity(self, *indices: int) -> int:
        """Of a stroke between keypoints."""
        alpha = _FAINT + (1 - _FAINT) * min(self.sure[i] for i in indices)
        faint = len(indices) > 1 and not self.guessed.isdisjoint(indices)
        return round(255 * alpha * (_GUESSED if faint else 1.0))


def _seen(poses: Poses, person: int, min_score: float) -> _Seen:
    xy, sure = {}, {}
    span = max(_SURE - min_score, 1e-6)
    scores = poses.keypoint_scores[person].tolist()
    for index, (x, y) in enumerate(poses.keypoints[person].tolist()):
        score = scores[index]
        if score >= min_score and math.isfinite(x) and math.isfinite(y):
            xy[index] = (x, y)
            sure[index] = min(max((score - min_score) / span, 0.0), 1.0)
    guessed = [] if poses.filled is None else poses.filled[person].nonzero()[0].tolist()
    return _Seen(xy, sure, frozenset(guessed))


def _paint(layer: Layer, skeleton: Skeleton, seen: _Seen, stroke: float) -> None:
    rim = max(0.6, 0.28 * stroke)
    limbs = [edge for edge in skeleton.edges if edge[0] in seen.xy and edge[1] in seen.xy]
    lengths = {edge: math.dist(seen.xy[edge[0]], seen.xy[edge[1]]) for edge in limbs}
    limbs.sort(key=lambda edge: min(seen.sure[i] for i in edge))  # the surest on top
    for edge in limbs:
        a, b = (seen.xy[i] for i in edge)
        alpha = seen.opacity(*edge)
        width = min(stroke, max(0.5 * stroke, 0.16 * lengths[edge]))
        core = Coat(width / 2, (*LIMB[skeleton.limb_side(edge)], alpha))
        layer.line(a, b, Coat(width / 2 + rim, (*DARK, alpha)), core)
    for index, center in seen.xy.items():
        room = max((n for edge, n in lengths.items() if index in edge), default=math.inf)
        radius = stroke * (0.66 + 0.3 * seen.sure[index])
        radius = max(min(radius, 0.24 * room), 0.5 * stroke)
        alpha = seen.opacity(index)
        coats = [
            Coat(radius + rim, (*DARK, alpha)),
            Coat(radius, (*JOINT[skeleton.side(index)], alpha)),
        ]
        if index in seen.guessed:
            coats.append(Coat(_HOLE * radius, (*DARK, 0)))
        layer.disc(center, *coats)
