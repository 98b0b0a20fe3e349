"""Values that cross borders: shapes are checked once, repr shows them, scores follow the rule."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch

from hrpose.skeleton import COCO17, Skeleton
from hrpose.types import Codec, Crops, Detections, Frame, Peaks, Poses, Size

PAIR = Skeleton("pair", ("left_eye", "right_eye"), ((0, 1),), (1, 0))


def poses(people: int = 2, **changes: Any) -> Poses:
    values: dict[str, Any] = {
        "keypoints": np.zeros((people, 2, 2), np.float32),
        "keypoint_scores": np.ones((people, 2), np.float32),
        "boxes": np.zeros((people, 4), np.float32),
        "box_scores": np.ones(people, np.float32),
        "track_ids": np.full(people, -1),
        "size": Size(640, 480),
        "skeleton": PAIR,
    }
    return Poses(**{**values, **changes})


def test_frame() -> None:
    frame = Frame(torch.zeros(3, 48, 64, dtype=torch.uint8), source="a.jpg")
    assert frame.size == Size(width=64, height=48)
    assert repr(frame) == (
        "Frame(image=(3, 48, 64) uint8, index=0, time=None, source='a.jpg', damaged=False)"
    )
    with pytest.raises(FrozenInstanceError):
        frame.index = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Frame(torch.zeros(48, 64, 3, dtype=torch.uint8)),
            r"image has shape \(48, 64, 3\)",
        ),
        (lambda: Frame(torch.zeros(48, 64, dtype=torch.uint8)), "image has shape"),
        (lambda: Frame(torch.zeros(3, 48, 64)), "float32, expected uint8"),
        (lambda: Detections(torch.zeros(2, 4), torch.zeros(3)), r"boxes .* expected \(3, 4\)"),
        (lambda: Detections(torch.zeros(0), torch.zeros(0)), "boxes"),
        (lambda: Detections(torch.zeros(1, 4), torch.zeros(1, 1)), "scores"),
        (lambda: Peaks(torch.zeros(1, 2, 2), torch.zeros(1, 3)), "xy"),
        (lambda: crops(image_from_crop=torch.zeros(2, 3, 3)), "image_from_crop"),
        (lambda: crops(person=torch.zeros(3)), "person"),
        (lambda: crops(pixels=torch.zeros(2, 1, 8, 8)), "pixels"),
        (lambda: poses(keypoints=np.zeros((2, 3, 2), np.float32)), r"expected \(2, 2, 2\)"),
        (lambda: poses(keypoint_scores=np.zeros((1, 2), np.float32)), "keypoint_scores"),
        (lambda: poses(boxes=np.zeros((2, 5), np.float32)), "boxes"),
        (lambda: poses(track_ids=np.zeros(1, np.int64)), "track_ids"),
        (lambda: Codec(refine="udp"), "refine is 'udp'"),
    ],
)
def test_wrong_shapes_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def crops(**changes: Any) -> Crops:
    values = {
        "pixels": torch.zeros(2, 3, 8, 8),
        "image_from_crop": torch.zeros(2, 2, 3),
        "frame": torch.zeros(2, dtype=torch.int64),
        "person": torch.arange(2),
    }
    return Crops(**{**values, **changes})


def test_nobody_is_legal_everywhere() -> None:
    nobody = poses(0)
    assert len(nobody) == len(nobody.scores) == 0
    assert nobody.scores.dtype == np.float32
    assert len(Detections(torch.zeros(0, 4), torch.zeros(0))) == 0
    assert len(Peaks(torch.zeros(0, 17, 2), torch.zeros(0, 17))) == 0
    assert len(crops()) == 2


def test_pose_score_is_the_official_rescoring() -> None:
    people = poses(
        3,
        keypoint_scores=np.array([[0.9, 0.5], [0.9, 0.2], [0.1, 0.2]], np.float32),
        box_scores=np.array([0.5, 0.5, 0.9], np.float32),
    )
    np.testing.assert_allclose(people.scores, [0.35, 0.45, 0.0], atol=1e-6)


def test_repr_shows_shapes_and_the_skeleton_s_name() -> None:
    text = repr(poses(skeleton=PAIR))
    assert "keypoints=(2, 2, 2) float32" in text
    assert "skeleton=pair" in text
    assert len(COCO17) == 17
    assert "xy=(1, 2, 2) float32" in repr(Peaks(torch.zeros(1, 2, 2), torch.zeros(1, 2)))
