"""Poses -> Poses with steady keypoints, on the timestamps of the video.

Every keypoint of every track is filtered on its own, by its score and in units of the person's
height (the longer side of the box), so that one setting serves near and far people:

* ``one-euro``: causal, see :class:`~hrpose.filters.OneEuro`.
* ``zero-phase``: looks ahead and does not lag. Parabolas are fitted around each frame without
  outliers, as wide as the motion allows: see :mod:`hrpose.filters`.
* ``fill``: interpolates over short gaps; runs after the others.

State is kept per track, and dropped some seconds after its last frame.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np

from hrpose import filters
from hrpose.filters import Reals
from hrpose.options import Smoothing
from hrpose.types import FloatArray, Heatmaps, Poses

Item = TypeVar("Item")

_DEFAULT = Smoothing()
_STEP, _LONG_STEP = 1 / 30, 0.1  # s: a frame of which nothing is known, and at most
_MOST_AHEAD = 256  # frames; a bound for files whose timestamps hardly advance
_MOST_KEPT = 2 * _MOST_AHEAD + 1  # samples of a track
_FOUND = 0.2  # score above which a keypoint is one, as in Poses.scores
_AROUND = 0.2  # s to either side in which the neighbours lie that unmask an outlier
_WIDTHS = np.array([0.25, 0.5, 1.0])  # of the fits, as shares of the window
_NOISE = 0.003  # heights: deviation of a sure keypoint of the embedded model
_WILD = 30.0  # variance of an extrapolation that is no better than the outlier it replaces
_CLOSE = 1e-6  # s within which times are equal


def smooth(
    pairs: Iterable[tuple[Item, Poses]], settings: Smoothing = _DEFAULT
) -> Iterator[tuple[Item, Poses]]:
    """Steadies the keypoints of tracked people.

    People without an id (-1) pass as they are, and so do keypoints that were not found (score 0).
    Boxes and scores of what was found never change. ``Poses.measured`` keeps what was decoded.

    ``fill`` closes gaps of keypoints (score at most 0.2) and of whole people, where the same track
    is there before and after. Filled keypoints are marked in ``Poses.filled``; their score is the
    lower one of both ends. A filled person is a row after the found ones, by id, with an
    interpolated box and the box score 0, so that its ``Poses.scores`` is 0: it is drawn, and
    evaluations rank it after everybody who was found. Its ``measured`` repeats ``keypoints``.

    Timestamps need not be even. One that is missing, repeats or jumps back counts as one step
    after the one before. Where size, source or skeleton change, everything starts anew.

    Args:
        pairs: Anything with its poses, for instance frames, in the order of time. The first part
            is passed on untouched.
        settings: Which filters, and how strong. ``zero-phase`` holds back the pairs of half its
            window and 0.2 s, ``fill`` those of its seconds (each at most 256), ``one-euro`` none.

    Yields:
        Every pair, in order.
    """
    if settings.method == "one-euro":
        pairs = _filtered(pairs, lambda: _Causal(settings))
    elif settings.method == "zero-phase":
        pairs = _filtered(pairs, lambda: _Centred(settings.window / 2))
    if settings.fill > 0:
        pairs = _filtered(pairs, lambda: _Filler(settings.fill))
    yield from pairs


class Clock:
    """Seconds that always advance, made from timestamps that may not.

    One that is missing, repeats or jumps back counts as one step (the last one, at most 0.1 s)
    after the one before, and later ones go on from there.
    """

    def __init__(self) -> None:
        self._now, self._step, self._shift = -math.inf, _STEP, 0.0

    def __call__(self, time: float | None) -> float:
        """The time of the next frame, in seconds."""
        given = None if time is None or not math.isfinite(time) else time + self._shift
        if self._now == -math.inf:
            self._now = given or 0.0
        elif given is not None and given > self._now:
            self._step = min(given - self._now, _LONG_STEP)
            self._now = given
        else:
            self._now += self._step
            self._shift += 0.0 if given is None else self._now - given
        return self._now


class _Filter(Protocol):
    """State of one uninterrupted stretch of video, through which every frame goes twice."""

    ahead: float  # seconds by which entering is ahead of leaving

    def enter(self, time: float, poses: Poses) -> None: ...

    def leave(self, time: float, poses: Poses) -> Poses: ...


def _filtered(
    pairs: Iterable[tuple[Item, Poses]], make: Callable[[], _Filter]
) -> Iterator[tuple[Item, Poses]]:
    clock, state, stretch = Clock(), make(), None
    waiting: deque[tuple[float, Item, Poses]] = deque()

    def leave() -> tuple[Item, Poses]:
        time, item, poses = waiting.popleft()
        return item, state.leave(time, poses)

    for item, poses in pairs:
        before, stretch = stretch, (poses.size, poses.source, poses.skeleton.name)
        if before != stretch:
            while waiting:
                yield leave()
            state = make()
        now = clock(poses.time)
        state.enter(now, poses)
        waiting.append((now, item, poses))
        due = now - state.ahead + _CLOSE
        while waiting and (waiting[0][0] <= due or len(waiting) > _MOST_AHEAD):
            yield leave()
    while waiting:
        yield leave()


def _tracked(poses: Poses) -> dict[int, int]:
    """Rows of the people with an id, by id; of rows that share one, the first."""
    rows: dict[int, int] = {}
    for row, track in enumerate(poses.track_ids.tolist()):
        if track >= 0:
            rows.setdefault(track, row)
    return rows


def _heights(poses: Poses) -> list[float]:
    """N longer sides of the boxes in px, at least 1."""
    sides = (max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in poses.boxes.tolist())
    return [side if 1 < side < math.inf else 1.0 for side in sides]


def _person(poses: Poses, row: int) -> tuple[Reals, Reals]:
    """(K, 2) keypoints and (K,) scores; what is not a number was not found."""
    xy, scores = poses.keypoints[row].astype(np.float64), poses.keypoint_scores[row]
    known = np.isfinite(xy).all(axis=1) & np.isfinite(scores)
    found = np.where(known & (scores > 0), scores, 0.0)
    return np.where(known[:, None], xy, 0.0), found.astype(np.float64)


def _raw(poses: Poses) -> FloatArray:
    return poses.keypoints if poses.measured is None else poses.measured


class _Causal:
    """One-Euro filters of the people in sight."""

    ahead = 0.0

    def __init__(self, settings: Smoothing) -> None:
        self._settings = settings
        self._filters: dict[int, tuple[float, filters.OneEuro]] = {}

    def enter(self, time: float, poses: Poses) -> None:
        oldest = time - self._settings.memory
        self._filters = {i: kept for i, kept in self._filters.items() if kept[0] >= oldest}

    def leave(self, time: float, poses: Poses) -> Poses:
        keypoints, heights = poses.keypoints.copy(), _heights(poses)
        for track, row in _tracked(poses).items():
            new = time, filters.OneEuro(len(poses.skeleton), self._settings)
            _, one_euro = self._filters.get(track, new)
            keypoints[row] = one_euro(time, *_person(poses, row), heights[row])
            self._filters[track] = time, one_euro
        return replace(poses, keypoints=keypoints, measured=_raw(poses))


@dataclass(slots=True)
class _History:
    """The last samples of one track.

    Attributes:
        times: (n,) s, ascending.
        xy: (n, K, 2) px.
        scores: (n, K).
        boxes: (n, 4) px.
        weights: (n, K) as far as judged: inverse variances, 0 for outliers.
    """

    times: Reals
    xy: Reals
    scores: Reals
    boxes: Reals
    weights: Reals = field(init=False)

    def __post_init__(self) -> None:
        self.weights = np.zeros((0, self.scores.shape[1]))

    def append(self, other: _History) -> None:
        for name in ("times", "xy", "scores", "boxes"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))

    def forget(self, before: float) -> None:
        """Drops samples of earlier times, and the earliest of too many."""
        first = max(bisect_left(self.times, before), len(self.times) - _MOST_KEPT)
        if first:
            for name in ("times", "xy", "scores", "boxes", "weights"):
                setattr(self, name, getattr(self, name)[first:])

    def judge(self, until: float, height: float) -> None:
        """Weighs the samples up to a time by their scores and their neighbours."""
        last = bisect_right(self.times, until)
        new = []
        for i in range(len(self.weights), last):
            time = self.times[i]
            low = bisect_left(self.times, time - _AROUND)
            near = slice(low, bisect_right(self.times, time + _AROUND))
            far = filters.is_outlier(self.xy[near], self.scores[near] > 0, i - low, height)
            new.append(np.where(far, 0.0, filters.precision(self.scores[i])))
        if new:
            self.weights = np.concatenate([self.weights, new])


def _remember(histories: dict[int, _History], time: float, poses: Poses) -> None:
    for track, row in _tracked(poses).items():
        xy, scores = _person(poses, row)
        box = np.where(np.isfinite(poses.boxes[row]), poses.boxes[row], 0.0).astype(np.float64)
        now = _History(np.array([time]), xy[None], scores[None], box[None])
        if track in histories:
            histories[track].append(now)
        else:
            histories[track] = now


def _forget(histories: dict[int, _History], before: float) -> None:
    for track, history in list(histories.items()):
        history.forget(before)
        if not len(history.times):
            del histories[track]


class _Centred:
    """Zero-phase smoothing: what leaves is fitted to what was seen before and after."""

    def __init__(self, reach: float) -> None:
        self.ahead = reach + _AROUND
        self._reach, self._reaches = reach, reach * _WIDTHS
        self._histories: dict[int, _History] = {}

    def enter(self, time: float, poses: Poses) -> None:
        _remember(self._histories, time, poses)

    def leave(self, time: float, poses: Poses) -> Poses:
        _forget(self._histories, time - self.ahead)
        keypoints, heights = poses.keypoints.copy(), _heights(poses)
        for track, row in _tracked(poses).items():
            keypoints[row] = self._fitted(self._histories[track], time, heights[row])
        return replace(poses, keypoints=keypoints, measured=_raw(poses))

    def _fitted(self, history: _History, time: float, height: float) -> Reals:
        history.judge(time + self._reach, height)
        low = bisect_left(history.times, time - self._reach)
        window = slice(low, bisect_right(history.times, time + self._reach))
        here = bisect_left(history.times, time)
        xy = history.xy[here]
        values, variances = filters.local_fits(
            history.times[window] - time,
            history.xy[window] - xy,
            history.weights[window],
            self._reaches,
        )
        shift, variance = filters.widest_plausible(values, variances, _NOISE * height)
        usable = (history.weights[here] > 0) | (variance < _WILD)
        usable &= history.scores[here] > 0
        steady: Reals = np.where(usable[:, None], xy + shift, xy)
        return steady


@dataclass(frozen=True, slots=True)
class _Bridge:
    """A person between two sightings: box (4,), xy (K, 2), and scores (K,), 0 where not closed."""

    box: Reals
    xy: Reals
    scores: Reals


class _Filler:
    """Interpolation of keypoints and people over gaps of at most so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.ahead = seconds
        self._longest = seconds + _CLOSE
        self._histories: dict[int, _History] = {}

    def enter(self, time: float, poses: Poses) -> None:
        _remember(self._histories, time, poses)

    def leave(self, time: float, poses: Poses) -> Poses:
        _forget(self._histories, time - self._longest)
        rows = _tracked(poses)
        found = {
            row: self._bridge(track, time)
            for track, row in rows.items()
            if (poses.keypoint_scores[row] <= _FOUND).any()
        }
        lost = {i: self._bridge(i, time) for i in sorted(self._histories.keys() - rows.keys())}
        lost = {track: bridge for track, bridge in lost.items() if bridge.scores.any()}
        return _with_people(_with_points(poses, found), lost)

    def _bridge(self, track: int, time: float) -> _Bridge:
        kept = self._histories[track]
        found = kept.scores > _FOUND
        xy, closed, ends = filters.bridge(
            kept.times, kept.xy, found, time=time, longest=self._longest
        )
        lower = np.take_along_axis(kept.scores, ends, axis=0).min(axis=0)
        boxes, _, _ = filters.bridge(
            kept.times, kept.boxes[:, None], found[:, :1] | True, time=time, longest=self._longest
        )
        return _Bridge(boxes[0], xy, np.where(closed, lower, 0.0))


