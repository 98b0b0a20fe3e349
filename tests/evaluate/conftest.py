"""A scene whose errors are known by construction: people whose keypoints are far apart."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hrpose.evaluate.truth import GroundTruth
from hrpose.skeleton import COCO17
from hrpose.types import Frame, Poses, Size

SIZE = Size(800, 260)
AREA = 100.0**2
# 60 px apart, and the widest keypoint (a hip) is near (ks 0.5) within 26 px
LAYOUT = np.array([(30 + 60 * (k % 5), 30 + 60 * (k // 5)) for k in range(17)], np.float64)


def _labels(person: int) -> np.ndarray:
    return LAYOUT + np.array([400.0 * person, 0.0])


@dataclass(frozen=True)
class Scene:
    """Pictures of two people each, at 0 and at 400 px."""

    truth: GroundTruth

    def points(self, person: int) -> np.ndarray:
        """(17, 2) labels of a person."""
        return _labels(person)

    def result(
        self,
        index: int,
        points: Sequence[np.ndarray],
        *,
        scores: Sequence[float] | None = None,
        boxes: Sequence[Sequence[float]] | None = None,
    ) -> tuple[Frame, Poses]:
        """A picture's poses, by default with falling scores and boxes that fit nobody."""
        count = len(points)
        given = np.linspace(0.9, 0.5, count) if scores is None else np.array(scores)
        poses = Poses(
            keypoints=np.array(points, np.float32).reshape(count, 17, 2),
            keypoint_scores=np.ones((count, 17), np.float32),
            boxes=np.array(boxes or np.zeros((count, 4)), np.float32).reshape(count, 4),
            box_scores=given.astype(np.float32),
            track_ids=np.full(count, -1),
            size=SIZE,
            skeleton=COCO17,
        )
        frame = Frame(torch.empty((3, 0, 0), dtype=torch.uint8), index=index)
        return frame, poses


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., Scene]:
    """Makes a scene in a folder: ``make_scene(folder, names=("1.png",), people=2, crowd=False)``.

    The nose of person 1 is not labelled. A crowd fills the middle of every picture if asked for.
    """

    def make(
        folder: Path, *, names: Sequence[str] = ("1.png",), people: int = 2, crowd: bool = False
    ) -> Scene:
        images, persons = [], []
        for i, name in enumerate(names, start=1):
            Image.new("RGB", SIZE, (90, 120, 90)).save(folder / name, format="PNG")
            images.append({"id": i, "file_name": name, "width": SIZE.width, "height": SIZE.height})
            for person in range(people):
                flags = [0 if (person, k) == (1, 0) else 2 for k in range(17)]
                triples = np.column_stack([_labels(person), flags])
                persons.append(
                    {
                        "id": 10 * i + person, "image_id": i, "category_id": 1, "iscrowd": 0,
                        "bbox": [400.0 * person, 0.0, 300.0, 240.0], "area": AREA,
                        "keypoints": triples.ravel().tolist(),
                        "num_keypoints": sum(map(bool, flags)),
                    }
                )  # fmt: skip
            if crowd:
                persons.append(
                    {
                        "id": 10 * i + 9, "image_id": i, "category_id": 1, "iscrowd": 1,
                        "bbox": [300.0, 0.0, 100.0, 240.0], "area": 24000.0,
                        "keypoints": [0] * 51, "num_keypoints": 0,
                    }
                )  # fmt: skip
        document = {
            "images": images,
            "annotations": persons,
            "categories": [{"id": 1, "name": "person"}],
        }
        (folder / "truth.json").write_text(json.dumps(document))
        return Scene(GroundTruth(folder / "truth.json", [folder]))

    return make


@pytest.fixture
def scene(make_scene: Callable[..., Scene], tmp_path: Path) -> Scene:
    """One picture of two people."""
    return make_scene(tmp_path)
