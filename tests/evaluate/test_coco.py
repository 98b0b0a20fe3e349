"""AP against data whose numbers are known: the truth itself, and published detections."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hrpose.errors import BadAnnotation, InputError
from hrpose.evaluate.coco import GroundTruth, box_metrics, keypoint_metrics
from hrpose.formats.coco import read_detections
from hrpose.skeleton import COCO17
from hrpose.types import Detections, Frame, Poses


def _person(image: int, row: int, box: tuple[float, float, float, float]) -> dict[str, object]:
    x, y, w, h = box
    points = [
        value
        for k in range(17)
        for value in (x + w * (0.2 + 0.6 * (k % 4) / 3), y + h * (k + 0.5) / 17, 2)
    ]
    return {
        "id": image * 10 + row, "image_id": image, "category_id": 1, "iscrowd": 0,
        "bbox": [x, y, w, h], "area": w * h * 0.53, "keypoints": points, "num_keypoints": 17,
    }  # fmt: skip


@pytest.fixture
def truth(tmp_path: Path) -> GroundTruth:
    """Two pictures of two people and one of nobody; the second picture is not fully labelled."""
    images = [
        {"id": i, "file_name": f"{i}.png", "width": 200, "height": 150, "gt_complete": i != 2}
        for i in (1, 2, 3)
    ]
    people = [
        _person(image, row, box)
        for image in (1, 2)
        for row, box in enumerate([(10.0, 20.0, 40.0, 100.0), (100.0, 5.0, 60.0, 140.0)])
    ]
    document = {
        "images": images,
        "annotations": people,
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(document))
    for entry in images:
        Image.new("RGB", (200, 150)).save(tmp_path / str(entry["file_name"]))
    return GroundTruth(tmp_path / "truth.json", [tmp_path])


def _poses(truth: GroundTruth, *, moved: float = 0.0) -> list[tuple[Frame, Poses]]:
    """The truth as a result, each keypoint moved by a share of the root of the person's area."""
    results = []
    for frame in truth.frames():
        people = truth.coco.imgToAnns[truth.pictures[frame.index].id]
        points = np.array([p["keypoints"] for p in people], np.float32).reshape(-1, 17, 3)[..., :2]
        scale = np.sqrt([p["area"] for p in people]).astype(np.float32).reshape(-1, 1)
        points[..., 0] += moved * scale
        count = len(people)
        results.append(
            (
                frame,
                Poses(
                    keypoints=points,
                    keypoint_scores=np.ones((count, 17), np.float32),
                    boxes=np.zeros((count, 4), np.float32),
                    box_scores=np.linspace(1, 0.5, count).astype(np.float32),
                    track_ids=np.full(count, -1),
                    size=frame.size,
                    skeleton=COCO17,
                ),
            )
        )
    return results


def test_truth_scores_a_hundred(truth: GroundTruth) -> None:
    numbers = keypoint_metrics(truth, _poses(truth))
    assert numbers["AP"] == pytest.approx(100)
    assert numbers["AR"] == pytest.approx(100)


def test_error_follows_the_oks_formula(truth: GroundTruth) -> None:
    moved = 0.1
    oks = np.mean([np.exp(-(moved**2) / (2 * (2 * s) ** 2)) for s in COCO17.sigmas])
    passed = np.mean([oks >= t for t in np.arange(0.5, 0.96, 0.05)])
    assert 0 < passed < 1
    numbers = keypoint_metrics(truth, _poses(truth, moved=moved))
    assert numbers["AP"] == pytest.approx(100 * passed, abs=0.1)


def test_missed_people_lower_recall(truth: GroundTruth) -> None:
    results = _poses(truth)[:1]  # nothing of picture 2
    assert keypoint_metrics(truth, results)["AR"] == pytest.approx(50)
    assert keypoint_metrics(truth, results, pictures=[1, 3])["AR"] == pytest.approx(100)


def test_nobody_found_is_zero(truth: GroundTruth) -> None:
    assert keypoint_metrics(truth, [])["AP"] == 0
    assert box_metrics(truth, [])["recall50"] == 0


def test_pictures_that_are_not_fully_labelled(truth: GroundTruth) -> None:
    assert truth.complete == [1, 3]


def test_ground_truth_boxes_are_cleaned_as_in_the_official_code(truth: GroundTruth) -> None:
    frames = list(truth.frames())
    first, _, empty = truth.boxes(frames)
    assert first.boxes.tolist() == [[10, 20, 49, 119], [100, 5, 159, 144]]
    assert len(empty) == 0
    people = truth.coco.imgToAnns[1]
    people[0]["bbox"] = [-5.0, -5.0, 300.0, 50.0]
    people[1]["keypoints"] = [0] * 51
    assert truth.boxes(frames[:1])[0].boxes.tolist() == [[0, 0, 199, 49]]


def test_recall_counts_boxes_above_half_overlap(truth: GroundTruth) -> None:
    frame = next(truth.frames())
    good, shifted = [10.0, 20.0, 50.0, 120.0], [140.0, 5.0, 200.0, 145.0]
    found = Detections(torch.tensor([good, shifted]), torch.tensor([0.9, 0.8]))
    assert box_metrics(truth, [(frame, found)], pictures=[1])["recall50"] == pytest.approx(50)


@pytest.mark.parametrize(
    ("rows", "name", "stats"),
    [
        ("fused", "", ("AP", "AP50", "AR100")),
        # its file leaves out scores below 0.1, which were counted for AR100
        ("picodet_s_320", "_picodet", ("AP", "AP50")),
    ],
)
def test_published_detections_give_their_numbers(
    shared: Path, rows: str, name: str, stats: tuple[str, ...]
) -> None:
    people = shared / "data/people"
    truth = GroundTruth(people / "dev.json", [people / "dev-images.zip"])
    found = read_detections(people / f"dev_detections{name}.json")
    pixel = torch.zeros(3, 1, 1, dtype=torch.uint8)
    results = [
        (Frame(pixel, index=i), found[picture.id])
        for i, picture in enumerate(truth.pictures)
        if picture.id in found
    ]
    expected = json.loads((people / "dev_expected.json").read_text())
    for group, pictures in (
        ("detectors_bbox", None),
        ("detectors_bbox_complete_gt_images", truth.complete),
    ):
        numbers = box_metrics(truth, results, pictures=pictures)
        for stat in stats:
            # the published rows are said to be right to 0.3 points
            assert numbers[stat] == pytest.approx(100 * expected[group][rows][stat], abs=0.3)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": []}', '{"images": [{"id": 1}]}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BadAnnotation, match=r"x\.json"):
        GroundTruth(tmp_path / "x.json", [tmp_path])


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none"):
        GroundTruth(tmp_path / "none.json", [tmp_path])
