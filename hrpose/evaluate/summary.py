"""Numbers of a diagnosis: errors by joint, size and crowding, and what each kind costs in AP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hrpose.evaluate.coco import keypoint_metrics
from hrpose.evaluate.errors import (
    GOOD,
    INVERSION,
    KINDS,
    NO_KIND,
    Array,
    Case,
    Diagnosis,
    corrected,
    diagnose,
    people_of,
)
from hrpose.evaluate.truth import GroundTruth
from hrpose.skeleton import COCO17, Skeleton
from hrpose.types import Frame, IntArray, Poses, Size

OUTCOMES = ("matched", "lost", "missed", "duplicate", "false alarm", "ignored")
WORST = 24
_NO_BAD_CASE = 0.9  # OKS from which a person is not shown as a failure

_KEYPOINTS = frozenset(KINDS[1:])
# what is put right together, and what a reader is told that it is
FIXES: dict[str, tuple[frozenset[str], str]] = {
    **{kind: (frozenset({kind}), f"keypoints of matched people: {kind}") for kind in KINDS[1:]},
    "keypoints": (_KEYPOINTS, "all keypoints of matched people"),
    "lost": (frozenset({"lost"}), "people whose box was right and whose pose fits nobody"),
    "missed": (frozenset({"missed"}), "people nobody found, added"),
    "false alarm": (frozenset({"false alarm"}), "poses of nobody and second poses, removed"),
    "score": (frozenset({"score"}), "order of the poses, by their true OKS"),
    "everything": (
        frozenset({*KINDS, "lost", "missed", "false alarm", "score"}),
        "all of these, good keypoints too (100, unless a picture has over 20 people)",
    ),
}
# Least values of the groups. Of size: 32 and 96 px are COCO's limits of medium and large; of
# labelled keypoints: as in the paper.
BANDS: dict[str, tuple[float, ...]] = {
    "size": (0, 32, 64, 96, 160, 256),
    "labelled": (1, 6, 11, 16),
    "crowding": (0, 0.01, 0.1, 0.3),
}


@dataclass(frozen=True, slots=True)
class Joint:
    """Errors of one keypoint of the skeleton, over matched people.

    Attributes:
        name: Of the keypoint.
        labelled: How often it is labelled.
        shares: Of every kind in ``KINDS``; sums to 1, or all 0 where never labelled.
        median: Median distance to the label, as a share of the root of the person's area.
        mirrored: Share of inversions that are on the left/right partner, part of
            ``shares["inversion"]``.
        oks_lost: Points of the mean OKS (percent) that this keypoint costs; over all keypoints
            they add up to what it lacks to 100.
    """

    name: str
    labelled: int
    shares: dict[str, float]
    median: float
    mirrored: float
    oks_lost: float


@dataclass(frozen=True, slots=True)
class Group:
    """People of one size, number of labelled keypoints, or crowding.

    Attributes:
        by: ``size``, ``labelled`` or ``crowding``.
        low: Least value: root of the area in px, labelled keypoints, or greatest IoU of the box
            with that of another person. The next group's is the end.
        people: How many.
        matched: Share of them that some pose matches (OKS 0.1).
        oks: Mean OKS, 0 for missed people.
        recall50: Share with OKS of at least 0.5.
        recall75: Share with OKS of at least 0.75.
        shares: Of every kind among the keypoints of matched people.
    """

    by: str
    low: float
    people: int
    matched: float
    oks: float
    recall50: float
    recall75: float
    shares: dict[str, float]


@dataclass(frozen=True, slots=True)
class Gain:
    """What putting one kind of error right would give.

    Attributes:
        name: A key of ``FIXES``.
        ap: AP in percent, with this alone put right.
        ap50: The same at OKS 0.5.
        ap75: The same at OKS 0.75.
        gain: AP points above the result as it is.
    """

    name: str
    ap: float
    ap50: float
    ap75: float
    gain: float


@dataclass(frozen=True, slots=True)
class Worst:
    """One tile of the contact sheet.

    Attributes:
        picture: File name.
        outcome: See ``Case.outcome``.
        oks: Of the pose with the person, or the greatest with anybody.
        score: Pose score.
        errors: Names of the keypoints of each kind of error.
    """

    picture: str
    outcome: str
    oks: float
    score: float
    errors: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Where an evaluation lost its points; shares are 0 to 1, metrics percent.

    Attributes:
        metrics: AP and its kin, APM and APL included.
        pictures: Number of pictures.
        outcomes: How many people and poses came to what, see ``Case.outcome``.
        shares: Of every kind of error among the labelled keypoints of matched people.
        joints: The same by keypoint.
        groups: The same by size, labelled keypoints and crowding.
        gains: AP with one kind of error put right.
        worst: The contact sheet's tiles in order.
    """

    metrics: dict[str, float]
    pictures: int
    outcomes: dict[str, int]
    shares: dict[str, float]
    joints: tuple[Joint, ...]
    groups: tuple[Group, ...]
    gains: tuple[Gain, ...]
    worst: tuple[Worst, ...]