def _with_points(poses: Poses, bridges: dict[int, _Bridge]) -> Poses:
    """Fills keypoints of people who were found, by their rows."""
    keypoints, scores = poses.keypoints.copy(), poses.keypoint_scores.copy()
    filled = np.zeros(scores.shape, bool) if poses.filled is None else poses.filled.copy()
    for row, bridge in bridges.items():
        gaps = (scores[row] <= _FOUND) & (bridge.scores > 0)
        keypoints[row, gaps], scores[row, gaps] = bridge.xy[gaps], bridge.scores[gaps]
        filled[row] |= gaps
    if not filled.any():
        return poses
    return replace(
        poses,
        keypoints=keypoints,
        keypoint_scores=scores,
        measured=_raw(poses),
        filled=filled,
    )


def _with_people(poses: Poses, bridges: dict[int, _Bridge]) -> Poses:
    """Adds people who were not found, by their tracks."""
    if not bridges:
        return poses
    people = list(bridges.values())
    xy = np.stack([bridge.xy for bridge in people]).astype(np.float32)
    scores = np.stack([bridge.scores for bridge in people]).astype(np.float32)
    boxes = np.stack([bridge.box for bridge in people]).astype(np.float32)
    filled = np.zeros(poses.keypoint_scores.shape, bool) if poses.filled is None else poses.filled
    return replace(
        poses,
        keypoints=np.concatenate([poses.keypoints, xy]),
        keypoint_scores=np.concatenate([poses.keypoint_scores, scores]),
        boxes=np.concatenate([poses.boxes, boxes]),
        box_scores=np.concatenate([poses.box_scores, np.zeros(len(people), np.float32)]),
        track_ids=np.concatenate([poses.track_ids, np.array(list(bridges), np.int64)]),
        measured=np.concatenate([_raw(poses), xy]),
        filled=np.concatenate([filled, scores > 0]),
        heatmaps=None if poses.heatmaps is None else _with_blank(poses.heatmaps, len(people)),
    )


def _with_blank(maps: Heatmaps, people: int) -> Heatmaps:
    blank = np.zeros((people, *maps.values.shape[1:]), maps.values.dtype)
    still = np.tile(np.eye(2, 3, dtype=np.float32), (people, 1, 1))
    return Heatmaps(
        np.concatenate([maps.values, blank]), np.concatenate([maps.image_from_cells, still])
    )
