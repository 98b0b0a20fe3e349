"""Trails: what is kept, for how long, where they break, and how they fade."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from hrpose.draw.colours import PEOPLE
from hrpose.draw.trail import Run, Trails, draw_trails
from hrpose.options import Style
from hrpose.skeleton import COCO17, MPII16, SKELETONS, Skeleton
from hrpose.types import Poses, Size

SIZE = Size(200, 160)
ENDS = (9, 10, 15, 16)  # of COCO: wrists and ankles


def at(
    time: float | None, tracks: Sequence[int], x: float = 50.0, *, skeleton: Skeleton = COCO17
) -> Poses:
    """People whose keypoints are (x + 10 track, 5 + index)."""
    people, points = len(tracks), len(skeleton)
    keypoints = np.zeros((people, points, 2), np.float32)
    keypoints[..., 0] = x + 10 * np.array(tracks, np.float32).reshape(-1, 1)
    keypoints[..., 1] = 5 + np.arange(points)
    return Poses(
        keypoints=keypoints,
        keypoint_scores=np.ones((people, points), np.float32),
        boxes=np.zeros((people, 4), np.float32),
        box_scores=np.ones(people, np.float32),
        track_ids=np.array(tracks, np.int64),
        size=SIZE,
        skeleton=skeleton,
        time=time,
    )


def walked(times: Sequence[float], tracks: Sequence[int] = (2,), **settings: object) -> Trails:
    trails = Trails(**settings)  # type: ignore[arg-type]
    for time in times:
        trails.add(at(time, tracks, x=50 + 100 * time))
    return trails


def of(trails: Trails, track: int, joint: int = 0) -> list[Run]:
    return [run for run in trails.runs() if (run.track_id, run.joint) == (track, joint)]


def drawn(trails: Trails) -> np.ndarray:
    canvas = np.zeros((SIZE.height, SIZE.width, 3), np.uint8)
    draw_trails(canvas, trails)
    return canvas


def test_a_path_is_where_the_joint_was() -> None:
    trails = walked([0.0, 0.2, 0.5])
    assert len(list(trails.runs())) == len(ENDS)
    for joint, index in enumerate(ENDS):
        (run,) = of(trails, 2, joint)
        np.testing.assert_allclose(run.xy, [[70 + 100 * t, 5 + index] for t in (0.0, 0.2, 0.5)])
        np.testing.assert_allclose(run.fade, [0.5, 0.7, 1.0], rtol=1e-6)


def test_it_ends_after_its_seconds() -> None:
    trails = walked(np.arange(0, 3, 0.125).tolist(), seconds=0.5)
    (run,) = of(trails, 2)
    np.testing.assert_allclose(run.fade, [0.25, 0.5, 0.75, 1.0])
    trails.add(at(2.875 + 0.4, []))
    assert len(trails) == 1
    trails.add(at(2.875 + 0.5, []))
    assert len(trails) == 0


def test_it_is_broken_where_the_person_was_missing() -> None:
    trails = walked([0.0, 0.1])
    for _ in range(3):
        trails.add(at(0.2, []))
    trails.add(at(0.3, [2]))
    trails.add(at(0.4, [2]))
    assert [len(run.xy) for run in of(trails, 2)] == [2, 2]


def test_it_is_broken_where_the_joint_was_not_seen() -> None:
    trails = Trails(min_score=0.3)
    for time, score in ((0.0, 1.0), (0.1, 0.3), (0.2, 0.29), (0.3, 0.3), (0.4, 1.0)):
        poses = at(time, [2])
        poses.keypoint_scores[0, ENDS[0]] = score
        trails.add(poses)
    assert [len(run.xy) for run in of(trails, 2, 0)] == [2, 2]
    assert [len(run.xy) for run in of(trails, 2, 1)] == [5]


@pytest.mark.parametrize("far", [1e9, np.inf, np.nan, -400.0])
def test_absurd_places_are_not_followed(far: float) -> None:
    trails = walked([0.0, 0.1])
    poses = at(0.2, [2])
    poses.keypoints[0, ENDS[0], 0] = far
    trails.add(poses)
    trails.add(at(0.3, [2]))
    trails.add(at(0.4, [2]))
    assert [len(run.xy) for run in of(trails, 2, 0)] == [2, 2]
    assert drawn(trails).any()


@pytest.mark.parametrize(
    "poses",
    [
        at(0.05, [2]),
        dataclasses.replace(at(0.3, [2]), size=Size(100, 160)),
        at(0.3, [2], skeleton=MPII16),
        at(None, [2]),
    ],
    ids=["back in time", "other size", "other skeleton", "no time"],
)
def test_what_begins_anew(poses: Poses) -> None:
    trails = walked([0.0, 0.1, 0.2])
    trails.add(poses)
    assert list(trails.runs()) == []
    assert not drawn(trails).any()
    assert len(trails) == (poses.time is not None)


def test_the_same_frame_twice_counts_once() -> None:
    trails = walked([0.0, 0.1, 0.1])
    assert [len(run.xy) for run in of(trails, 2)] == [2]


def test_people_without_id_leave_none() -> None:
    trails = walked([0.0, 0.1, 0.2], tracks=(-1,))
    assert len(trails) == 0


def test_memory_is_bounded() -> None:
    trails = Trails(1000.0)
    for number in range(700):
        trails.add(at(number / 240, [7, 10 + number] if number % 2 else [7], x=-100))
    assert len(trails) <= 200
    assert sum(len(run.xy) for run in of(trails, 7)) <= 200
    assert of(trails, 7)[-1].fade[-1] == 1.0  # who is there is kept
    steady = walked(np.arange(0, 2, 1 / 480).tolist(), seconds=1.0)
    (run,) = of(steady, 2)
    assert 90 <= len(run.xy) <= 200
    assert np.diff(run.xy[:, 0]).max() < 100 * (1.0 / 100 + 2 / 480)


def test_they_fade_have_the_colour_of_the_person_and_are_wider_now() -> None:
    trails = walked(np.linspace(0, 0.9, 10).tolist(), joints=[9])
    picture = drawn(trails)
    row = 5 + 9
    bright = picture[row, 72:160].astype(int).sum(axis=1)
    assert (np.diff(bright[::10]) > 0).all()
    assert np.abs(picture[row, 155].astype(int) - PEOPLE[2]).max() < 60
    painted = (picture > 0).any(axis=2)
    assert painted[:, 150].sum() >= painted[:, 75].sum()
    rows, columns = np.nonzero(painted)
    assert rows.min() >= row - 3
    assert rows.max() <= row + 3
    assert columns.min() >= 67
    assert columns.max() <= 163


def test_equal_ids_have_equal_colours_whoever_is_there() -> None:
    def seen(tracks: Sequence[int]) -> np.ndarray:
        trails = walked([0.0, 0.2], tracks)
        return drawn(trails)[:, 65:95]  # around the person with id 2

    alone = seen([2])
    assert alone.any()
    assert np.array_equal(alone, seen([2, 8]))


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_every_skeleton_has_trails(skeleton: Skeleton) -> None:
    trails = Trails()
    for time in (0.0, 0.1):
        trails.add(at(time, [0], x=50 + 100 * time, skeleton=skeleton))
    runs = list(trails.runs())
    if skeleton not in (COCO17, MPII16):  # faces have many free ends, or none: their middle
        assert [run.joint for run in runs] == [0]
        np.testing.assert_allclose(runs[0].xy[0], [50, 5 + (len(skeleton) - 1) / 2], rtol=1e-5)
    else:
        assert len(runs) == 4 + (skeleton is MPII16)


def test_a_style_says_how_long() -> None:
    assert Trails.of(Style()) is None
    trails = Trails.of(Style(trails=0.25, min_score=0.6))
    assert trails is not None
    for time in (0.0, 0.1, 0.2, 0.3):
        trails.add(at(time, [1]))
    assert [len(run.xy) for run in of(trails, 1)] == [3]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_wrong_seconds(seconds: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Trails(seconds)
