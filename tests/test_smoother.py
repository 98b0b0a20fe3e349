"""Steady keypoints: what smoothing changes, what it must not, and how far it looks ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hrpose.options import Smoothing
from hrpose.skeleton import COCO17
from hrpose.smoother import Clock, smooth
from hrpose.types import Heatmaps, Poses, Size

K = len(COCO17)
EURO, CENTRED = Smoothing("one-euro"), Smoothing("zero-phase")
BOTH = pytest.mark.parametrize("settings", [EURO, CENTRED], ids=["one-euro", "zero-phase"])
SIZE = Size(640, 480)


def person(xy: object) -> np.ndarray:
    """(K, 2): the same place for all keypoints, or as given."""
    return np.broadcast_to(np.asarray(xy, np.float32), (K, 2)).copy()


def poses(
    people: dict[int, np.ndarray],
    time: float | None,
    *,
    scores: float | np.ndarray = 0.9,
    height: float = 100.0,
    frame: int = 0,
) -> Poses:
    """People by track id, in the order given, all in boxes of one height."""
    n = len(people)
    return Poses(
        keypoints=np.array(list(people.values()), np.float32).reshape(n, K, 2),
        keypoint_scores=np.broadcast_to(np.asarray(scores, np.float32), (n, K)).copy(),
        boxes=np.tile(np.array([0, 0, height / 2, height], np.float32), (n, 1)),
        box_scores=np.full(n, 0.8, np.float32),
        track_ids=np.array(list(people), np.int64),
        size=SIZE,
        skeleton=COCO17,
        frame=frame,
        time=time,
    )


def run(clip: Sequence[Poses], settings: Smoothing) -> list[Poses]:
    pairs = list(smooth(enumerate(clip), settings))
    assert [item for item, _ in pairs] == list(range(len(clip)))
    return [after for _, after in pairs]


def path(xy: np.ndarray, times: Sequence[float | None], **kwargs: float) -> list[Poses]:
    """One person, track 7, all of whose keypoints take the path xy (T, 2)."""
    return [poses({7: person(at)}, t, **kwargs) for at, t in zip(xy, times, strict=True)]


def traced(clip: Sequence[Poses], settings: Smoothing) -> np.ndarray:
    """(T, 2) path of the first keypoint of the only person."""
    return np.array([after.keypoints[0, 0] for after in run(clip, settings)], np.float64)


def uneven(frames: int, seed: int = 0) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).uniform(0.01, 0.07, frames))


@BOTH
def test_a_still_person_does_not_move(settings: Smoothing) -> None:
    at = np.tile([[123.25, 77.5]], (40, 1))
    np.testing.assert_allclose(traced(path(at, uneven(40)), settings), at, atol=1e-4)


@pytest.mark.parametrize(
    "times",
    [np.arange(60) / 30, np.arange(60) / 10, uneven(60)],
    ids=["30", "10", "uneven"],
)
def test_zero_phase_does_not_lag_behind_a_steady_walk(times: np.ndarray) -> None:
    at = np.stack([40 + 80 * times, 200 - 30 * times], axis=1)
    np.testing.assert_allclose(traced(path(at, times), CENTRED), at, atol=0.01)


def test_one_euro_lags_by_less_the_faster_the_motion() -> None:
    times = np.arange(90) / 30
    delays = []
    for speed in (20, 100, 400):  # px/s of a person of 100 px
        at = np.stack([speed * times, np.zeros(90)], axis=1)
        delays.append(float((at - traced(path(at, times), EURO))[-1, 0] / speed))
    assert delays == sorted(delays, reverse=True)
    assert 0 < delays[-1] < 0.02 < delays[0] < 0.2


@pytest.mark.parametrize(("settings", "factor"), [(EURO, 2.5), (CENTRED, 2.5)], ids=["1e", "0"])
@pytest.mark.parametrize("rate", [30, 60])
def test_noise_of_a_standing_person_shrinks(settings: Smoothing, factor: float, rate: int) -> None:
    random = np.random.default_rng(3)
    noise = random.normal(0, 0.4, (3 * rate, K, 2))  # 0.4 % of the height
    clip = [poses({7: person(100) + noise[i]}, i / rate) for i in range(len(noise))]
    after = np.stack([p.keypoints[0] for p in run(clip, settings)])[rate // 2 : -rate // 2] - 100
    assert after.std() < noise.std() / factor
    jitter = [np.abs(np.diff(xy, 2, axis=0)).mean() for xy in (noise, after)]
    assert jitter[1] < jitter[0] / 6


def test_fast_motion_keeps_its_height_under_zero_phase() -> None:
    times = np.arange(90) / 30
    at = np.stack([100 + 20 * np.sin(2 * np.pi * 2 * times), np.zeros(90)], axis=1)
    after = traced(path(at, times), CENTRED)[15:-15, 0] - 100
    assert after.max() > 0.97 * 20
    after = traced(path(at, times), replace(CENTRED, window=0.4))[15:-15, 0] - 100
    assert after.max() > 0.97 * 20


@pytest.mark.parametrize("settings", [EURO, CENTRED], ids=["one-euro", "zero-phase"])
@pytest.mark.parametrize(("score", "share"), [(0.1, 0.03), (0.9, 0.35)])
def test_a_single_jump_hardly_drags_the_filter(
    settings: Smoothing, score: float, share: float
) -> None:
    clip = path(np.full((40, 2), 100.0), np.arange(40) / 60)
    jump = poses({7: person(130)}, 20 / 60, scores=score)
    clip[20] = jump
    after = traced(clip, settings)
    assert abs(after[21:] - 100).max() < share * 30
    assert abs(after[:20] - 100).max() < 0.1


def test_one_euro_believes_a_far_jump_that_is_confirmed() -> None:
    at = np.concatenate([np.full((20, 2), 100.0), np.full((20, 2), 150.0)])
    after = traced(path(at, np.arange(40) / 30), EURO)
    assert (after[20] == 100).all()
    assert (after[24:] > 140).all()


@BOTH
def test_one_setting_serves_near_and_far_people(settings: Smoothing) -> None:
    random = np.random.default_rng(0)
    at = np.cumsum(random.normal(0, 2, (50, 2)), axis=0) + 100
    times = np.arange(50) / 25
    far = traced(path(at, times, height=100), settings)
    near = traced(path(at * 4, times, height=400), settings)
    np.testing.assert_allclose(near, far * 4, rtol=1e-4)


@BOTH
def test_what_was_decoded_is_kept_and_nothing_else_changes(settings: Smoothing) -> None:
    random = np.random.default_rng(1)
    clip = [poses({7: random.normal(100, 5, (K, 2))}, i / 30, frame=i) for i in range(12)]
    for before, after in zip(clip, run(clip, settings), strict=True):
        assert after.measured is before.keypoints
        assert after.filled is None
        assert after.keypoints.dtype == np.float32
        assert (after.keypoints != before.keypoints).any() or before.frame == 0
        for name in ("keypoint_scores", "boxes", "box_scores", "track_ids", "time", "frame"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    twice = run(run(clip, settings), settings)
    assert all(
        after.measured is before.keypoints for before, after in zip(clip, twice, strict=True)
    )


def test_nothing_asked_is_nothing_done() -> None:
    clip = path(np.random.default_rng(0).normal(size=(5, 2)), np.arange(5) / 30)
    assert all(a is b for a, b in zip(clip, run(clip, Smoothing()), strict=True))


@BOTH
def test_people_without_id_pass(settings: Smoothing) -> None:
    random = np.random.default_rng(1)
    clip = [poses({-1: random.normal(100, 5, (K, 2))}, i / 30) for i in range(9)]
    for before, after in zip(clip, run(clip, settings), strict=True):
        np.testing.assert_array_equal(after.keypoints, before.keypoints)


@BOTH
def test_people_do_not_change_each_other_nor_does_their_order(settings: Smoothing) -> None:
    random = np.random.default_rng(5)
    walks = {i: np.cumsum(random.normal(0, 3, (30, K, 2)), axis=0) + 100 * i for i in (3, 8, 5)}
    together = []
    for i in range(30):
        order = random.permutation(list(walks))
        people = {int(track): walks[track][i] for track in order if (i + track) % 7 or track == 3}
        together.append(poses(people, i / 30))
    after = run(together, settings)
    for track, walk in walks.items():
        there = [i for i in range(30) if track in together[i].track_ids]
        alone = run([poses({track: walk[i]}, i / 30) for i in there], settings)
        for i, single in zip(there, alone, strict=True):
            row = list(after[i].track_ids).index(track)
            np.testing.assert_allclose(after[i].keypoints[row], single.keypoints[0], atol=1e-4)


@BOTH
def test_two_smoothers_are_independent(settings: Smoothing) -> None:
    random = np.random.default_rng(2)
    clips = [path(random.normal(100, 5, (20, 2)), np.arange(20) / 30) for _ in range(2)]
    streams = [smooth(enumerate(clip), settings) for clip in clips]
    mixed = [[after for _, after in pair] for pair in zip(*streams, strict=True)]
    for side, clip in enumerate(clips):
        for pair, after in zip(mixed, run(clip, settings), strict=True):
            np.testing.assert_array_equal(pair[side].keypoints, after.keypoints)


@pytest.mark.parametrize(
    ("settings", "ahead"),
    [(EURO, 0.0), (CENTRED, 0.6), (Smoothing(fill=0.3), 0.3), (replace(CENTRED, fill=0.3), 0.9)],
    ids=["one-euro", "zero-phase", "fill", "both"],
)
@pytest.mark.parametrize("rate", [10, 30])
def test_looks_ahead_no_farther_than_it_says(settings: Smoothing, ahead: float, rate: int) -> None:
    taken = 0

    def source() -> Iterator[tuple[int, Poses]]:
        nonlocal taken
        for i in range(5 * rate):
            taken = i
            yield i, poses({1: person(i)}, i / rate)

    farthest = max(taken - item for item, _ in smooth(source(), settings))
    assert farthest <= np.ceil(round(ahead * rate, 6)) + (2 if settings.fill else 0)


def test_timestamps_that_stand_still_do_not_hold_back_everything() -> None:
    taken = 0

    def source() -> Iterator[tuple[int, Poses]]:
        nonlocal taken
        for i in range(600):
            taken = i
            yield i, poses({}, i * 1e-7)

    assert max(taken - item for item, _ in smooth(source(), CENTRED)) <= 256


@BOTH
@pytest.mark.parametrize("cut", [1, 9, 31])
def test_the_end_of_a_clip_changes_only_what_is_near(settings: Smoothing, cut: int) -> None:
    random = np.random.default_rng(0)
    clip = path(random.normal(100, 4, (70, 2)), np.arange(70) / 30)
    whole, part = traced(clip, settings), traced(clip[:-cut], settings)
    near = 0 if settings is EURO else 19
    np.testing.assert_array_equal(whole[: len(part) - near], part[: len(part) - near])


@BOTH
@pytest.mark.parametrize(
    "times",
    [[None] * 20, [0.0] * 20, [i / 30 if i < 10 else (i - 10) / 30 for i in range(20)],
     [5.0, None, 4.0, float("nan"), *range(16)]],
    ids=["none", "equal", "back", "wild"],
)  # fmt: skip
def test_timestamps_may_be_missing_or_wrong(settings: Smoothing, times: list[float | None]) -> None:
    at = np.random.default_rng(0).normal(100, 2, (20, 2))
    after = run(path(at, times), settings)
    assert [p.time for p in after] == times or any(t != t for t in times)
    xy = np.array([p.keypoints[0, 0] for p in after])
    assert (np.abs(xy - 100) < 10).all()
    if None in times and len(set(times)) == 1:
        even = traced(path(at, np.arange(20) / 30), settings)
        np.testing.assert_allclose(xy, even, atol=1e-3)


@pytest.mark.parametrize(
    ("times", "want"),
    [
        ([0.0, 0.5, 0.75], [0, 0.5, 0.75]),
        ([None, None, None], [0, 1 / 30, 2 / 30]),
        ([2.0, 2.04, 2.04, 2.04], [2, 2.04, 2.08, 2.12]),
        ([1.0, 1.05, 0.0, 0.05, 0.1], [1, 1.05, 1.1, 1.15, 1.2]),
        ([0.0, 9.0, 9.0], [0, 9, 9.1]),
        ([0.0, 0.02, None, 0.05], [0, 0.02, 0.04, 0.05]),
        ([-3.0, float("inf"), -2.5], [-3, -3 + 1 / 30, -2.5]),
    ],
    ids=["good", "none", "repeats", "back", "after a gap", "one missing", "infinite"],
)
def test_the_clock_always_advances(times: list[float | None], want: list[float]) -> None:
    clock = Clock()
    assert [clock(time) for time in times] == pytest.approx(want)


def test_missing_keypoints_leave_the_state_alone() -> None:
    at = np.random.default_rng(0).normal(100, 3, (30, 2))
    clip = path(at, np.arange(30) / 30)
    for i in (10, 11, 20):
        clip[i] = poses({7: person(0)}, i / 30, scores=0)
    for settings in (EURO, CENTRED):
        after = traced(clip, settings)
        assert (after[[10, 11, 20]] == 0).all()
        assert (np.abs(np.delete(after, [10, 11, 20], axis=0) - 100) < 10).all()
    gone = [clip[i] for i in range(30) if i not in (10, 11, 20)]
    np.testing.assert_array_equal(
        np.delete(traced(clip, EURO), [10, 11, 20], axis=0), traced(gone, EURO)
    )


def test_after_a_long_gap_one_euro_starts_anew() -> None:
    at = np.concatenate([np.full((10, 2), 100.0), np.full((10, 2), 160.0)])
    times = np.concatenate([np.arange(10) / 30, 2 + np.arange(10) / 30])
    after = traced(path(at, times), EURO)
    np.testing.assert_array_equal(after, at)


def test_a_new_picture_size_starts_anew() -> None:
    clip = path(np.concatenate([np.full((10, 2), 100.0), np.full((10, 2), 200.0)]), uneven(20))
    clip[10:] = [replace(p, size=Size(1280, 960)) for p in clip[10:]]
    for settings in (EURO, CENTRED):
        after = traced(clip, settings)
        np.testing.assert_allclose(after, [[100, 100]] * 10 + [[200, 200]] * 10, atol=1e-3)


def walking_away(gap: slice, frames: int = 20) -> list[Poses]:
    """Track 7 walks 2 px a frame at 10 fps and is not found in a gap; track 9 stands."""
    clip = []
    for i in range(frames):
        walker = {7: person((100 + 2 * i, 50))}
        if i in range(frames)[gap]:
            walker = {}
        clip.append(poses({**walker, 9: person(10)}, i / 10, frame=i))
        clip[-1].boxes[: len(walker)] += 2 * i
    return clip


@pytest.mark.parametrize("method", ["none", "one-euro", "zero-phase"])
def test_a_lost_person_is_filled_in_and_marked(method: str) -> None:
    clip = walking_away(slice(8, 10))
    after = run(clip, Smoothing(method, fill=0.3))  # type: ignore[arg-type]
    for i, (before, now) in enumerate(zip(clip, after, strict=True)):
        if i not in (8, 9):
            assert now.filled is None
            assert len(now) == 2
            continue
        assert now.track_ids.tolist() == [9, 7]
        assert now.filled is not None
        assert now.filled.tolist() == [[False] * K, [True] * K]
        np.testing.assert_allclose(now.boxes[1], [2 * i, 2 * i, 50 + 2 * i, 100 + 2 * i], atol=1e-3)
        assert now.box_scores[1] == now.scores[1] == 0 < now.scores[0]
        assert now.keypoint_scores[1] == pytest.approx(0.9)
        np.testing.assert_array_equal(now.keypoints[0], before.keypoints[0])
        assert now.measured is not None
        assert now.measured.shape == now.keypoints.shape
        if method != "one-euro":
            assert now.keypoints[1, 0] == pytest.approx((100 + 2 * i, 50), abs=0.05)


@pytest.mark.parametrize(
    ("gap", "fill"), [(slice(8, 10), 0.0), (slice(8, 12), 0.3), (slice(0, 3), 0.9)],
    ids=["not asked", "too long", "only after"],
)  # fmt: skip
def test_other_gaps_stay(gap: slice, fill: float) -> None:
    clip = walking_away(gap)
    assert all(a is b for a, b in zip(clip, run(clip, Smoothing(fill=fill)), strict=True))


def test_single_keypoints_are_filled_in() -> None:
    clip = [poses({7: person((10 * i, 50))}, i / 10, scores=0.5 + 0.01 * i) for i in range(9)]
    clip[4].keypoint_scores[0, 2] = 0.1
    clip[4].keypoints[0, 2] = 999
    clip[6].keypoint_scores[0, 3:5] = 0.21  # poor, but found
    after = run(clip, Smoothing(fill=0.2))
    assert [p.filled is not None for p in after] == [i == 4 for i in range(9)]
    now = after[4]
    assert now.filled is not None
    assert np.argwhere(now.filled).tolist() == [[0, 2]]
    assert now.keypoints[0, 2] == pytest.approx((40, 50))
    assert now.keypoint_scores[0, 2] == pytest.approx(0.53)  # the lower end's
    assert now.measured is clip[4].keypoints
    assert now.measured[0, 2].tolist() == [999, 999]
    assert now.box_scores is clip[4].box_scores


def test_filled_people_have_blank_heatmaps() -> None:
    clip = walking_away(slice(8, 9))
    eye = np.eye(2, 3, dtype=np.float32)
    clip = [
        replace(
            p,
            heatmaps=Heatmaps(np.ones((len(p), K, 3, 2), np.float16), np.tile(eye, (len(p), 1, 1))),
        )
        for p in clip
    ]
    maps = run(clip, Smoothing(fill=0.3))[8].heatmaps
    assert maps is not None
    assert maps.values.max(axis=(1, 2, 3)).tolist() == [1, 0]


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(-5, 5)),  # time
            st.lists(st.integers(-1, 3), max_size=4),  # track ids, also repeated
            st.integers(0, 2**32 - 1),
        ),
        max_size=14,
    ),
    st.sampled_from(["none", "one-euro", "zero-phase"]),
    st.sampled_from([0.0, 0.2, 2.0]),
)
@hypothesis_settings(max_examples=40, deadline=None)
def test_any_clip_comes_through(
    frames: list[tuple[float | None, list[int], int]], method: str, fill: float
) -> None:
    clip = []
    for i, (time, ids, seed) in enumerate(frames):
        random = np.random.default_rng(seed)
        n = len(ids)
        xy = random.normal(300, 10 ** random.uniform(0, 4), (n, K, 2)).astype(np.float32)
        scores = np.where(random.random((n, K)) < 0.3, 0, random.random((n, K)))
        xy[random.random((n, K)) < 0.05] = np.nan
        boxes = random.normal(200, 100, (n, 4)).astype(np.float32)
        clip.append(
            Poses(
                xy, scores.astype(np.float32), boxes, random.random(n).astype(np.float32),
                np.array(ids, np.int64), SIZE, COCO17, i, time,
            )
        )  # fmt: skip
    kept = [p.keypoints.copy() for p in clip]
    after = run(clip, Smoothing(method, fill=fill))  # type: ignore[arg-type]
    for before, raw, now in zip(clip, kept, after, strict=True):
        n = len(before)
        np.testing.assert_array_equal(before.keypoints, raw)  # the input is left alone
        np.testing.assert_array_equal(now.track_ids[:n], before.track_ids)
        assert len(now) == n or fill
        tracked = before.track_ids >= 0
        smoothed = now.keypoints[:n][tracked & (method != "none")]
        known = np.isfinite(raw[tracked & (method != "none")])
        assert np.isfinite(smoothed[known]).all()
        assert np.isfinite(now.keypoints[n:]).all()
        assert now.filled is None or np.isfinite(now.keypoints[now.filled]).all()
        if now.measured is not None:
            np.testing.assert_array_equal(now.measured[:n], raw)
