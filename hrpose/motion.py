"""The state of tracked people: a Kalman filter of many tracks at once, in real seconds.

Its velocities die away and its uncertainty grows while a person is out of sight (an integrated
Ornstein-Uhlenbeck process), so that frame times may be uneven and gaps long.

T tracks, N people of a frame, K keypoints, P pairs. Filter states are (T, 4): centre x and y in px,
natural logarithms of width and height. A person's *scale* is the square root of their box's area,
in px; lengths in scales are alike for near and far people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrpose.types import BoolArray, IntArray, Poses

DoubleArray = NDArray[np.float64]

_DAMPING = np.array([2.0, 2.0, 0.3, 0.3])  # s after which a velocity has fallen to 1/e
_AGILITY = np.array([1.5, 1.5, 0.3, 0.3])  # spectral density of acceleration, scale/s^1.5
_FIRST_SPEED = np.array([1.5, 1.5, 0.3, 0.3])  # deviation of an unknown velocity, scale/s
_NOISE = np.array([0.08, 0.08, 0.12, 0.12])  # deviation of measured boxes, scale

_SEEN = 0.2  # score of a keypoint that says where a person is, as in Poses.scores
_FEW = 3  # keypoints; fewer say nothing
_MARGIN = 0.15  # of a box around keypoints where no detection told, of their mean side
_FADING = 2.0  # s over which the mean score of a track forgets


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """N people of a frame, in float64.

    Attributes:
        places: (N, 4) their boxes as the filter measures them.
        boxes: (N, 4) xyxy px.
        scores: (N,) of the boxes.
        keypoints: (N, K, 2) px.
        keypoint_scores: (N, K), 0 to 1.
    """

    places: DoubleArray
    boxes: DoubleArray
    scores: DoubleArray
    keypoints: DoubleArray
    keypoint_scores: DoubleArray

    @classmethod
    def of(cls, poses: Poses, order: IntArray) -> People:
        """The given ones, by their positions, in the given order."""
        boxes = poses.boxes[order].astype(np.float64)
        return cls(
            places(boxes),
            boxes,
            poses.box_scores[order].astype(np.float64),
            poses.keypoints[order].astype(np.float64),
            np.minimum(poses.keypoint_scores[order], 1).astype(np.float64),
        )

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def areas(self) -> DoubleArray:
        """(N,) px^2."""
        areas: DoubleArray = np.exp(self.places[:, 2:].sum(axis=1))
        return areas


class Tracks:
    """T tracks as arrays, so that a hundred cost little more than one.

    Attributes:
        keys: (T,) ascending, each once; for this file only.
        ids: (T,) -1 for who is on trial.
        place, speed: (T, 4) filter state, and its change per second.
        spread: (T, 3, 4) variance of the place, covariance, variance of the speed.
        anchor: (T, 2) px, the place when last seen.
        keypoints, keypoint_scores: (T, K, 2) px and (T, K), as last seen.
        seen: (T,) s, when that was.
        missed: (T,) frames since then.
        scores: (T,) of the box last detected.
        belief, weight: (T,) fading mean of the scores, and the weight of all that is in it.
        margins: (T, 4) from keypoints out to the detected box, left, top, right, bottom.
        strength: (T,) mean score of the keypoints seen at the last detection.
    """

    def __init__(self, points: int) -> None:
        self.keys: IntArray = np.zeros(0, np.int64)
        self.ids: IntArray = np.zeros(0, np.int64)
        self.place: DoubleArray = np.zeros((0, 4))
        self.speed: DoubleArray = np.zeros((0, 4))
        self.spread: DoubleArray = np.zeros((0, 3, 4))
        self.anchor: DoubleArray = np.zeros((0, 2))
        self.keypoints: DoubleArray = np.zeros((0, points, 2))
        self.keypoint_scores: DoubleArray = np.zeros((0, points))
        self.seen: DoubleArray = np.zeros(0)
        self.missed: IntArray = np.zeros(0, np.int64)
        self.scores: DoubleArray = np.zeros(0)
        self.belief: DoubleArray = np.zeros(0)
        self.weight: DoubleArray = np.zeros(0)
        self.margins: DoubleArray = np.zeros((0, 4))
        self.strength: DoubleArray = np.zeros(0)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def scale(self) -> DoubleArray:
        """(T,) px."""
        return np.exp((self.place[:, 2] + self.place[:, 3]) / 2)

    @property
    def doubt(self) -> DoubleArray:
        """(T,) px, deviation of the predicted places."""
        return np.sqrt((self.spread[:, 0, 0] + self.spread[:, 0, 1]) / 2)

    def _units(self, rows: slice | IntArray) -> DoubleArray:
        """(T, 4) what lengths in scales are multiplied by; sizes are logarithms already."""
        units = np.ones((len(self.place[rows]), 4))
        units[:, :2] = np.exp(self.place[rows, 2:].sum(axis=1) / 2)[:, None]
        return units

    def drop(self, gone: BoolArray) -> None:
        if gone.any():
            for name, values in vars(self).items():
                setattr(self, name, values[~gone])

    def start(self, keys: IntArray, people: People, chosen: IntArray, now: float) -> IntArray:
        """Adds a track, without id, for each of some people; their rows."""
        if not len(chosen):
            return chosen
        rows = len(self) + np.arange(len(chosen))
        for name, values in vars(self).items():
            more = np.zeros((len(chosen), *values.shape[1:]), values.dtype)
            setattr(self, name, np.concatenate([values, more]))
        self.keys[rows], self.ids[rows] = keys, -1
        self.place[rows] = people.places[chosen]
        units = self._units(rows)
        self.spread[rows, 0] = (_NOISE * units) ** 2
        self.spread[rows, 2] = (_FIRST_SPEED * units) ** 2
        self.see(rows, people, chosen, now)
        self.detect(rows, people, chosen, 0)
        return rows

    def predict(self, seconds: float) -> None:
        """Moves all by so many seconds; cutting the time into pieces changes nothing."""
        if seconds <= 0 or not len(self):
            return
        left = np.exp(-seconds / _DAMPING)
        way = _DAMPING * (1 - left)
        density = (_AGILITY * self._units(slice(None))) ** 2 * _DAMPING / 2
        grown = _DAMPING * (2 * seconds - _DAMPING * (3 - 4 * left + left**2))
        place, both, speed = (self.spread[:, i] for i in range(3))
        spread = np.empty_like(self.spread)
        spread[:, 0] = place + way * (2 * both + way * speed) + density * grown
        spread[:, 1] = left * (both + way * speed) + density * way * (1 - left)
        spread[:, 2] = left**2 * speed + density * (1 - left**2)
        self.spread = spread
        self.place = self.place + way * self.speed
        self.speed = left * self.speed

    def correct(self, rows: IntArray, people: People, chosen: IntArray, now: float) -> None:
        """Corrects tracks by the people they were found as."""
        noise = (_NOISE * self._units(rows)) ** 2
        place, both, speed = (self.spread[rows, i] for i in range(3))
        gain, gain_speed = place / (place + noise), both / (place + noise)
        error = people.places[chosen] - self.place[rows]
        self.place[rows] += gain * error
        self.speed[rows] += gain_speed * error
        self.spread[rows, 0] = (1 - gain) * place
        self.spread[rows, 1] = (1 - gain) * both
        self.spread[rows, 2] = speed - gain_speed * both
        self.see(rows, people, chosen, now)

    def see(self, rows: IntArray, people: People, chosen: IntArray, now: float) -> None:
        self.keypoints[rows] = people.keypoints[chosen]
        self.keypoint_scores[rows] = people.keypoint_scores[chosen]
        self.anchor[rows] = self.place[rows, :2]
        self.seen[rows], self.missed[rows] = now, 0

    def detect(
        self, rows: IntArray, people: People, chosen: IntArray, since: DoubleArray | float
    ) -> None:
        """Takes over what only a detector says, ``since`` seconds after it last did."""
        scores, keypoint_scores = people.scores[chosen], people.keypoint_scores[chosen]
        self.scores[rows] = scores
        self.weight[rows] = np.exp(-since / _FADING) * self.weight[rows] + 1
        self.belief[rows] += (scores - self.belief[rows]) / self.weight[rows]
        self.strength[rows] = strengths(keypoint_scores)
        extents, sides = extents_of(people.keypoints[chosen], keypoint_scores)
        out = (extents - people.boxes[chosen]) * [1, 1, -1, -1] / np.maximum(sides, 1)[:, None]
        self.margins[rows] = np.where(sides[:, None] > 0, out.clip(0, 0.5), _MARGIN)

    def around(
        self, rows: IntArray, keypoints: DoubleArray, scores: DoubleArray, otherwise: DoubleArray
    ) -> DoubleArray:
        """(P, 4) boxes around keypoints, as the detector's; ``otherwise`` where few show."""
        extents, sides = extents_of(keypoints, scores)
        grown = extents + self.margins[rows] * sides[:, None] * [-1, -1, 1, 1]
        return np.where(sides[:, None] > 0, grown, otherwise)

    def ahead(self, rows: IntArray) -> DoubleArray:
        """(P, K, 2) px, where keypoints are expected now."""
        return self.keypoints[rows] + (self.place[rows, :2] - self.anchor[rows])[:, None]


def places(boxes: DoubleArray) -> DoubleArray:
    """(N, 4) filter states of xyxy boxes; sides are at least a pixel."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, np.log(sides)], axis=1)


def boxes_of(places: DoubleArray) -> DoubleArray:
    """(N, 4) xyxy px of filter states."""
    half = np.exp(places[:, 2:]) / 2
    return np.concatenate([places[:, :2] - half, places[:, :2] + half], axis=1)


def strengths(scores: DoubleArray) -> DoubleArray:
    """(N,) mean score of the keypoints that show, of (N, K)."""
    seen = scores > _SEEN
    means: DoubleArray = (scores * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    return means


def extents_of(keypoints: DoubleArray, scores: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """(N, 4) xyxy px around the keypoints that show, and (N,) mean sides; 0 where few do."""
    seen = (scores > _SEEN)[..., None]
    low = np.where(seen, keypoints, np.inf).min(axis=1, initial=np.inf)
    high = np.where(seen, keypoints, -np.inf).max(axis=1, initial=-np.inf)
    few = seen.sum(axis=(1, 2)) < _FEW
    extents = np.where(few[:, None], 0, np.concatenate([low, high], axis=1))
    return extents, (extents[:, 2:] - extents[:, :2]).mean(axis=1)
