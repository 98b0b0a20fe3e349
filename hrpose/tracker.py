"""Ids that last: people of one frame after the other, each given the id they had before.

Association is in stages, sure detections first, doubtful ones after them for tracks that are still
without one, as in ByteTrack (Zhang et al. 2022). Likeness is OKS with the pose and IoU with the box
that `motion` predicts.

T tracks, N people of a frame, K keypoints, P pairs. A person's *scale* is the square root of their
box's area, in px.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from hrpose.motion import DoubleArray, People, Tracks, boxes_of, places, strengths
from hrpose.options import Tracking
from hrpose.similarity import pair_iou, pair_oks
from hrpose.types import BoolArray, Detections, Frame, IntArray, Poses, Size

FALLBACK_RATE = 25.0  # frames per second where frames have no times

_SWING, _STEP = 0.25, 0.3  # scale that a keypoint leaves its place by; s in which it does

_TRIAL = 0.3  # s in which somebody new must be seen again
_LATELY = 0.5  # s; who is gone for longer comes back by a sure detection only
_BELIEF = 0.45  # mean score of a track that may take a doubtful detection
_DOUBTFUL = 0.45  # least likeness of a doubtful detection
_DOUBLE = 0.7  # likeness of two people of a frame who are taken for one
_OVERLAP = 0.3  # IoU of two people who may be one
_GATE = 2.0  # scale

_COLLAPSE = 0.5  # of the keypoint scores at the detection; a followed pose below is lost
_INSIDE = 0.2  # share of a followed box that must be in the picture
_EQUAL_SIGMA = 0.07  # of keypoint sets without published sigmas; COCO's 17 have 0.067 in the mean


class Tracker:
    """Gives the people of a sequence of frames ids that last.

    Ids count from 1 and none is given twice. -1 is for people too unsure to be followed: of low
    score and like nobody known, doubles of somebody better, and in their first frame people below
    ``Tracking.sure``, who have an id once they are seen again: a lone false detection uses up none.

    Times are those of the frames, in seconds, and may be uneven or repeat. Frames without time
    count as 25 per second by their index. Where time goes back, the size of the frames changes
    or a gap is longer than ``Tracking.memory``, everybody is new.

    Args:
        settings: See ``Tracking``.
    """

    def __init__(self, settings: Tracking = Tracking()) -> None:  # noqa: B008 - frozen
        self.settings = settings
        self._tracks = Tracks(0)
        self._sigmas: DoubleArray = np.zeros(0)
        self._now, self._size = -np.inf, Size(0, 0)
        self._next_id = self._next_key = 1

    def __call__(self, poses: Poses) -> Poses:
        """Takes the people of the next frame.

        Args:
            poses: Their ids do not matter.

        Returns:
            The same people in the same order, with ids.
        """
        self._advance(poses.time, poses.frame, poses.size)
        if len(poses.skeleton) != len(self._sigmas):
            self._tracks = Tracks(len(poses.skeleton))
            sigmas = poses.skeleton.sigmas or (_EQUAL_SIGMA,) * len(poses.skeleton)
            self._sigmas = np.array(sigmas)
        order = _canonical(poses)
        people, tracks = People.of(poses, order), self._tracks
        doubled = self._doubled(people)
        rows = self._associate(people, doubled)
        found = np.flatnonzero(rows >= 0)
        since = self._now - tracks.seen[rows[found]]
        tracks.correct(rows[found], people, found, self._now)
        tracks.detect(rows[found], people, found, since)
        self._name(rows[found])
        new = np.flatnonzero((rows < 0) & ~doubled & (people.scores >= self.settings.start))
        keys = self._next_key + np.arange(len(new))
        self._next_key += len(new)
        rows[new] = tracks.start(keys, people, new, self._now)
        self._name(rows[new[people.scores[new] >= self.settings.sure]])
        ids = np.full(len(people), -1, np.int64)
        ids[order] = np.where(rows >= 0, np.append(tracks.ids, -1)[rows], -1)
        return replace(poses, track_ids=ids)

    def expect(self, frame: Frame) -> tuple[Detections, IntArray]:
        """Where those of the frame before should be in the next one, which has no detections.

        Args:
            frame: The next one; :meth:`keep` must follow.

        Returns:
            Boxes with the scores of the last detections, and (N,) keys for ``track_ids``, by which
            :meth:`keep` knows them; these are no ids.
        """
        self._advance(frame.time, frame.index, frame.size)
        tracks = self._tracks
        rows = np.flatnonzero(tracks.missed == 1)
        predicted = boxes_of(tracks.place[rows])
        posed = tracks.around(rows, tracks.ahead(rows), tracks.keypoint_scores[rows], predicted)
        whole = (predicted + posed) / 2
        boxes = whole.clip(0, [*frame.size, *frame.size])
        inside = _areas(boxes) >= _INSIDE * _areas(whole)
        found = Detections(
            torch.from_numpy(boxes[inside]).float(),
            torch.from_numpy(tracks.scores[rows[inside]]).float(),
        )
        return found, tracks.keys[rows[inside]]

    def keep(self, poses: Poses) -> Poses:
        """Takes the poses found where people were expected; drops who is lost.

        Lost is whose keypoint scores fell by half since the detection, and, of two whose poses
        came to lie on one person, the one who was expected elsewhere.

        Args:
            poses: Some of those expected, with their keys as ``track_ids``.

        Returns:
            Those who are left, in the same order, with ids.
        """
        if not len(poses):
            return poses
        tracks, people = self._tracks, People.of(poses, np.arange(len(poses)))
        rows = np.searchsorted(tracks.keys, poses.track_ids)
        held = strengths(people.keypoint_scores) >= _COLLAPSE * tracks.strength[rows]
        alike = self._alike(rows, people, np.arange(len(people)))
        a, b, twins = self._twins(people)
        for i, j in zip(a[twins > _DOUBLE], b[twins > _DOUBLE], strict=True):
            if held[i] and held[j]:
                held[i if alike[i] < alike[j] else j] = False
        kept = np.flatnonzero(held)
        boxes = tracks.around(rows, people.keypoints, people.keypoint_scores, people.boxes)
        tracks.correct(rows[kept], replace(people, places=places(boxes)), kept, self._now)
        return replace(poses.take(kept), track_ids=tracks.ids[rows[kept]])

    def _advance(self, time: float | None, index: int, size: Size) -> None:
        now = index / FALLBACK_RATE if time is None else time
        tracks, gap = self._tracks, now - self._now
        if gap < 0 or size != self._size:
            tracks.drop(np.ones(len(tracks), bool))
        gone = now - tracks.seen
        on_trial = (tracks.ids < 0) & (tracks.missed > 0)
        tracks.drop((gone > self.settings.memory) | (on_trial & (gone > _TRIAL)))
        tracks.predict(gap)
        tracks.missed += 1
        self._now, self._size = now, size

    def _name(self, rows: IntArray) -> None:
        new = rows[self._tracks.ids[rows] < 0]
        self._tracks.ids[new] = self._next_id + np.arange(len(new))
        self._next_id += len(new)

    def _associate(self, people: People, doubled: BoolArray) -> IntArray:
        """(N,) rows of the tracks, -1 = none."""
        rows = np.full(len(people), -1, np.int64)
        tracks, alike = self._tracks, self.settings.alike
        sure = (people.scores >= self.settings.start) & ~doubled
        free = np.ones(len(tracks), bool)
        self._match(rows, people, sure, free, alike)
        free[rows[rows >= 0]] = False
        free &= (tracks.belief >= _BELIEF) & (self._now - tracks.seen <= _LATELY)
        self._match(rows, people, ~sure, free, max(alike, _DOUBTFUL))
        return rows

    def _match(
        self, rows: IntArray, people: People, who: BoolArray, free: BoolArray, least: float
    ) -> None:
        """Gives some people rows of free tracks, so that the sum of likeness is greatest."""
        tracks, chosen = np.flatnonzero(free), np.flatnonzero(who)
        if not len(tracks) or not len(chosen):
            return
        apart = self._tracks.place[tracks, None, :2] - people.places[None, chosen, :2]
        reach = (_GATE * self._tracks.scale + 3 * self._tracks.doubt)[tracks]
        track, person = np.nonzero(np.abs(apart).max(axis=2) <= reach[:, None])
        worth = np.zeros((len(tracks), len(chosen)))
        worth[track, person] = self._alike(tracks[track], people, chosen[person]) - least
        track, person = linear_sum_assignment(worth.clip(0), maximize=True)
        good = worth[track, person] > 0
        rows[chosen[person[good]]] = tracks[track[good]]

    def _alike(self, rows: IntArray, people: People, chosen: IntArray) -> DoubleArray:
        """(P,) likeness of tracks to people."""
        tracks = self._tracks
        scale, gone = tracks.scale[rows], self._now - tracks.seen[rows]
        swing = _SWING * scale * (1 - np.exp(-gone / _STEP))
        weights = np.sqrt(tracks.keypoint_scores[rows] * people.keypoint_scores[chosen])
        oks = pair_oks(
            tracks.ahead(rows),
            people.keypoints[chosen],
            (scale**2 + people.areas[chosen]) / 2,
            self._sigmas,
            weights=weights,
            extra=swing**2 + tracks.doubt[rows] ** 2,
        )
        return _mean(oks, weights, pair_iou(boxes_of(tracks.place[rows]), people.boxes[chosen]))

    def _twins(self, people: People) -> tuple[IntArray, IntArray, DoubleArray]:
        """(P,) pairs of people of one frame whose boxes overlap, and how alike they are."""
        a, b = np.nonzero(~np.tri(len(people), dtype=bool))
        iou = pair_iou(people.boxes[a], people.boxes[b])
        near = np.flatnonzero(iou > _OVERLAP)
        a, b, iou = a[near], b[near], iou[near]
        weights = np.sqrt(people.keypoint_scores[a] * people.keypoint_scores[b])
        areas = (people.areas[a] + people.areas[b]) / 2
        oks = pair_oks(
            people.keypoints[a],
            people.keypoints[b],
            areas,
            self._sigmas,
            weights=weights,
            extra=np.zeros(len(a)),
        )
        return a, b, _mean(oks, weights, iou)

    def _doubled(self, people: People) -> BoolArray:
        """(N,) who is a double of somebody before them in the same frame."""
        doubled = np.zeros(len(people), bool)
        if len(people) > 1:
            _, b, alike = self._twins(people)
            doubled[b[alike > _DOUBLE]] = True
        return doubled


def _mean(oks: DoubleArray, weights: DoubleArray, iou: DoubleArray) -> DoubleArray:
    """(P,) mean of both, in which OKS weighs as much as the keypoints are sure."""
    trust = weights.sum(axis=1) / weights.shape[1]
    alike: DoubleArray = (trust * oks + iou) / (trust + 1)
    return alike


def _canonical(poses: Poses) -> IntArray:
    """(N,) positions, best first, ties by place: the order in which people come has no say."""
    return np.lexsort((*poses.boxes.T, -poses.box_scores))


def _areas(boxes: DoubleArray) -> DoubleArray:
    areas: DoubleArray = np.prod((boxes[:, 2:] - boxes[:, :2]).clip(0), axis=1)
    return areas