def diagnose_all(
    truth: GroundTruth,
    results: Iterable[tuple[Frame, Poses]],
    *,
    pictures: Sequence[int] | None = None,
) -> list[Diagnosis]:
    """Every picture's diagnosis, in the order of the ground truth.

    Args:
        truth: The ground truth.
        results: Every picture's poses; ``Frame.index`` says which picture.
        pictures: Ids of the pictures that count; None is all.

    Raises:
        ValueError: A picture comes twice, or its skeleton has no OKS sigmas.
    """
    found: dict[int, Poses] = {}
    for frame, poses in results:
        if frame.index in found:
            raise ValueError(f"picture {frame.index} ({frame.source}) comes twice")
        found[frame.index] = poses
    skeleton = next(iter(found.values())).skeleton if found else COCO17
    wanted = None if pictures is None else set(pictures)
    return [
        diagnose(
            index,
            people_of(truth, index, skeleton),
            found[index] if index in found else _nobody(picture.size, skeleton),
        )
        for index, picture in enumerate(truth.pictures)
        if wanted is None or picture.id in wanted
    ]


def _nobody(size: Size, skeleton: Skeleton) -> Poses:
    count = len(skeleton)
    return Poses(
        keypoints=np.zeros((0, count, 2), np.float32),
        keypoint_scores=np.zeros((0, count), np.float32),
        boxes=np.zeros((0, 4), np.float32),
        box_scores=np.zeros(0, np.float32),
        track_ids=np.zeros(0, np.int64),
        size=size,
        skeleton=skeleton,
    )


