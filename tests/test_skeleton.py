"""Keypoint tables: mirror and sides agree with the names, and bad tables are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from hrpose.skeleton import AFLW19, COCO17, COFW29, FACE68, MPII16, SKELETONS, WFLW98, Skeleton

GOOD: dict[str, Any] = {
    "name": "three",
    "keypoints": ("nose", "left_eye", "right_eye"),
    "edges": ((0, 1), (0, 2)),
    "mirror": (0, 2, 1),
}


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_tables(skeleton: Skeleton) -> None:
    swap = {"left": "right", "right": "left", "middle": "middle"}
    for i, name in enumerate(skeleton.keypoints):
        twin = skeleton.mirror[i]
        assert skeleton.side(twin) == swap[skeleton.side(i)]
        assert skeleton.keypoints[twin].split("_")[-1] == name.split("_")[-1]
    # the drawn limbs of one side mirror those of the other, and reach every keypoint but these
    limbs = {frozenset(edge) for edge in skeleton.edges}
    assert {frozenset(skeleton.mirror[i] for i in limb) for limb in limbs} == limbs
    alone = set(range(len(skeleton))) - frozenset().union(*limbs)
    assert {skeleton.keypoints[i] for i in alone} <= {"left_pupil", "right_pupil", "chin"}
    assert {skeleton.mirror[i] for i in skeleton.upper_body} == set(skeleton.upper_body)


def test_coco_is_the_published_order() -> None:
    assert len(COCO17) == 17
    assert [COCO17.keypoints[i] for i in (0, 1, 5, 10, 11, 16)] == [
        "nose",
        "left_eye",
        "left_shoulder",
        "right_wrist",
        "left_hip",
        "right_ankle",
    ]
    assert {COCO17.keypoints[i].split("_")[-1] for i in COCO17.upper_body} == {
        *("nose", "eye", "ear", "shoulder", "elbow", "wrist")
    }


@pytest.mark.extra
def test_coco_sigmas_are_those_of_the_evaluation() -> None:
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    published = cocoeval.Params(iouType="keypoints").kpt_oks_sigmas
    assert COCO17.sigmas == pytest.approx(published.tolist())


def test_mpii_is_the_published_order() -> None:
    assert [MPII16.keypoints[i] for i in (0, 6, 9, 10, 15)] == [
        "right_ankle",
        "pelvis",
        "head_top",
        "right_wrist",
        "left_wrist",
    ]


def pairs(text: str, *, first: int = 0) -> set[tuple[int, int]]:
    """Published pairs of mirrored points, to count from 0."""
    found = {(int(a) - first, int(b) - first) for a, b in (p.split("-") for p in text.split())}
    return {(min(pair), max(pair)) for pair in found}


# MATCHED_PARTS of HRNet-Facial-Landmark-Detection (transforms.py); mmpose's tables say the same.
@pytest.mark.parametrize(
    ("skeleton", "published"),
    [
        (
            FACE68,
            pairs(
                "1-17 2-16 3-15 4-14 5-13 6-12 7-11 8-10 18-27 19-26 20-25 21-24 22-23 32-36 33-35"
                " 37-46 38-45 39-44 40-43 41-48 42-47 49-55 50-54 51-53 62-64 61-65 68-66 59-57"
                " 60-56",
                first=1,
            ),
        ),
        (
            WFLW98,
            pairs(
                "0-32 1-31 2-30 3-29 4-28 5-27 6-26 7-25 8-24 9-23 10-22 11-21 12-20 13-19 14-18"
                " 15-17 33-46 34-45 35-44 36-43 37-42 38-50 39-49 40-48 41-47 60-72 61-71 62-70"
                " 63-69 64-68 65-75 66-74 67-73 55-59 56-58 76-82 77-81 78-80 87-83 86-84 88-92"
                " 89-91 95-93 96-97"
            ),
        ),
        (COFW29, pairs("1-2 5-7 3-4 6-8 9-10 11-12 13-15 17-18 14-16 19-20 23-24", first=1)),
        (AFLW19, pairs("1-6 2-5 3-4 7-12 8-11 9-10 13-15 16-18", first=1)),
    ],
    ids=["face68", "wflw98", "cofw29", "aflw19"],
)
def test_faces_mirror_as_published(skeleton: Skeleton, published: set[tuple[int, int]]) -> None:
    assert {(i, j) for i, j in enumerate(skeleton.mirror) if i < j} == published


@pytest.mark.parametrize(
    ("skeleton", "points"),
    [
        (FACE68, {8: "chin", 30: "nose_tip", 36: "right_eye_0", 45: "left_eye_0", 57: "lower_lip"}),
        (WFLW98, {16: "chin", 60: "right_eye_0", 72: "left_eye_0", 97: "left_pupil"}),
        (COFW29, {8: "right_eye_0", 9: "left_eye_0", 28: "chin"}),
        (AFLW19, {6: "right_eye_0", 11: "left_eye_0", 18: "chin"}),
    ],
    ids=lambda value: value.name if isinstance(value, Skeleton) else "",
)
def test_faces_are_the_published_order(skeleton: Skeleton, points: dict[int, str]) -> None:
    assert len(skeleton) == int(skeleton.name[-2:])
    assert {i: skeleton.keypoints[i] for i in points} == points


def test_a_mirrored_mean_face_is_itself(shared: Path) -> None:
    rows = json.loads((shared / "data/faces/train.json").read_bytes())
    mean = np.mean([np.array(row["landmarks"]) / row["width"] for row in rows], axis=0)
    assert len(mean) == len(FACE68)
    mean -= mean.mean(axis=0)
    mirrored = mean * (-1, 1)
    distances = np.linalg.norm(mirrored[:, None] - mean[None], axis=2)
    # the pairs that fit best, found without the table, are those of the table
    assert linear_sum_assignment(distances**2)[1].tolist() == list(FACE68.mirror)
    # measured 0.046 of the eye distance at the chin, most of it because the mean is turned by 1.9
    # degrees; the inner ends of the brows are 0.35 apart
    eyes = np.linalg.norm(mean[36] - mean[45])
    assert distances[range(68), FACE68.mirror].max() / eyes < 0.05


@pytest.mark.parametrize(
    ("edge", "side"),
    [((5, 7), "left"), ((8, 6), "right"), ((5, 6), "middle"), ((0, 1), "left"), ((0, 2), "right")],
)
def test_limb_side(edge: tuple[int, int], side: str) -> None:
    assert COCO17.limb_side(edge) == side


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": ("nose", "left_eye", "left_eye")}, "not unique"),
        ({"mirror": (0, 1)}, "permutation of 3"),
        ({"mirror": (0, 2, 2)}, "permutation of 3"),
        ({"mirror": (1, 2, 0)}, "own inverse"),
        ({"edges": ((0, 3),)}, r"outside 0\.\.2"),
        ({"sigmas": (0.1, 0.1)}, "2 sigmas for 3"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_bad_tables(changes: dict[str, Any], message: str) -> None:
    Skeleton(**GOOD)
    with pytest.raises(ValueError, match=message):
        Skeleton(**{**GOOD, **changes})
