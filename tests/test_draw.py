"""Drawing: where, in which colours, how wide, and that nothing breaks it."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hrpose.draw import Style, draw
from hrpose.skeleton import COCO17, MPII16, Skeleton
from hrpose.types import Frame, Poses, Size

ARM = Skeleton(
    "arm",
    ("left_a", "left_b", "right_a", "right_b", "top", "bottom"),
    ((0, 1), (2, 3), (4, 5)),
    (2, 3, 0, 1, 4, 5),
)
EVERYTHING = [
    Style(boxes=boxes, scores=boxes, background=background, side_by_side=side)
    for boxes, background, side in itertools.product(
        (False, True), ("image", "black"), (False, True)
    )
]


def blank(width: int = 200, height: int = 160, grey: int = 128) -> Frame:
    return Frame(torch.full((3, height, width), grey, dtype=torch.uint8))


def noise(width: int = 200, height: int = 160) -> Frame:
    pixels = np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)
    return Frame(torch.from_numpy(pixels))


def pose(points: object, size: Size, *, skeleton: Skeleton = ARM, score: object = 1.0) -> Poses:
    keypoints = np.asarray(points, np.float32).reshape(-1, len(skeleton), 2)
    people = len(keypoints)
    boxes = np.zeros((people, 4), np.float32)
    if people:
        boxes = np.concatenate([keypoints.min(axis=1), keypoints.max(axis=1)], axis=1)
    return Poses(
        keypoints=keypoints,
        keypoint_scores=np.broadcast_to(np.float32(score), keypoints.shape[:2]).copy(),
        boxes=boxes,
        box_scores=np.full(people, 0.9, np.float32),
        track_ids=np.arange(people) - 1,
        size=size,
        skeleton=skeleton,
    )


# three upright lines: left at x = 30, right at x = 80, middle at x = 130
LINES = [[[30, 20], [30, 140], [80, 20], [80, 140], [130, 20], [130, 140]]]


@pytest.mark.parametrize("style", EVERYTHING, ids=str)
def test_no_people_gives_the_picture_back(style: Style) -> None:
    frame = noise()
    image = frame.image.permute(1, 2, 0).numpy()
    got = draw(frame, pose([], frame.size, skeleton=COCO17), style)
    want = np.zeros_like(image) if style.background == "black" else image
    assert got.dtype == np.uint8
    assert np.array_equal(got, np.hstack([image, want]) if style.side_by_side else want)


@pytest.mark.parametrize("interleaved", [False, True], ids=["planes", "interleaved"])
@pytest.mark.parametrize("style", EVERYTHING, ids=str)
def test_the_frame_is_never_changed(style: Style, interleaved: bool) -> None:
    frame = noise()
    if interleaved:  # (3, H, W) as a view of (H, W, 3), as readers may hand it out
        pixels = frame.image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        frame = dataclasses.replace(frame, image=pixels)
    before = frame.image.clone()
    got = draw(frame, pose(LINES, frame.size), style)
    got[:] = 7
    assert torch.equal(frame.image, before)


def test_side_by_side_has_the_original_on_the_left() -> None:
    frame = noise()
    poses = pose(LINES, frame.size)
    alone = draw(frame, poses, Style(boxes=True))
    both = draw(frame, poses, Style(boxes=True, side_by_side=True))
    assert np.array_equal(both[:, :200], frame.image.permute(1, 2, 0).numpy())
    assert np.array_equal(both[:, 200:], alone)


def test_sides_have_their_colours() -> None:
    got = draw(blank(), pose(LINES, Size(200, 160)))[80].astype(int)
    assert got[30, 2] > got[30, 0] + 100  # left is blue
    assert got[80, 0] > got[80, 2] + 100  # right is orange
    assert got[130].min() > 200  # the middle is pale


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_limbs_have_a_rim_that_reads_on_any_background(grey: int) -> None:
    row = draw(blank(grey=grey), pose(LINES, Size(200, 160)))[80].astype(int).sum(axis=1)
    around = row[26:30].min(), row[31:35].min()
    assert max(around) < 300
    assert row[30] > 440


def test_nothing_is_painted_far_from_the_person() -> None:
    frame = noise()
    changed = (draw(frame, pose(LINES, frame.size)) != frame.image.permute(1, 2, 0).numpy()).any(2)
    columns = np.flatnonzero(changed.any(axis=0))
    rows = np.flatnonzero(changed.any(axis=1))
    near = [x for line in (30, 80, 130) for x in range(line - 6, line + 7)]
    assert set(columns) <= set(near)
    assert 12 <= rows.min() < 20 < 140 < rows.max() <= 148


def test_lines_lie_where_the_points_are_to_a_tenth_of_a_pixel() -> None:
    for shift in (0.0, 0.25, 0.5, 0.75):
        points = np.float32(LINES) + np.float32([shift, 0])
        got = draw(blank(grey=0), pose(points, Size(200, 160)))[60:100, 15:45, 2].astype(float)
        weight = got - 26 * (got > 0)  # the rim is 26 blue
        center = (weight.clip(0) * (np.arange(30) + 15)).sum() / weight.clip(0).sum()
        assert center == pytest.approx(30 + shift, abs=0.1)


def test_points_below_min_score_are_not_drawn_nor_their_limbs() -> None:
    frame = noise()
    scores = [[0.29, 1, 1, 1, 1, 1]]
    got = draw(frame, pose(LINES, frame.size, score=scores))
    image = frame.image.permute(1, 2, 0).numpy()
    assert np.array_equal(got[:125, 20:40], image[:125, 20:40])
    assert not np.array_equal(got[125:, 20:40], image[125:, 20:40])  # its other end is seen
    everything = draw(frame, pose(LINES, frame.size, score=scores), Style(min_score=0.2))
    assert not np.array_equal(everything[:125, 20:40], image[:125, 20:40])


def test_confidence_shows_as_opacity_and_joint_size() -> None:
    def shown(score: float) -> tuple[float, int]:
        got = draw(blank(grey=0), pose(LINES, Size(200, 160), score=score)).astype(int)
        return float(got[80, 30, 2]), int((got[10:30, 20:40].sum(axis=2) > 30).sum())

    opacity, sizes = zip(*(shown(score) for score in (0.3, 0.5, 0.7, 0.9)), strict=True)
    assert list(opacity) == sorted(set(opacity))
    assert opacity[0] > 80
    assert opacity[-1] == 255
    assert sizes[0] < sizes[-1]


def width_of(frame: Frame, scale: float) -> int:
    """Painted pixels across an upright limb of a person of 120 px times the scale."""
    points = np.float32(LINES) * scale
    image = frame.image.permute(1, 2, 0).numpy()
    changed = (draw(frame, pose(points, frame.size)) != image).any(axis=2)
    return int(changed[round(80 * scale), : round(55 * scale)].sum())


def test_width_grows_with_the_person() -> None:
    frame = blank(1600, 1200)
    widths = [width_of(frame, scale) for scale in (1, 4, 8)]
    assert widths == sorted(set(widths))


@pytest.mark.parametrize("size", [(200, 160), (1920, 1080), (3840, 2160), (4000, 3000)], ids=str)
def test_the_smallest_person_is_legible_when_the_picture_is_seen_at_1000_pixels(
    size: tuple[int, int],
) -> None:
    frame = blank(*size)
    seen = width_of(frame, 1.0) * min(1.0, 1000 / math.hypot(*size))
    assert seen >= 2


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float32, (2, 6, 2), elements=st.floats(width=32)),
    arrays(np.float32, (2, 6), elements=st.floats(-1, 2, width=32)),
    arrays(np.float32, (2, 4), elements=st.floats(width=32)),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_no_coordinate_breaks_it(
    points: np.ndarray, scores: np.ndarray, boxes: np.ndarray, width: int, height: int
) -> None:
    frame = blank(width, height)
    poses = pose(np.zeros_like(points), frame.size)
    poses = dataclasses.replace(poses, keypoints=points, keypoint_scores=scores, boxes=boxes)
    got = draw(frame, poses, Style(boxes=True, scores=True))
    assert got.shape == (height, width, 3)


def test_a_limb_that_leaves_the_picture_keeps_its_direction() -> None:
    frame = blank(grey=0)
    points = np.float32(LINES)
    points[0, 1] = (30 + 2e6, 20 + 1e6)  # slope 1/2 through (30, 20)
    got = draw(frame, pose(points, frame.size), Style())[..., 2]
    assert got[60, 110] > 200
    assert got[80, 110] == got[40, 110] == 0


@pytest.mark.parametrize("skeleton", [COCO17, MPII16, ARM], ids=lambda s: s.name)
def test_every_skeleton_draws_all_its_limbs(skeleton: Skeleton) -> None:
    frame = blank(400, 400)
    angles = np.linspace(0, 2 * np.pi, len(skeleton), endpoint=False)
    points = np.stack([200 + 150 * np.cos(angles), 200 + 150 * np.sin(angles)], axis=1)
    got = draw(frame, pose(points, frame.size, skeleton=skeleton))
    for a, b in skeleton.edges:
        x, y = np.round(points[a] * 0.8 + points[b] * 0.2).astype(int)
        assert (got[y, x] != 128).any(), (a, b)


def test_boxes_lie_on_their_edges_and_may_reach_outside() -> None:
    frame = blank()
    poses = dataclasses.replace(pose(LINES, frame.size), boxes=np.float32([[50, 10, 1e9, 150]]))
    with_box, without = (draw(frame, poses, Style(boxes=b)) for b in (True, False))
    changed = (with_box != without).any(axis=2)
    assert with_box[100, 50].tolist() == with_box[10, 150].tolist() == [255, 255, 255]
    assert changed[10, 50:].all()
    assert changed[150, 50:].all()
    assert not changed[:, :47].any()
    assert not changed[20:140, 54:].any()


@pytest.mark.parametrize("corner", [(-50, -50), (190, 150), (1e9, -1e9), (60, 60)], ids=str)
def test_scores_are_written_inside_the_picture(corner: tuple[float, float]) -> None:
    frame = blank()
    box = np.float32([[*corner, corner[0] + 40, corner[1] + 40]])
    poses = dataclasses.replace(pose(LINES, frame.size), boxes=box)
    changed = (draw(frame, poses, Style(scores=True)) != draw(frame, poses)).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert 12 < np.ptp(columns) + 1 < 60
    assert 6 < np.ptp(rows) + 1 < 20


def test_track_ids_are_written_where_there_are_some() -> None:
    frame, poses = blank(), pose(LINES, Size(200, 160))
    tracked = dataclasses.replace(poses, track_ids=np.array([12]))
    style = Style(scores=True)
    assert not np.array_equal(draw(frame, poses, style), draw(frame, tracked, style))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2)], ids=str)
def test_tiny_pictures(size: tuple[int, int]) -> None:
    frame = blank(*size)
    got = draw(frame, pose(np.zeros((1, 6, 2)), frame.size), Style(boxes=True, scores=True))
    assert got.shape == (size[1], size[0], 3)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="white"):
        Style(background="white")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="width=100"):
        draw(blank(), pose(LINES, Size(100, 100)))
