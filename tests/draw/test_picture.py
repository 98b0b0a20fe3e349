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

from hrpose.draw import Trails, draw
from hrpose.draw.colours import PEOPLE
from hrpose.options import BACKGROUNDS, OVERLAYS, Style
from hrpose.skeleton import COCO17, MPII16, Skeleton
from hrpose.types import Frame, Heatmaps, Poses, Size

ARM = Skeleton(
    "arm",
    ("left_a", "left_b", "right_a", "right_b", "top", "bottom"),
    ((0, 1), (2, 3), (4, 5)),
    (2, 3, 0, 1, 4, 5),
)
EVERYTHING = [
    Style(overlay=overlay, background=background, side_by_side=side)  # type: ignore[arg-type]
    for overlay, background, side in itertools.product(((), OVERLAYS), BACKGROUNDS, (False, True))
]
PLAIN = Style()
WITH_BOXES = Style(overlay=("skeleton", "boxes"))
WITH_IDS = Style(overlay=("skeleton", "ids"))
WITH_SCORES = Style(overlay=("skeleton", "scores"))


def shown(style: Style) -> str:
    return f"{'+'.join(style.overlay)}-{style.background}-{style.side_by_side}"


def blank(width: int = 200, height: int = 160, grey: int = 128) -> Frame:
    return Frame(torch.full((3, height, width), grey, dtype=torch.uint8))


def noise(width: int = 200, height: int = 160) -> Frame:
    pixels = np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)
    return Frame(torch.from_numpy(pixels))


def pixels_of(frame: Frame) -> np.ndarray:
    return frame.image.permute(1, 2, 0).numpy()


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
        track_ids=np.full(people, -1),
        size=size,
        skeleton=skeleton,
    )


# three upright lines: left at x = 30, right at x = 80, middle at x = 130
LINES = [[[30, 20], [30, 140], [80, 20], [80, 140], [130, 20], [130, 140]]]


def everything_of(frame: Frame) -> tuple[Poses, Trails]:
    """One tracked person with heatmaps and a past."""
    poses = pose(LINES, frame.size)
    maps = Heatmaps(np.ones((1, 6, 4, 3), np.float16), np.float32([[[9, 0, 50], [0, 9, 40]]]))
    poses = dataclasses.replace(poses, track_ids=np.array([3]), heatmaps=maps, time=0.0)
    trails = Trails()
    for time in (0.0, 0.1):
        points = poses.keypoints + np.float32(100 * time)
        trails.add(dataclasses.replace(poses, keypoints=points, time=time))
    return poses, trails


@pytest.mark.parametrize("style", EVERYTHING, ids=shown)
def test_no_people_gives_the_background(style: Style) -> None:
    frame = noise()
    image = pixels_of(frame)
    got = draw(frame, pose([], frame.size, skeleton=COCO17), style, Trails())
    want = {"original": image, "black": np.zeros_like(image), "blur": got[:, -200:]}
    assert got.dtype == np.uint8
    below = want[style.background]
    assert np.array_equal(got, np.hstack([image, below]) if style.side_by_side else below)


@pytest.mark.parametrize("style", EVERYTHING, ids=shown)
def test_overlay_none_gives_the_background(style: Style) -> None:
    frame = noise()
    (poses, trails), nobody = everything_of(frame), pose([], frame.size)
    got = draw(frame, poses, style, trails)
    same = np.array_equal(got, draw(frame, nobody, style, Trails()))
    assert same == (not style.overlay)


@pytest.mark.parametrize("interleaved", [False, True], ids=["planes", "interleaved"])
@pytest.mark.parametrize("style", EVERYTHING, ids=shown)
def test_nothing_that_is_given_is_changed(style: Style, interleaved: bool) -> None:
    frame = noise()
    if interleaved:  # (3, H, W) as a view of (H, W, 3), as readers may hand it out
        pixels = frame.image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        frame = dataclasses.replace(frame, image=pixels)
    before = frame.image.clone()
    poses, trails = everything_of(frame)
    got = draw(frame, poses, style, trails)
    again = draw(frame, poses, style, trails)
    assert np.array_equal(got, again)
    got[:] = 7
    assert torch.equal(frame.image, before)
    for name, value in dataclasses.asdict(pose(LINES, frame.size)).items():
        if name in ("keypoints", "keypoint_scores", "boxes"):
            assert np.array_equal(getattr(poses, name), value)


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_overlay_draws(name: str) -> None:
    frame = blank()
    poses, trails = everything_of(frame)
    got = draw(frame, poses, Style(overlay=(name,)), trails)
    assert not np.array_equal(got, pixels_of(frame))


def test_overlays_that_need_more_than_there_is_draw_nothing() -> None:
    frame = blank()
    style = Style(overlay=("ids", "heatmaps", "trails"))
    assert np.array_equal(draw(frame, pose(LINES, frame.size), style), pixels_of(frame))


