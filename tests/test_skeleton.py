"""Keypoint tables: mirror and sides agree with the names, and bad tables are refused."""

from __future__ import annotations

from typing import Any

import pytest

from hrpose.skeleton import COCO17, MPII16, SKELETONS, Skeleton

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
    # the drawn limbs of one side mirror those of the other, and reach every keypoint
    limbs = {frozenset(edge) for edge in skeleton.edges}
    assert {frozenset(skeleton.mirror[i] for i in limb) for limb in limbs} == limbs
    assert frozenset().union(*limbs) == set(range(len(skeleton)))
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