def worst_cases(
    diagnoses: Sequence[Diagnosis], *, most: int = WORST
) -> list[tuple[Diagnosis, Case]]:
    """What cost most: people by (1 - OKS) times labelled keypoints, false alarms by score.

    At most a quarter are false alarms if there are people enough.
    """
    rated: list[tuple[float, bool, Diagnosis, Case]] = []
    for diagnosis in diagnoses:
        total = len(diagnosis.poses.skeleton)
        for case in diagnosis.cases:
            if case.person >= 0:
                labelled = int(diagnosis.people.labelled[case.person].sum())
                rated.append(((1 - case.oks) * labelled / total, False, diagnosis, case))
            elif case.outcome != "ignored":
                rated.append((case.score, True, diagnosis, case))
    rated = [row for row in rated if row[1] or row[3].oks < _NO_BAD_CASE]
    rated.sort(key=lambda row: -row[0])
    alarms = [row for row in rated if row[1]]
    people = [row for row in rated if not row[1]]
    alarms = alarms[: max(most // 4, most - len(people))]
    chosen = sorted([*people[: most - len(alarms)], *alarms], key=lambda row: -row[0])
    return [(diagnosis, case) for _, _, diagnosis, case in chosen]


def summarise(
    truth: GroundTruth,
    diagnoses: Sequence[Diagnosis],
    worst: Sequence[tuple[Diagnosis, Case]],
    *,
    pictures: Sequence[int] | None = None,
) -> Breakdown:
    """Counts errors, and measures AP with each kind put right.

    Args:
        truth: The ground truth.
        diagnoses: Of :func:`diagnose_all`.
        worst: Of :func:`worst_cases`.
        pictures: Ids of the pictures that count; None is all.
    """

    def measure(parts: frozenset[str]) -> dict[str, float]:
        bare = ((_frame(d.picture), corrected(d, parts)) for d in diagnoses)
        return keypoint_metrics(truth, bare, pictures=pictures)

    metrics = measure(frozenset())
    outcomes = [case.outcome for diagnosis in diagnoses for case in diagnosis.cases]
    skeleton = diagnoses[0].poses.skeleton if diagnoses else COCO17
    table = _table(diagnoses, len(skeleton))
    return Breakdown(
        metrics=metrics,
        pictures=len(diagnoses),
        outcomes={name: outcomes.count(name) for name in OUTCOMES},
        shares=_shares(table.kinds),
        joints=tuple(_joints(table, skeleton)),
        groups=tuple(group for by in BANDS for group in _groups(by, table)),
        gains=tuple(_gain(name, measure(parts), metrics) for name, (parts, _) in FIXES.items()),
        worst=tuple(_worst(truth, diagnosis, case) for diagnosis, case in worst),
    )


def _frame(picture: int) -> Frame:
    return Frame(torch.empty((3, 0, 0), dtype=torch.uint8), index=picture)


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """All counted people, P rows; what is said of keypoints is of matched people only.

    ``kinds``, ``distances`` and ``taken_for`` are (P, K), the rest (P,); ``oks`` is 0 for missed
    people.
    """

    kinds: IntArray
    distances: Array
    taken_for: IntArray
    oks: Array
    matched: Array
    by: dict[str, Array]


def _table(diagnoses: Sequence[Diagnosis], keypoints: int) -> _Table:
    rows = [(d.people, case) for d in diagnoses for case in d.cases if case.person >= 0]
    matched = np.array([case.outcome == "matched" for _, case in rows], np.float64)
    kinds = np.array([case.kinds for _, case in rows], np.int64).reshape(-1, keypoints)
    kinds[matched == 0] = NO_KIND
    areas = np.array([people.areas[case.person] for people, case in rows], np.float64)
    return _Table(
        kinds=kinds,
        distances=np.array([case.distances for _, case in rows]).reshape(kinds.shape),
        taken_for=np.array([case.taken_for for _, case in rows], np.int64).reshape(kinds.shape),
        oks=np.array([case.oks for _, case in rows], np.float64),
        matched=matched,
        by={
            "size": np.sqrt(areas),
            "labelled": np.array([p.labelled[case.person].sum() for p, case in rows], np.float64),
            "crowding": np.array([p.crowding[case.person] for p, case in rows], np.float64),
        },
    )


def _shares(kinds: IntArray) -> dict[str, float]:
    counts = np.bincount(kinds[kinds != NO_KIND], minlength=len(KINDS))
    return dict(zip(KINDS, (counts / max(int(counts.sum()), 1)).tolist(), strict=True))


def _joints(table: _Table, skeleton: Skeleton) -> Iterable[Joint]:
    known = table.kinds != NO_KIND
    variance = 2 * (2 * np.array(skeleton.sigmas)) ** 2
    lacking = np.where(known, 1 - np.exp(-(table.distances**2) / variance), 0)
    # OKS is the mean over a person's keypoints, so each lacks its part of that person's share
    lost = lacking / np.maximum(known.sum(axis=1, keepdims=True), 1)
    for k, name in enumerate(skeleton.keypoints):
        distances = table.distances[known[:, k], k]
        partner = (table.kinds[:, k] == INVERSION) & (table.taken_for[:, k] == skeleton.mirror[k])
        yield Joint(
            name=name,
            labelled=len(distances),
            shares=_shares(table.kinds[:, k]),
            median=float(np.median(distances)) if len(distances) else 0.0,
            mirrored=float(partner.sum() / max(len(distances), 1)),
            oks_lost=float(lost[:, k].sum() / max(table.matched.sum(), 1)) * 100,
        )


def _groups(by: str, table: _Table) -> Iterable[Group]:
    lows = BANDS[by]
    places = np.searchsorted(lows, table.by[by], side="right") - 1
    for place, low in enumerate(lows):
        mine = places == place
        count = max(int(mine.sum()), 1)
        oks = table.oks[mine]
        yield Group(
            by=by,
            low=low,
            people=int(mine.sum()),
            matched=float(table.matched[mine].sum() / count),
            oks=float(oks.sum() / count),
            recall50=float((oks >= 0.5).sum() / count),
            recall75=float((oks >= 0.75).sum() / count),
            shares=_shares(table.kinds[mine]),
        )


def _gain(name: str, numbers: dict[str, float], before: dict[str, float]) -> Gain:
    now, was = (row.get("AP", 0.0) for row in (numbers, before))  # none if nobody is labelled
    return Gain(name, now, numbers.get("AP50", 0.0), numbers.get("AP75", 0.0), now - was)


def _worst(truth: GroundTruth, diagnosis: Diagnosis, case: Case) -> Worst:
    names = diagnosis.poses.skeleton.keypoints
    errors = {
        kind: [names[k] for k in np.flatnonzero(case.kinds == index)]
        for index, kind in enumerate(KINDS)
        if index != GOOD
    }
    name = truth.pictures[diagnosis.picture].name
    return Worst(name, case.outcome, case.oks, case.score, {k: v for k, v in errors.items() if v})
