"""Ids: they last through crossings, gaps and jitter, in seconds, whatever the order of people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.options import Tracking
from hrpose.skeleton import COCO17, FACE68, Skeleton
from hrpose.tracker import Tracker
from hrpose.types import Frame, Poses, Size

QUICK = settings(max_examples=10, deadline=None, derandomize=True)
SIZE = Size(640, 360)
WIDTH, HEIGHT = 40.0, 100.0  # px, of everybody

Person = tuple[float, float, float]  # x and y of the centre, px, and the score of the box


def shape(skeleton: Skeleton) -> np.ndarray:
    """(K, 2) px around the centre."""
    random = np.random.default_rng(5)
    return random.uniform(-0.45, 0.45, (len(skeleton), 2)) * [WIDTH, HEIGHT]


def poses(
    people: Sequence[Person], time: float | None = 0.0, *, frame: int = 0, points: float = 0.9,
    skeleton: Skeleton = COCO17, size: Size = SIZE,
) -> Poses:  # fmt: skip
    table = np.array(people, np.float32).reshape(-1, 3)
    centres = table[:, :2]
    half = np.array([WIDTH, HEIGHT], np.float32) / 2
    return Poses(
        keypoints=(centres[:, None] + shape(skeleton)).astype(np.float32),
        keypoint_scores=np.full((len(table), len(skeleton)), points, np.float32),
        boxes=np.concatenate([centres - half, centres + half], axis=1),
        box_scores=table[:, 2],
        track_ids=np.full(len(table), -1, np.int64),
        size=size,
        skeleton=skeleton,
        frame=frame,
        time=time,
    )


def ids(tracker: Tracker, *args: object, **kwargs: object) -> list[int]:
    return tracker(poses(*args, **kwargs)).track_ids.tolist()  # type: ignore[arg-type]


Where = Callable[[float], tuple[float, float]]


def walk(
    tracker: Tracker, paths: Sequence[Where], times: Sequence[float],
    seen: Callable[[int, float], bool] = lambda person, time: True,
) -> list[list[int]]:  # fmt: skip
    """Ids of each person over time; 0 where not seen."""
    found = []
    for time in times:
        here = [i for i in range(len(paths)) if seen(i, time)]
        got = iter(ids(tracker, [(*paths[i](time), 0.9) for i in here], time))
        found.append([next(got) if i in here else 0 for i in range(len(paths))])
    return [list(track) for track in zip(*found, strict=True)]


def rightward(time: float) -> tuple[float, float]:
    return 50 + 120 * time, 180


def leftward(time: float) -> tuple[float, float]:
    return 530 - 120 * time, 186


def frames(rate: float, seconds: float) -> list[float]:
    return [i / rate for i in range(round(rate * seconds))]


@pytest.mark.parametrize("rate", [10, 25, 60])
@pytest.mark.parametrize("hidden", [False, True])
def test_people_who_cross_keep_their_ids(rate: float, hidden: bool) -> None:
    def seen(person: int, time: float) -> bool:  # the second one walks behind the first
        apart = abs(rightward(time)[0] - leftward(time)[0])
        return not hidden or person == 0 or apart > 0.8 * WIDTH

    first, second = walk(Tracker(), [rightward, leftward], frames(rate, 4), seen)
    assert set(first) == {1}
    assert set(second) - {0} == {2}
    assert (0 in second) == hidden


@pytest.mark.parametrize("rate", [10, 60])
@pytest.mark.parametrize(("gap", "last"), [(0.9, 1), (1.3, 2)])
def test_memory_is_seconds(rate: float, gap: float, last: int) -> None:
    def seen(_: int, time: float) -> bool:
        return not 1 <= time < 1 + gap

    (track,) = walk(Tracker(Tracking(memory=1.1)), [rightward], frames(rate, 3), seen)
    assert [track[0], track[-1]] == [1, last]
    assert set(track) == {0, 1, last}


@given(st.lists(st.floats(0.01, 0.12), min_size=30, max_size=30))
@QUICK
def test_uneven_times_do_not_matter(steps: list[float]) -> None:
    paths = [rightward, lambda t: (450 - 90 * t, 60 + 40 * t), lambda t: (300, 280 - 50 * t)]
    tracks = walk(Tracker(), paths, np.cumsum(steps).tolist())
    assert [len(set(track)) for track in tracks] == [1, 1, 1]
    assert {track[0] for track in tracks} == {1, 2, 3}


def test_missed_detections() -> None:
    random = np.random.default_rng(1)
    paths = [rightward, leftward, lambda t: (320 + 60 * np.sin(2 * t), 60.0)]
    tracks = walk(Tracker(), paths, frames(25, 4), lambda *_: random.random() > 0.35)
    assert all(len(set(track) - {0}) == 1 for track in tracks)
    assert len({max(track) for track in tracks}) == 3


@given(st.integers(0, 10**6))
@QUICK
def test_jitter_of_people_who_stand_changes_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    places = [(60 + 55 * i, 100 + 12 * (i % 3)) for i in range(9)]
    tracker = Tracker()
    before: list[int] = []
    for frame in range(12):
        moved = [(x + random.normal(0, 4), y + random.normal(0, 4), 0.9) for x, y in places]
        got = ids(tracker, moved, frame / 25)
        assert sorted(got) == list(range(1, 10))
        assert not frame or got == before
        before = got


@given(st.integers(0, 10**6))
@QUICK
def test_ids_belong_to_people_not_to_positions(seed: int) -> None:
    """However the people of each frame are ordered, everybody has the same id."""
    random = np.random.default_rng(seed)
    one, other = Tracker(), Tracker()
    for frame in range(8):
        people = [
            (60 + 70 * i + 5 * frame + random.normal(0, 3), 150.0, float(random.uniform(0.3, 1)))
            for i in range(7)
            if random.random() < 0.8
        ]
        given = poses(people, frame / 25)
        order = random.permutation(len(people))
        result = one(given)
        shuffled = other(given.take(order))
        assert shuffled.track_ids.tolist() == result.track_ids[order].tolist()


def test_people_keep_their_order_and_everything_else() -> None:
    given = poses([(100, 100, 0.6), (300, 100, 0.9), (500, 100, 0.2)], 3.0, frame=75)
    result = Tracker()(given)
    assert result.track_ids.dtype == np.int64
    assert result.keypoints is given.keypoints
    assert result.boxes is given.boxes
    assert (result.time, result.frame, len(result)) == (3.0, 75, 3)
    assert given.track_ids.tolist() == [-1] * 3


def test_two_trackers_know_nothing_of_each_other() -> None:
    one, other = Tracker(), Tracker()
    assert ids(one, [(100, 100, 0.9), (300, 100, 0.8)]) == [1, 2]
    assert ids(other, [(300, 100, 0.9)]) == [1]
    assert ids(one, [(300, 100, 0.9)], 0.04) == [2]
    assert ids(other, [(100, 100, 0.9)], 0.04) == [2]


def test_low_scores_continue_but_never_start() -> None:
    tracker = Tracker(Tracking(start=0.5))
    for frame in range(5):
        assert ids(tracker, [(100, 100, 0.4)], frame / 25) == [-1]
    assert ids(tracker, [(100, 100, 0.9)], 0.2) == [1]
    assert ids(tracker, [(101, 100, 0.9)], 0.24) == [1]
    assert ids(tracker, [(102, 100, 0.2)], 0.28) == [1]
    assert ids(tracker, [(103, 100, 0.2), (400, 100, 0.4)], 0.32) == [1, -1]


def test_a_lone_doubtful_detection_uses_up_no_id() -> None:
    tracker = Tracker(Tracking(start=0.5, sure=0.7))
    assert ids(tracker, [(100, 100, 0.6), (300, 100, 0.6)], 0.0) == [-1, -1]
    assert ids(tracker, [(101, 100, 0.6)], 0.04) == [1]
    assert ids(tracker, [(102, 100, 0.6)], 0.4) == [1]
    assert ids(tracker, [(103, 100, 0.6), (300, 100, 0.6)], 0.44) == [1, -1]
    assert ids(tracker, [(300, 100, 0.6), (500, 100, 0.8)], 0.48) == [2, 3]


def test_a_double_has_no_id() -> None:
    tracker = Tracker()
    for frame in range(3):
        people = [(104, 101, 0.7), (100, 100, 0.9), (300, 100, 0.8)]
        assert ids(tracker, people, frame / 25) == [-1, 1, 2]


@pytest.mark.parametrize("rate", [1, 5])
def test_few_frames_per_second(rate: float) -> None:
    assert walk(Tracker(), [lambda t: (100 + 10 * t, 90)], frames(rate, 8)) == [[1] * (8 * rate)]


def test_frames_without_time_count_as_25_per_second() -> None:
    tracker = Tracker(Tracking(memory=1))
    assert ids(tracker, [(100, 100, 0.9)], None, frame=0) == [1]
    assert ids(tracker, [(100, 100, 0.9)], None, frame=24) == [1]
    assert ids(tracker, [(100, 100, 0.9)], None, frame=51) == [2]


def test_time_that_repeats_is_fine_and_time_that_goes_back_begins_anew() -> None:
    tracker = Tracker()
    for time in (5.0, 5.0, 5.04, 5.04):
        assert ids(tracker, [(100, 100, 0.9), (300, 100, 0.8)], time) == [1, 2]
    assert ids(tracker, [(100, 100, 0.9)], 0.0) == [3]
    assert ids(tracker, [(100, 100, 0.9)], 0.04) == [3]
    assert ids(tracker, [(100, 100, 0.9)], 0.08, size=Size(1280, 720)) == [4]
    assert ids(tracker, [(100, 100, 0.9)], 99.0, size=Size(1280, 720)) == [5]


BARE = Skeleton("bare", ("a", "b", "c"), (), (0, 1, 2))


@pytest.mark.parametrize("skeleton", [COCO17, FACE68, BARE], ids=lambda s: s.name)
@pytest.mark.parametrize("points", [0.0, 0.9])
def test_any_skeleton_with_points_or_without(skeleton: Skeleton, points: float) -> None:
    tracker = Tracker()
    for frame in range(6):
        x = 5.0 * frame
        people = [(100 + x, 100, 0.9), (300 - x, 100, 0.8)] if frame != 3 else []
        got = ids(tracker, people, frame / 25, skeleton=skeleton, points=points)
        assert got == [1, 2][: len(people)]


def test_nobody() -> None:
    tracker = Tracker()
    assert ids(tracker, []) == []
    assert ids(tracker, [], 0.04) == []
    assert ids(tracker, [(100, 100, 0.9)], 0.08) == [1]


def test_a_hundred_people() -> None:
    tracker = Tracker()
    people = [(30 + 60 * (i % 10), 10 + 30 * (i // 10), 0.9) for i in range(100)]
    first = ids(tracker, people)
    assert sorted(first) == list(range(1, 101))
    assert ids(tracker, [(x + 2, y, s) for x, y, s in people], 0.04) == first


@pytest.mark.parametrize(
    "wrong",
    [{"memory": 0}, {"memory": -1}, {"memory": float("nan")}, {"memory": float("inf")},
     {"detect_every": 0}, {"start": 1.5}, {"sure": -0.1}, {"alike": float("nan")}],
    ids=str,
)  # fmt: skip
def test_wrong_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Tracking(**wrong)  # type: ignore[arg-type]


def picture(time: float) -> Frame:
    return Frame(torch.zeros(3, SIZE.height, SIZE.width, dtype=torch.uint8), time=time)


def two_who_walk() -> Tracker:
    """At 5 px per frame to the right, at x = 100 and 300 in the fifth frame."""
    tracker = Tracker()
    for frame in range(5):
        x = 5.0 * (frame - 4)
        ids(tracker, [(100 + x, 100, 0.9), (300 + x, 100, 0.8)], frame / 25)
    return tracker


def test_people_are_expected_where_they_walk() -> None:
    tracker = two_who_walk()
    found, keys = tracker.expect(picture(0.2))
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    np.testing.assert_allclose(centres.numpy(), [[105, 100], [305, 100]], atol=2.5)
    np.testing.assert_allclose(found.scores.numpy(), [0.9, 0.8], rtol=1e-6)
    kept = tracker.keep(replace(poses([(105, 100, 0.9), (305, 100, 0.8)], 0.2), track_ids=keys))
    assert kept.track_ids.tolist() == [1, 2]
    assert ids(tracker, [(110, 100, 0.9), (310, 100, 0.8)], 0.24) == [1, 2]


def test_a_pose_that_collapses_is_lost_until_the_next_detection() -> None:
    tracker = two_who_walk()
    _, keys = tracker.expect(picture(0.2))
    now = replace(poses([(105, 100, 0.9), (305, 100, 0.8)], 0.2), track_ids=keys)
    now.keypoint_scores[1] = 0.25
    assert tracker.keep(now).track_ids.tolist() == [1]
    assert len(tracker.expect(picture(0.24))[0]) == 1
    assert ids(tracker, [(315, 100, 0.8)], 0.28) == [2]


@pytest.mark.parametrize("at", [(105, 1), (305, 2)])
def test_of_two_poses_on_one_person_the_expected_one_stays(at: tuple[float, int]) -> None:
    tracker = two_who_walk()
    _, keys = tracker.expect(picture(0.2))
    x, stays = at
    now = replace(poses([(x, 100, 0.9), (x + 2, 100, 0.8)], 0.2), track_ids=keys)
    assert tracker.keep(now).track_ids.tolist() == [stays]


def test_nobody_is_expected_at_first() -> None:
    tracker = Tracker()
    found, keys = tracker.expect(picture(0.0))
    assert (len(found), len(keys)) == (0, 0)
    assert len(tracker.keep(poses([]))) == 0


def test_who_walks_out_of_the_picture_is_not_expected() -> None:
    tracker = Tracker()
    for frame in range(4):
        x = 640.0 + 5 * frame
        assert ids(tracker, [(x, 100, 0.9)], frame / 25) == [1]
    assert len(tracker.expect(picture(0.16))[0]) == 0
