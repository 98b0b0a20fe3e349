"""Background and overlays in their order."""

from __future__ import annotations

import cv2
import numpy as np

from hrpose.draw.colours import of_person
from hrpose.draw.figure import diagonal, draw_figure, stroke_of
from hrpose.draw.heat import draw_heat
from hrpose.draw.layer import Picture
from hrpose.draw.mark import draw_box, draw_label
from hrpose.draw.trail import Trails, draw_trails
from hrpose.options import Style
from hrpose.types import Frame, Poses, Size

_DEFAULT = Style()
_BLUR_SIDE = 64  # px; the short side of the picture that is blurred, then enlarged
_BLUR = 4.0  # px; standard deviation there: a 16th of the short side


def draw(
    frame: Frame, poses: Poses, style: Style = _DEFAULT, trails: Trails | None = None
) -> Picture:
    """Draws people onto a copy of a frame.

    Limbs are blue on the person's left, orange on the right, pale in the middle; opacity and
    joint size grow with confidence, width with the size of the person. Boxes, ids and trails have
    the colour of the track id, which is the same in all frames; without an id they are white.

    Args:
        frame: The picture; not changed.
        poses: Its people; N = 0 gives the background alone.
        style: What to draw.
        trails: Where the people were, this frame added; not changed.

    Returns:
        (H, W, 3) uint8 RGB, a new array; (H, 2 W, 3) with ``style.side_by_side``.

    Raises:
        ValueError: The poses belong to a picture of another size.
    """
    if poses.size != frame.size:
        raise ValueError(f"poses of a {poses.size} picture on a frame of {frame.size}")
    image = _pixels(frame)
    canvas = _background(image, style)
    if "heatmaps" in style.overlay and poses.heatmaps is not None:
        draw_heat(canvas, poses.heatmaps)
    if "trails" in style.overlay and trails is not None:
        draw_trails(canvas, trails)
    sizes = [diagonal(box) for box in poses.boxes]
    strokes = [stroke_of(size, frame.size) for size in sizes]
    if "skeleton" in style.overlay:
        for person in sorted(range(len(poses)), key=lambda i: -sizes[i]):  # the small stay visible
            draw_figure(canvas, poses, person, stroke=strokes[person], min_score=style.min_score)
    _mark(canvas, poses, style, strokes)
    return np.hstack([image, canvas]) if style.side_by_side else canvas


def _pixels(frame: Frame) -> Picture:
    planes = frame.image.cpu().numpy()
    if planes[0].flags.c_contiguous and planes[0].size:
        # 0.2 ms for 1080p, where a copy of the transpose takes 6 ms
        return np.asarray(cv2.merge(list(planes)), dtype=np.uint8)
    return np.array(planes.transpose(1, 2, 0), order="C")


def _background(image: Picture, style: Style) -> Picture:
    if style.background == "black":
        return np.zeros_like(image)
    if style.background == "blur":
        return _blurred(image)
    return image.copy() if style.side_by_side else image


def _blurred(image: Picture) -> Picture:
    """The picture without detail: a Gaussian whose deviation is a 16th of the short side.

    Of a face as wide as that side, 5 cycles keep a tenth of their contrast, of one of half the
    width 3; recognising takes about 8 to 16 cycles per face (Costen et al. 1996).
    """
    height, width = image.shape[:2]
    share = min(1.0, _BLUR_SIDE / min(height, width))
    small = Size(max(1, round(width * share)), max(1, round(height * share)))
    coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    sigma = max(_BLUR * min(small) / _BLUR_SIDE, 0.5)
    smooth = cv2.GaussianBlur(coarse, (0, 0), sigma)
    enlarged = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(enlarged, dtype=np.uint8)


def _mark(canvas: Picture, poses: Poses, style: Style, strokes: list[float]) -> None:
    """Boxes and labels, over all skeletons."""
    scores = poses.scores.tolist()
    for person, track in enumerate(poses.track_ids.tolist()):
        box, stroke = poses.boxes[person], strokes[person]
        colour = of_person(track)
        if "boxes" in style.overlay:
            draw_box(canvas, box, stroke=stroke, colour=colour)
        words = [f"#{track}"] if "ids" in style.overlay and track >= 0 else []
        words += [f"{scores[person]:.2f}"] if "scores" in style.overlay else []
        if words:
            tag = colour if "ids" in style.overlay and track >= 0 else None
            centred = "boxes" not in style.overlay
            draw_label(canvas, " ".join(words), box, stroke=stroke, tag=tag, centred=centred)