def test_blur_keeps_no_detail_and_every_coordinate() -> None:
    frame = noise(320, 240)
    blur, black = Style(background="blur"), Style(background="black")
    under = draw(frame, pose([], frame.size), blur)
    assert np.abs(np.diff(under.astype(int), axis=0)).max() <= 2
    assert np.abs(np.diff(under.astype(int), axis=1)).max() <= 2
    assert under.mean() == pytest.approx(pixels_of(frame).mean(), abs=1)
    poses = pose(LINES, frame.size)
    blurred, unlit = draw(frame, poses, blur), draw(frame, poses, black)
    assert np.array_equal(blurred[30:130, (30, 80, 130)], unlit[30:130, (30, 80, 130)])
    for painted in ((blurred != under).any(axis=2), (unlit > 0).any(axis=2)):
        rows, columns = (np.flatnonzero(painted.any(axis=axis)) for axis in (1, 0))
        assert rows[[0, -1]] == pytest.approx([15, 145], abs=3)
        assert columns[[0, -1]] == pytest.approx([25, 135], abs=3)


def test_blur_leaves_brightness_where_it_is() -> None:
    image = torch.zeros(3, 160, 200, dtype=torch.uint8)
    image[:, :, 100:] = 255
    frame = Frame(image)
    row = draw(frame, pose([], frame.size), Style(background="blur"))[80, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[99] < 128 <= row[100]  # the edge stays in the middle
    # 10 % and 90 % of a blurred edge are 2.56 deviations apart: a 16th of the short side each
    width = np.searchsorted(row, 0.9 * 255) - np.searchsorted(row, 0.1 * 255)
    assert width == pytest.approx(2.56 * 160 / 16, abs=2)


def test_side_by_side_has_the_original_on_the_left() -> None:
    frame = noise()
    poses = pose(LINES, frame.size)
    alone = draw(frame, poses, WITH_BOXES)
    both = draw(frame, poses, dataclasses.replace(WITH_BOXES, side_by_side=True))
    assert np.array_equal(both[:, :200], pixels_of(frame))
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
    changed = (draw(frame, pose(LINES, frame.size)) != pixels_of(frame)).any(2)
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
    image = pixels_of(frame)
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
    image = pixels_of(frame)
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
    got = draw(frame, poses, Style(overlay=OVERLAYS))
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
    with_box, without = (draw(frame, poses, style) for style in (WITH_BOXES, PLAIN))
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
    changed = (draw(frame, poses, WITH_SCORES) != draw(frame, poses)).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert 12 < np.ptp(columns) + 1 < 60
    assert 6 < np.ptp(rows) + 1 < 20


def tracked(frame: Frame, track: int) -> Poses:
    poses = pose(LINES, frame.size)
    return dataclasses.replace(poses, track_ids=np.array([track]))


def test_boxes_and_ids_have_the_colour_of_the_person() -> None:
    frame = blank()
    for track in range(20):
        colour = PEOPLE[track % len(PEOPLE)]
        poses = tracked(frame, track)
        boxed = draw(frame, poses, Style(overlay=("boxes",)))
        assert tuple(boxed[80, 30]) == colour  # the left edge of the box
        labelled = draw(frame, poses, Style(overlay=("ids",)))
        assert (labelled == colour).all(axis=2).sum() > 50
        assert np.array_equal(labelled, draw(frame, poses, Style(overlay=("ids",))))


def test_ids_differ_and_stand_inside_the_picture() -> None:
    frame = blank()
    first = draw(frame, tracked(frame, 1), WITH_IDS)
    later = draw(frame, tracked(frame, 1 + len(PEOPLE)), WITH_IDS)  # the same colour
    assert not np.array_equal(first, later)
    changed = (first != draw(frame, tracked(frame, 1))).any(axis=2)
    assert 8 < np.ptp(np.nonzero(changed)[0]) + 1 < 24


@pytest.mark.parametrize(
    "matrix",
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        # after Vienot, Brettel and Mollon 1999: what is left of linear RGB
        [[0.109, 0.891, 0], [0.109, 0.891, 0], [0.0045, -0.0045, 1]],
        [[0.290, 0.710, 0], [0.290, 0.710, 0], [-0.022, 0.022, 1]],
    ],
    ids=["all cones", "protanopia", "deuteranopia"],
)
def test_colours_of_people_differ_for_every_eye(matrix: list[list[float]]) -> None:
    for one, other in itertools.combinations(PEOPLE, 2):
        left, right = (np.array(matrix) @ (np.array(c) / 255) ** 2.2 for c in (one, other))
        assert np.abs(left - right).max() > 0.08, (one, other)


def test_filled_keypoints_are_hollow_and_their_limbs_faint() -> None:
    frame = blank(400, 320, grey=0)
    poses = pose(2 * np.float32(LINES), frame.size)
    filled = np.zeros((1, 6), bool)
    filled[0, 0] = True  # the upper end of the line at x = 60
    guessed = dataclasses.replace(poses, filled=filled)
    whole, hollow = draw(frame, poses), draw(frame, guessed)
    assert whole[40, 60].min() > 150
    assert hollow[40, 60].max() == 0  # the picture shows through
    assert (hollow[34:47, 54:67].max(axis=2) > 150).sum() > 8  # inside a ring
    assert hollow[160, 60, 2] < 0.6 * whole[160, 60, 2]
    assert np.array_equal(hollow[:, 100:], whole[:, 100:])
    none = dataclasses.replace(poses, filled=np.zeros((1, 6), bool))
    assert np.array_equal(draw(frame, none), whole)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2)], ids=str)
def test_tiny_pictures(size: tuple[int, int]) -> None:
    frame = blank(*size)
    got = draw(frame, pose(np.zeros((1, 6, 2)), frame.size), Style(overlay=OVERLAYS))
    assert got.shape == (size[1], size[0], 3)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="width=100"):
        draw(blank(), pose(LINES, Size(100, 100)))
