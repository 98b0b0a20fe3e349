"""What kind of error every keypoint and every person has, and results with one kind put right.

The taxonomy is that of Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance
Pose Estimation" (ICCV 2017). Their keypoint similarity of a found point to a labelled one is
``ks = exp(-d^2 / (2 s^2 k^2))``, with s^2 the person's area and k twice the COCO sigma. A keypoint
of a matched person is

    good       ks to its own label at least 0.85
    jitter     ks to its own label from 0.5 to 0.85
    inversion  below 0.5, but at least 0.5 to another keypoint of the same person
    swap       below 0.5, but at least 0.5 to any keypoint of another person
    miss       below 0.5 to every label in the picture

Where a point is as close to its own person's as to another's, the greater ks decides, and equal
ones are an inversion. The similarity to another keypoint takes that one's k and its person's area.
The authors' own program differs: it looks for inversions at the left/right partner only, and calls
a point that is nearer to another label an error although its own ks is above 0.5.

Matching is COCO's and the paper's: poses by falling score, each to the most similar person still
free, from an OKS of 0.1 on; the 20 best poses of a picture count. Poses that fit an ignored region
or a person without labelled keypoints do not count. Not of the paper: a pose and a person left over
whose boxes overlap by half are one ``lost`` person, for there the detector was right and the pose
network was not, and with ground-truth boxes nothing else would be true.

N poses, M people, K keypoints; px of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hrpose.evaluate.truth import GroundTruth
from hrpose.formats.coco import PERSON
from hrpose.similarity import box_iou
from hrpose.skeleton import Skeleton
from hrpose.types import IntArray, Poses

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

KINDS = ("good", "jitter", "inversion", "swap", "miss")
GOOD, JITTER, INVERSION, SWAP, MISS = range(len(KINDS))
NO_KIND = -1
GOOD_KS, NEAR_KS = 0.85, 0.5
MATCH_OKS = 0.1
MOST_POSES = 20  # of a picture, COCO's maxDets for keypoints
_COUNTED_OKS = 0.5  # COCO's lowest threshold: a pose this like an ignored person is no false alarm
_SAME_BOX = 0.5  # IoU


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """What is labelled in one picture.

    Attributes:
        points: (M, K, 2) px.
        labelled: (M, K) whether a keypoint is labelled, hidden ones included.
        areas: (M,) px^2.
        boxes: (M, 4) xyxy px.
        counted: (M,) False for crowds and people without a labelled keypoint.
        crowding: (M,) greatest IoU of the box with that of another person.
    """

    points: Array
    labelled: Flags
    areas: Array
    boxes: Array
    counted: Flags
    crowding: Array

    def __len__(self) -> int:
        return len(self.areas)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One person of the truth with the pose that is theirs, or one pose that is nobody's.

    Attributes:
        outcome: ``matched``, ``lost`` or ``missed`` for a person; ``duplicate`` (of a person who
            has a better pose), ``false alarm`` or ``ignored`` for a pose.
        kinds: (K,) index into ``KINDS``; -1 where not labelled or nothing was found.
        distances: (K,) to the label, as a share of the root of the person's area; 0 where
            ``kinds`` is -1.
        taken_for: (K,) the person's keypoint that an inversion is nearest to; -1 elsewhere.
        person: Row of the picture's people, or -1.
        pose: Row of the picture's poses, or -1.
        oks: Of the pair; 0 for a person alone, of a pose alone the greatest with anybody.
        score: Pose score; 0 for a missed person.
    """

    outcome: str
    kinds: IntArray
    distances: Array
    taken_for: IntArray
    person: int = -1
    pose: int = -1
    oks: float = 0.0
    score: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """One picture: its truth, its result, and what became of whom.

    Attributes:
        picture: Position in ``GroundTruth.pictures``.
        people: The truth.
        poses: The result.
        cases: All counted people, and the poses that are not theirs.
    """

    picture: int
    people: People
    poses: Poses
    cases: tuple[Case, ...]


def people_of(truth: GroundTruth, picture: int, skeleton: Skeleton) -> People:
    """The labelled people of the picture at a position in ``truth.pictures``."""
    entries = [
        entry
        for entry in truth.coco.imgToAnns.get(truth.pictures[picture].id, ())
        if entry["category_id"] == PERSON
    ]
    empty = [0.0] * (3 * len(skeleton))
    rows = np.array([entry.get("keypoints") or empty for entry in entries], np.float64)
    rows = rows.reshape(-1, len(skeleton), 3)
    crowd = np.array([bool(entry.get("iscrowd")) for entry in entries], bool)
    labelled = (rows[..., 2] > 0) & ~crowd[:, None]
    boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return People(
        points=rows[..., :2],
        labelled=labelled,
        areas=np.array([entry["area"] for entry in entries], np.float64),
        boxes=boxes,
        counted=labelled.any(axis=1),
        crowding=_crowding(boxes, crowd),
    )


