"""How well ids last: MOTA, IDF1 and HOTA of tracked boxes against labelled ones.

A sequence is one :class:`Labelled` per frame, for the truth and for the result. All counts add up
over sequences, so that ``sum`` of several scores is the score of them together.

- MOTA, switches, fragmentations: CLEAR MOT, Bernardin and Stiefelhagen 2008. A pair of the frame
  before stays a pair while it still overlaps enough; the rest is assigned anew. A switch is a
  person who is found under another id than the last time they were found; a fragmentation is a
  person who is found again after frames in which they were there and missed.
- IDF1: Ristani et al. 2016. Trajectories as a whole are paired one to one, so that the most
  boxes agree.
- HOTA: Luiten et al. 2021, the mean over IoU thresholds 0.05 to 0.95.

T true and R result boxes in a frame; G true and H result ids in a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from hrpose.similarity import box_iou
from hrpose.types import FloatArray, IntArray, Poses

DoubleArray = NDArray[np.float64]

ALPHAS: DoubleArray = np.arange(1, 20) / 20
_ENOUGH = float(np.finfo(np.float32).eps)  # IoU is float32: 0.5 may come out a little below
_KEEPS = 1000.0  # worth of keeping a pair of the frame before: above any sum of IoU


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """The people of one frame, with ids.

    Attributes:
        ids: (N,) int64, each once.
        boxes: (N, 4) float32 xyxy px.
    """

    ids: IntArray
    boxes: FloatArray

    def __post_init__(self) -> None:
        if self.boxes.shape != (len(self.ids), 4):
            raise ValueError(f"boxes have shape {self.boxes.shape} for {len(self.ids)} ids")
        if len(np.unique(self.ids)) != len(self.ids):
            raise ValueError(f"an id stands twice in one frame: {sorted(self.ids.tolist())}")

    @classmethod
    def of(cls, poses: Poses) -> Labelled:
        """The tracked people of a frame; those without id do not count."""
        tracked = poses.track_ids >= 0
        return cls(poses.track_ids[tracked], poses.boxes[tracked])


def _zeros() -> DoubleArray:
    return np.zeros(len(ALPHAS))


@dataclass(frozen=True, slots=True, eq=False)
class TrackingScore:
    """Counts of one or several sequences, and what follows from them.

    Attributes:
        truths: True boxes.
        results: Result boxes.
        matches: Pairs at the CLEAR threshold.
        switches: Of ids.
        fragmentations: Gaps in the finding of a person.
        identities: Boxes that agree when trajectories are paired as a whole (IDTP).
        hota_matches: (19,) pairs at each of ``ALPHAS``.
        hota_association: (19,) sum over those pairs of their trajectories' Jaccard index.
    """

    truths: int = 0
    results: int = 0
    matches: int = 0
    switches: int = 0
    fragmentations: int = 0
    identities: int = 0
    hota_matches: DoubleArray = field(default_factory=_zeros)
    hota_association: DoubleArray = field(default_factory=_zeros)

    def __add__(self, other: TrackingScore) -> TrackingScore:
        sums = (getattr(self, f.name) + getattr(other, f.name) for f in fields(self))
        return TrackingScore(*sums)

    def __radd__(self, other: int) -> TrackingScore:
        if other != 0:  # `sum` begins with 0
            return NotImplemented
        return self

    @property
    def misses(self) -> int:
        return self.truths - self.matches

    @property
    def false_positives(self) -> int:
        return self.results - self.matches

    @property
    def mota(self) -> float:
        """Up to 1, and below 0 when errors outnumber the truth; 0 without truth."""
        errors = self.misses + self.false_positives + self.switches
        return 1 - errors / self.truths if self.truths else 0.0

    @property
    def idf1(self) -> float:
        """0 to 1."""
        return 2 * self.identities / max(self.truths + self.results, 1)

    @property
    def hota(self) -> float:
        """0 to 1."""
        either = self.truths + self.results - self.hota_matches
        detection = self.hota_matches / np.maximum(either, 1)
        association = self.hota_association / np.maximum(self.hota_matches, 1)
        return float(np.sqrt(detection * association).mean())


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """One frame: (T,) and (R,) positions of the ids in the sequence, (T, R) IoU."""

    true: IntArray
    found: IntArray
    iou: DoubleArray


def score_tracking(
    truth: Sequence[Labelled], results: Sequence[Labelled], *, iou: float = 0.5
) -> TrackingScore:
    """Scores the result of one sequence.

    Args:
        truth: One per frame.
        results: One per frame.
        iou: Boxes that overlap at least so much may be a pair in CLEAR and IDF1; raising it asks
            for more exact boxes.

    Raises:
        ValueError: Not as many results as truths.
    """
    if len(truth) != len(results):
        raise ValueError(f"{len(truth)} frames of truth and {len(results)} of results")
    true_ids, found_ids = _ids(truth), _ids(results)
    frames = [
        _Pairs(
            np.searchsorted(true_ids, t.ids),
            np.searchsorted(found_ids, r.ids),
            box_iou(t.boxes, r.boxes).astype(np.float64),
        )
        for t, r in zip(truth, results, strict=True)
    ]
    shape = (len(true_ids), len(found_ids))
    matches, switches, fragmentations = _clear(frames, len(true_ids), iou - _ENOUGH)
    hota_matches, hota_association = _hota(frames, shape)
    return TrackingScore(
        truths=sum(len(f.true) for f in frames),
        results=sum(len(f.found) for f in frames),
        matches=matches,
        switches=switches,
        fragmentations=fragmentations,
        identities=_identities(frames, shape, iou - _ENOUGH),
        hota_matches=hota_matches,
        hota_association=hota_association,
    )


def _ids(sequence: Sequence[Labelled]) -> IntArray:
    return np.unique(np.concatenate([np.zeros(0, np.int64), *(frame.ids for frame in sequence)]))


def _clear(frames: Sequence[_Pairs], people: int, least: float) -> tuple[int, int, int]:
    """Matches, switches and fragmentations."""
    before = np.full(people, -1)  # of the frame before
    last = np.full(people, -1)  # when found the last time
    missed = np.zeros(people, bool)  # since then
    matches = switches = fragmentations = 0
    for frame in frames:
        kept = before[frame.true][:, None] == frame.found[None]
        rows, columns = _assigned(frame.iou, frame.iou + _KEEPS * kept, least)
        true, found = frame.true[rows], frame.found[columns]
        known = last[true] >= 0
        matches += len(true)
        switches += int((known & (last[true] != found)).sum())
        fragmentations += int((known & missed[true]).sum())
        missed[frame.true], missed[true] = True, False
        before = np.full(people, -1)
        before[true] = last[true] = found
    return matches, switches, fragmentations


def _assigned(iou: DoubleArray, worth: DoubleArray, least: float) -> tuple[IntArray, IntArray]:
    """Rows and columns of the pairs of the greatest worth among those that overlap enough."""
    rows, columns = linear_sum_assignment(np.where(iou >= least, worth, 0), maximize=True)
    near = iou[rows, columns] >= least
    return rows[near], columns[near]


def _identities(frames: Sequence[_Pairs], shape: tuple[int, int], least: float) -> int:
    together = np.zeros(shape)
    for frame in frames:
        rows, columns = np.nonzero(frame.iou >= least)
        together[frame.true[rows], frame.found[columns]] += 1
    rows, columns = linear_sum_assignment(together, maximize=True)
    return int(together[rows, columns].sum())


def _hota(frames: Sequence[_Pairs], shape: tuple[int, int]) -> tuple[DoubleArray, DoubleArray]:
    """(19,) pairs, and (19,) sums of the Jaccard index of their trajectories."""
    either = _lengths(frames, shape)
    alike = np.zeros(shape)
    for frame in frames:
        rest = frame.iou.sum(0)[None] + frame.iou.sum(1)[:, None] - frame.iou
        share = np.divide(frame.iou, rest, out=np.zeros_like(frame.iou), where=rest > 0)
        alike[np.ix_(frame.true, frame.found)] += share
    alike /= np.maximum(either - alike, 1e-9)
    together = np.zeros((len(ALPHAS), *shape))
    for frame in frames:
        worth = alike[np.ix_(frame.true, frame.found)] * frame.iou
        rows, columns = linear_sum_assignment(worth, maximize=True)
        near = frame.iou[rows, columns] >= ALPHAS[:, None] - _ENOUGH
        together[:, frame.true[rows], frame.found[columns]] += near
    jaccard = together / np.maximum(either - together, 1)
    return together.sum((1, 2)), (together * jaccard).sum((1, 2))


def _lengths(frames: Sequence[_Pairs], shape: tuple[int, int]) -> DoubleArray:
    """(G, H) sums of the frames of every true and every result id."""
    true, found = np.zeros(shape[0]), np.zeros(shape[1])
    for frame in frames:
        true[frame.true] += 1
        found[frame.found] += 1
    return true[:, None] + found[None]
