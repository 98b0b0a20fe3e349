"""Box AP50 and recall against a small implementation of their definition (COCO, IoU 0.5).

Greedy: in each picture boxes, best first, take the labelled person of greatest overlap that is
still free. Those that only fit a crowd count neither way. AP is the mean, over recalls 0, 0.01,
... 1, of the greatest precision at that recall or beyond.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from hrpose.evaluate.coco import box_metrics
from hrpose.evaluate.truth import GroundTruth
from hrpose.types import Detections, Frame

MOST = 100  # boxes of a picture that count
RECALLS = np.linspace(0, 1, 101)  # as pycocotools rounds them: 7 of 20 is below its 0.35
PIXEL = torch.zeros(3, 1, 1, dtype=torch.uint8)

Box = tuple[float, float, float, float]


@dataclass
class Scene:
    """One picture: labelled people as xyxy, whether each is a crowd, and boxes with scores."""

    people: list[Box]
    crowd: list[bool]
    found: list[tuple[float, Box]]


def overlap(box: Box, person: Box, *, crowd: bool) -> float:
    """IoU; of a crowd, the share of the box that lies in it."""
    sides = [min(box[i + 2], person[i + 2]) - max(box[i], person[i]) for i in (0, 1)]
    inner = max(sides[0], 0) * max(sides[1], 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, person)]
    return inner / (areas[0] if crowd else sum(areas) - inner)


def verdicts(scene: Scene) -> list[tuple[float, bool]]:
    """Score and rightness of every box that counts."""
    free, out = {i for i, crowd in enumerate(scene.crowd) if not crowd}, []
    for score, box in sorted(scene.found, reverse=True)[:MOST]:
        fits = {i: overlap(box, scene.people[i], crowd=False) for i in free}
        best = max(fits, key=fits.__getitem__, default=None)
        if best is not None and fits[best] >= 0.5:
            free.remove(best)
            out.append((score, True))
        elif not any(
            crowd and overlap(box, person, crowd=True) >= 0.5
            for person, crowd in zip(scene.people, scene.crowd, strict=True)
        ):
            out.append((score, False))
    return out


def measured(scenes: list[Scene]) -> tuple[float, float]:
    """AP50 and recall, percent."""
    people = sum(not crowd for scene in scenes for crowd in scene.crowd)
    right, points = 0, []
    for count, (_, good) in enumerate(
        sorted((v for scene in scenes for v in verdicts(scene)), reverse=True), start=1
    ):
        right += good
        points.append((right / people, right / count))
    best = [max((p for r, p in points if r >= recall), default=0.0) for recall in RECALLS]
    return 100 * sum(best) / 101, 100 * right / people


def random_box(random: np.random.Generator) -> Box:
    x, y = random.uniform(0, 200, 2)
    width, height = random.uniform(10, 120, 2)
    return float(x), float(y), float(x + width), float(y + height)


def scene(random: np.random.Generator, *, crowds: bool, alarms: int) -> Scene:
    """People who are found well, badly, twice or not at all, and boxes of nobody."""
    people = [random_box(random) for _ in range(random.integers(0, 7))]
    near = [
        np.array(people[i]) + random.normal(0, random.choice([2, 10, 25]), 4)
        for i in random.integers(0, max(len(people), 1), 2 * len(people))
    ]
    boxes = [(x1, y1, max(x2, x1 + 2), max(y2, y1 + 2)) for x1, y1, x2, y2 in map(list, near)]
    boxes += [random_box(random) for _ in range(random.integers(0, alarms))]
    return Scene(
        people,
        [bool(crowds and random.random() < 0.3) for _ in people],
        [(float(random.random()), tuple(map(float, box))) for box in boxes],
    )


def stored(folder: Path, scenes: list[Scene]) -> GroundTruth:
    people = [
        {
            "image_id": image, "category_id": 1, "iscrowd": int(crowd), "keypoints": [0] * 51,
            "num_keypoints": 0, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1),
        }
        for image, one in enumerate(scenes)
        for (x1, y1, x2, y2), crowd in zip(one.people, one.crowd, strict=True)
    ]  # fmt: skip
    document = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": 400, "height": 400}
            for i in range(len(scenes))
        ],
        "annotations": [{"id": i} | person for i, person in enumerate(people, start=1)],
        "categories": [{"id": 1, "name": "person"}],
    }
    (folder / "truth.json").write_text(json.dumps(document))
    return GroundTruth(folder / "truth.json", [folder])


def results(scenes: list[Scene]) -> list[tuple[Frame, Detections]]:
    return [
        (
            Frame(PIXEL, index=i),
            Detections(
                torch.tensor([box for _, box in one.found], dtype=torch.float64).view(-1, 4),
                torch.tensor([score for score, _ in one.found], dtype=torch.float64),
            ),
        )
        for i, one in enumerate(scenes)
    ]


@pytest.mark.parametrize("crowds", [False, True], ids=["people", "crowds"])
@pytest.mark.parametrize("seed", range(12))
def test_equals_the_definition(tmp_path: Path, seed: int, crowds: bool) -> None:
    random = np.random.default_rng(seed)
    # enough boxes of nobody in every third case that the limit of 100 a picture bites
    scenes = [scene(random, crowds=crowds, alarms=6 if seed % 3 else 250) for _ in range(8)]
    ap50, recall = measured(scenes)
    found = box_metrics(stored(tmp_path, scenes), results(scenes))
    assert 0 < ap50 < 100
    assert found["AP50"] == pytest.approx(ap50, abs=1e-6)
    assert found["recall50"] == pytest.approx(recall, abs=1e-6)
    assert found["AP"] <= found["AP50"] + 1e-9


def test_worked_out_by_hand(tmp_path: Path) -> None:
    """Two people; best box right, second of nobody, third right: precisions 1, 1/2, 2/3."""
    people: list[Box] = [(0, 0, 100, 100), (200, 200, 300, 300)]
    boxes: list[Box] = [people[0], (100, 200, 150, 300), (200, 200, 300, 251)]
    scenes = [Scene(people, [False] * 2, list(zip([0.9, 0.8, 0.7], boxes, strict=True)))]
    # recalls 0 to 0.5 at precision 1, above at 2/3
    assert measured(scenes) == pytest.approx((100 * (51 + 50 * 2 / 3) / 101, 100))
    found = box_metrics(stored(tmp_path, scenes), results(scenes))
    assert found["AP50"] == pytest.approx(100 * (51 + 50 * 2 / 3) / 101)
    assert found["recall50"] == pytest.approx(100)