def _crowding(boxes: Array, crowd: Flags) -> Array:
    iou = box_iou(boxes.astype(np.float32), boxes.astype(np.float32)).astype(np.float64)
    np.fill_diagonal(iou, 0)
    iou[:, crowd] = 0
    greatest: Array = iou.max(axis=1, initial=0)
    return greatest


def keypoint_similarity(points: Array, people: People, sigmas: Sequence[float]) -> Array:
    """Similarity of every found keypoint to every labelled one.

    Args:
        points: (N, K, 2) px.
        people: The truth, M people.
        sigmas: (K,) of the skeleton.

    Returns:
        (N, M, K, K), 0 to 1: of pose n's keypoint i to person m's keypoint j at ``[n, m, i, j]``;
        0 where j is not labelled.
    """
    squared = ((points[:, None, :, None] - people.points[None, :, None]) ** 2).sum(axis=-1)
    variance = (2 * np.array(sigmas)) ** 2
    area = people.areas[:, None, None] + np.spacing(1)
    return np.where(people.labelled[:, None], np.exp(-squared / (2 * area * variance)), 0.0)


def object_similarity(similarity: Array, people: People) -> Array:
    """(N, M) OKS as in the COCO evaluation: the mean over labelled keypoints, 0 without any.

    Args:
        similarity: (N, M, K, K) of :func:`keypoint_similarity`.
        people: The truth.
    """
    own = np.diagonal(similarity, axis1=2, axis2=3).sum(axis=-1)
    alike: Array = own / np.maximum(people.labelled.sum(axis=1), 1)
    return alike


def classify(similarity: Array, person: int, labelled: Flags) -> IntArray:
    """The kind of every keypoint of one pose that belongs to a person.

    Args:
        similarity: (M, K, K) of the pose, see :func:`keypoint_similarity`.
        person: Whose pose it is, of the M.
        labelled: (K,) of that person.

    Returns:
        (K,) indices into ``KINDS``; -1 where the person's keypoint is not labelled.
    """
    own = np.diagonal(similarity[person])
    others = similarity[person].copy()
    np.fill_diagonal(others, 0)
    inverted = others.max(axis=1)
    swapped = np.delete(similarity, person, axis=0).max(axis=(0, 2), initial=0)
    conditions = [
        ~labelled,
        own >= GOOD_KS,
        own >= NEAR_KS,
        np.maximum(inverted, swapped) < NEAR_KS,
        inverted >= swapped,
    ]
    return np.select(conditions, [NO_KIND, GOOD, JITTER, MISS, INVERSION], SWAP).astype(np.int64)


def diagnose(picture: int, people: People, poses: Poses) -> Diagnosis:
    """Finds what became of every person and every pose of a picture.

    Args:
        picture: Position in ``GroundTruth.pictures``.
        people: The truth.
        poses: The result.

    Raises:
        ValueError: The skeleton has no OKS sigmas.
    """
    sigmas = poses.skeleton.sigmas
    if not sigmas:
        raise ValueError(f"{poses.skeleton.name} has no sigmas, so no keypoint similarity")
    points = poses.keypoints.astype(np.float64)
    similarity = keypoint_similarity(points, people, sigmas)
    oks = object_similarity(similarity, people)
    order = np.argsort(-poses.scores, kind="stable")[:MOST_POSES].tolist()
    matched = _pairs(oks, order, people.counted, MATCH_OKS)
    rest = [n for n in order if n not in matched]
    free = people.counted & ~np.isin(np.arange(len(people)), list(matched.values()))
    iou = box_iou(poses.boxes, people.boxes.astype(np.float32)).astype(np.float64)
    lost = _pairs(iou, rest, free, _SAME_BOX)
    owners = {
        m: _owned("matched" if n in matched else "lost", (n, m), people, poses, similarity[n])
        for n, m in (matched | lost).items()
    }
    cases = [owners.get(m) or _alone("missed", people, person=m)
             for m in np.flatnonzero(people.counted).tolist()]  # fmt: skip
    near, unheld = oks.max(axis=1, initial=0), _ignored_similarity(points, people, sigmas)
    for n in rest:
        if n not in lost:
            outcome = "duplicate" if near[n] >= MATCH_OKS else "false alarm"
            outcome = "ignored" if unheld[n] >= _COUNTED_OKS else outcome
            case = _alone(outcome, people, pose=n)
            cases.append(replace(case, oks=float(near[n]), score=float(poses.scores[n])))
    return Diagnosis(picture, people, poses, tuple(cases))


def _owned(
    outcome: str, pair: tuple[int, int], people: People, poses: Poses, similarity: Array
) -> Case:
    """The case of a pose and its person; ``similarity`` (M, K, K) is the pose's."""
    n, m = pair
    labelled = people.labelled[m]
    kinds = classify(similarity, m, labelled)
    others = similarity[m].copy()
    np.fill_diagonal(others, 0)
    apart = np.linalg.norm(poses.keypoints[n].astype(np.float64) - people.points[m], axis=1)
    root = float(np.sqrt(people.areas[m] + np.spacing(1)))
    return Case(
        outcome=outcome,
        kinds=kinds,
        distances=np.where(labelled, apart / root, 0.0),
        taken_for=np.where(kinds == INVERSION, others.argmax(axis=1), -1),
        person=m,
        pose=n,
        oks=float(object_similarity(similarity[None], people)[0, m]),
        score=float(poses.scores[n]),
    )


def _alone(outcome: str, people: People, *, person: int = -1, pose: int = -1) -> Case:
    count = people.labelled.shape[1]
    none = np.full(count, NO_KIND)
    return Case(outcome, none, np.zeros(count), none, person, pose)


def _pairs(alike: Array, order: Sequence[int], free: Flags, least: float) -> dict[int, int]:
    """Pose -> person: in the order given, each takes the most alike of those still free."""
    free, pairs = free.copy(), {}
    for n in order:
        open_to = np.where(free, alike[n], -1.0)
        best = int(open_to.argmax()) if len(open_to) else 0
        if len(open_to) and open_to[best] >= least:
            pairs[int(n)] = best
            free[best] = False
    return pairs


def _ignored_similarity(points: Array, people: People, sigmas: Sequence[float]) -> Array:
    """(N,) greatest OKS with what is not counted: COCO's distance to the doubled box."""
    boxes, areas = people.boxes[~people.counted], people.areas[~people.counted]
    reach = boxes[:, 2:] - boxes[:, :2]
    low, high = boxes[:, :2] - reach, boxes[:, 2:] + reach
    spots = points[:, None]
    outside = np.maximum(low[:, None] - spots, 0) + np.maximum(spots - high[:, None], 0)
    variance = 2 * (areas[:, None] + np.spacing(1)) * (2 * np.array(sigmas)) ** 2
    alike = np.exp(-(outside**2).sum(axis=-1) / variance).mean(axis=-1)
    return np.asarray(alike.max(axis=1, initial=0))


def corrected(diagnosis: Diagnosis, parts: frozenset[str]) -> Poses:
    """The result of a picture with some kinds of error put right, the rest as it is.

    Args:
        diagnosis: The picture.
        parts: What is put right: kinds of ``KINDS`` (the keypoints of matched people take their
            labels' places; the authors' program leaves them a distance short of it, so its gains
            are smaller), ``lost`` (all labelled keypoints of lost people), ``missed``
            (missed people are added with score 1), ``false alarm`` (poses that are nobody's go),
            ``score`` (every score becomes the pose's OKS as it was found).
    """
    people, poses = diagnosis.people, diagnosis.poses
    points, boxes = poses.keypoints.copy(), poses.boxes
    scores, confidence = poses.box_scores, poses.keypoint_scores
    owned = [case for case in diagnosis.cases if case.person >= 0 and case.pose >= 0]
    for case in owned:
        if case.outcome == "lost":
            wrong = people.labelled[case.person] & ("lost" in parts)
        else:
            wrong = np.isin(case.kinds, [i for i, kind in enumerate(KINDS) if kind in parts])
        points[case.pose, wrong] = people.points[case.person, wrong]
    if "score" in parts:
        confidence, scores = np.ones_like(confidence), np.zeros_like(scores)
        for case in owned:
            scores[case.pose] = case.oks
    fixed = replace(
        poses, keypoints=points, boxes=boxes, box_scores=scores, keypoint_scores=confidence
    )
    if "false alarm" in parts:
        fixed = _subset(fixed, sorted(case.pose for case in owned))
    if "missed" in parts:
        rows = [case.person for case in diagnosis.cases if case.outcome == "missed"]
        fixed = _with_people(fixed, people, rows)
    return fixed


def _subset(poses: Poses, rows: Sequence[int]) -> Poses:
    kept = np.array(rows, np.int64)
    return replace(
        poses,
        keypoints=poses.keypoints[kept],
        keypoint_scores=poses.keypoint_scores[kept],
        boxes=poses.boxes[kept],
        box_scores=poses.box_scores[kept],
        track_ids=poses.track_ids[kept],
    )


def _with_people(poses: Poses, people: People, rows: Sequence[int]) -> Poses:
    points = people.points[rows].astype(np.float32)
    labelled = people.labelled[rows]
    for row, seen in zip(points, labelled, strict=True):
        row[~seen] = row[seen].mean(axis=0)  # (0, 0) would stretch the pose to the corner
    count = len(rows)
    return replace(
        poses,
        keypoints=np.concatenate([poses.keypoints, points]),
        keypoint_scores=np.concatenate([poses.keypoint_scores, np.ones_like(points[..., 0])]),
        boxes=np.concatenate([poses.boxes, people.boxes[rows].astype(np.float32)]),
        box_scores=np.concatenate([poses.box_scores, np.ones(count, np.float32)]),
        track_ids=np.concatenate([poses.track_ids, np.full(count, -1)]),
    )
