"""The points in which evaluations on COCO differ, each seen to do what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hrpose.errors import BadAnnotation, InputError
from hrpose.evaluate.coco import distinct
from hrpose.evaluate.protocol import MMPOSE, OFFICIAL, Protocol
from hrpose.evaluate.truth import FileBoxes, GroundTruth
from hrpose.skeleton import COCO17
from hrpose.types import Poses, Size
from hrpose.zoo.specs import SPECS, find_spec

EXIF_ORIENTATION = 0x0112


def person(image: int, bbox: list[float], **changes: Any) -> dict[str, Any]:
    return {
        "id": 7, "image_id": image, "category_id": 1, "iscrowd": 0, "area": 100.0, "bbox": bbox,
        "num_keypoints": 17, "keypoints": [1.0, 1.0, 2] * 17, **changes,
    }  # fmt: skip


def write(path: Path, people: list[dict[str, Any]], *, size: Size = Size(60, 40)) -> Path:  # noqa: B008
    image = {"id": 5, "file_name": "a.jpg", "width": size.width, "height": size.height}
    path.write_text(json.dumps({"images": [image], "annotations": people}))
    return path


def save_turned(path: Path, orientation: int) -> None:
    """A black picture whose stored upper left is white, and that EXIF turns."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:16, :16] = 255
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(pixels).save(path, exif=exif, quality=95)


class TestExif:
    """Labels of COCO are for pixels as they are stored."""

    def test_is_ignored(self, tmp_path: Path) -> None:
        save_turned(tmp_path / "a.jpg", 3)
        data = write(tmp_path / "a.json", [])
        stored = GroundTruth(data, [tmp_path]).frame(0).image
        assert stored[:, 4, 4].min() > 200
        assert stored[:, -4, -4].max() < 50

    def test_can_be_applied(self, tmp_path: Path) -> None:
        save_turned(tmp_path / "a.jpg", 3)
        data = write(tmp_path / "a.json", [])
        turned = GroundTruth(data, [tmp_path], protocol=Protocol(apply_exif=True)).frame(0).image
        assert turned[:, 4, 4].max() < 50
        assert turned[:, -4, -4].min() > 200

    def test_a_picture_lying_on_its_side_keeps_its_size(self, tmp_path: Path) -> None:
        save_turned(tmp_path / "a.jpg", 6)
        data = write(tmp_path / "a.json", [])
        assert GroundTruth(data, [tmp_path]).frame(0).size == (60, 40)
        with pytest.raises(InputError, match="is 40x60, its labels are for 60x40"):
            GroundTruth(data, [tmp_path], protocol=Protocol(apply_exif=True)).frame(0)


BOXES = {
    "inside": ([10, 10, 20, 10], (10, 10, 29, 19), (10, 10, 30, 20), (10, 10, 30, 20)),
    "over the end": ([50, 30, 50, 50], (50, 30, 59, 39), (50, 30, 59, 39), (50, 30, 100, 80)),
    # the official code moves the corner in and keeps the width
    "over the start": ([-5, -9, 20, 30], (0, 0, 19, 29), (0, 0, 15, 21), (-5, -9, 15, 21)),
    "of a pixel": ([10, 10, 1, 1], (10, 10, 10, 10), (10, 10, 11, 11), (10, 10, 11, 11)),
    "behind the end": ([70, 10, 5, 5], None, None, (70, 10, 75, 15)),
}


@pytest.mark.parametrize("how", range(3), ids=["shrunk", "clipped", "raw"])
@pytest.mark.parametrize("case", BOXES)
def test_ground_truth_boxes(tmp_path: Path, case: str, how: int) -> None:
    given, *wanted = BOXES[case]
    data = write(tmp_path / "a.json", [person(5, given)])
    name: Any = ("shrunk", "clipped", "raw")[how]
    truth = GroundTruth(data, protocol=Protocol(truth_boxes=name))
    boxes = truth._boxes(truth.pictures[0])
    assert boxes.boxes.tolist() == ([] if wanted[how] is None else [list(wanted[how])])
    assert boxes.scores.tolist() == [1.0] * len(boxes)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, 1),
        ({"iscrowd": 1}, 0),
        ({"area": 0.0}, 0),
        ({"category_id": 2}, 0),
        ({"keypoints": [0] * 51, "num_keypoints": 0}, 0),
        ({"keypoints": [0] * 48 + [3.0, 3.0, 1]}, 1),
    ],
    ids=["person", "crowd", "no area", "other category", "no keypoint", "one hidden keypoint"],
)
def test_who_has_a_ground_truth_box(tmp_path: Path, changes: dict[str, Any], kept: int) -> None:
    truth = GroundTruth(write(tmp_path / "a.json", [person(5, [1, 1, 9, 9], **changes)]))
    assert len(truth._boxes(truth.pictures[0])) == kept


class TestDetections:
    """Boxes of a file: all scores, category 1, and coordinates as they are."""

    ROWS = (
        (1, [-10.5, 5, 30, 60], 0.9),
        (1, [0, 0, 9, 9], 0.0),
        (2, [1, 1, 5, 5], 0.8),
        (1, [20, 10, 10.25, 10], 0.3),
    )

    @pytest.fixture
    def found(self, tmp_path: Path) -> Path:
        rows = [{"image_id": 5, "category_id": c, "bbox": b, "score": s} for c, b, s in self.ROWS]
        (tmp_path / "found.json").write_text(json.dumps(rows))
        write(tmp_path / "a.json", [])
        return tmp_path

    def boxes(self, folder: Path, protocol: Protocol) -> tuple[list[Any], list[float]]:
        truth = GroundTruth(folder / "a.json", protocol=protocol)
        boxes = FileBoxes(folder / "found.json", truth, protocol=protocol)._of(truth.pictures[0])
        return boxes.boxes.tolist(), boxes.scores.tolist()

    def test_are_raw(self, found: Path) -> None:
        boxes, scores = self.boxes(found, OFFICIAL)
        assert boxes == [[-10.5, 5, 19.5, 65], [20, 10, 30.25, 20], [0, 0, 9, 9]]
        assert scores == pytest.approx([0.9, 0.3, 0.0])

    def test_can_be_cut_and_dropped(self, found: Path) -> None:
        boxes, _ = self.boxes(found, Protocol(clip_detections=True, box_threshold=0.31))
        assert boxes == [[0, 5, 19.5, 40]]

    def test_of_other_pictures(self, found: Path) -> None:
        rows = [{"image_id": 6, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1.0}]
        (found / "found.json").write_text(json.dumps(rows))
        with pytest.raises(BadAnnotation, match="not one box"):
            self.boxes(found, OFFICIAL)


def poses(points: np.ndarray, scores: list[float], side: float) -> Poses:
    """People of equal square boxes, whose keypoints all have the pose's score."""
    count = len(scores)
    return Poses(
        keypoints=points.astype(np.float32),
        keypoint_scores=np.ones((count, 17), np.float32),
        boxes=np.tile(np.array([0, 0, side, side], np.float32), (count, 1)),
        box_scores=np.array(scores, np.float32),
        track_ids=np.full(count, -1),
        size=Size(200, 200),
        skeleton=COCO17,
    )


class TestSuppression:
    BASE = np.random.default_rng(0).uniform(60, 100, (17, 2))

    def test_repetitions_go(self) -> None:
        three = poses(np.stack([self.BASE, self.BASE + 0.5, self.BASE + 90]), [0.5, 0.9, 0.7], 100)
        assert distinct(three, 0.75, OFFICIAL).box_scores.tolist() == pytest.approx([0.9, 0.7])
        assert len(distinct(three, 0.75, Protocol(nms="none"))) == 3
        assert len(distinct(three, 0.75, Protocol(oks_threshold=1))) == 3

    def test_soft_reorders_and_caps(self) -> None:
        three = poses(np.stack([self.BASE, self.BASE + 0.5, self.BASE + 90]), [0.5, 0.9, 0.7], 100)
        soft = distinct(three, 0.75, Protocol(nms="soft"))
        assert soft.box_scores.tolist() == pytest.approx([0.9, 0.7, 0.5])
        many = poses(np.stack([self.BASE + 30 * i for i in range(25)]), [0.5] * 25, 100)
        assert len(distinct(many, 0.75, Protocol(nms="soft"))) == 20
        assert len(distinct(many, 0.75, Protocol(nms="soft", most_people=3))) == 3
        assert len(distinct(many, 0.75, OFFICIAL)) == 25

    def test_the_padded_box_is_a_generous_scale(self) -> None:
        two = poses(np.stack([self.BASE, self.BASE + 2]), [0.9, 0.8], 100)
        assert len(distinct(two, 0.75, OFFICIAL)) == 1
        assert len(distinct(two, 0.75, replace(OFFICIAL, nms_area="keypoints"))) == 2

    @pytest.mark.parametrize("nms", ["oks", "soft", "none"])
    def test_nobody(self, nms: Any) -> None:
        none = poses(np.zeros((0, 17, 2)), [], 1)
        assert len(distinct(none, 0.75, Protocol(nms=nms))) == 0


def test_pose_score_by_its_rule() -> None:
    """The mean of the keypoint scores above 0.2, times the box score (coco.py:327-340)."""
    random = np.random.default_rng(1)
    people = poses(np.zeros((50, 17, 2)), random.random(50).tolist(), 1)
    people = replace(people, keypoint_scores=random.random((50, 17)).astype(np.float32) ** 3)
    people.keypoint_scores[0] = 0.2  # not above
    people.keypoint_scores[1, 5:] = 0
    for row, box, score in zip(
        people.keypoint_scores, people.box_scores, people.scores, strict=True
    ):
        sure = [float(s) for s in row if s > np.float32(0.2)]
        assert score == pytest.approx(np.mean(sure) * box if sure else 0, rel=1e-6)


def test_the_row_of_the_published_number() -> None:
    """AP 74.4 and 76.5 are of RGB, padding 1.25, the quarter offset and the shifted mirror."""
    spec = find_spec("hrnet_w32_256x192.official")
    assert spec.crop is not None
    assert spec.codec is not None
    assert (spec.crop.size, spec.crop.padding, spec.crop.bgr) == (Size(192, 256), 1.25, False)
    assert (spec.codec.stride, spec.codec.cell_offset) == (4, 0.0)
    assert (spec.codec.refine, spec.codec.mirror_shift) == ("quarter", True)


def test_only_simple_baselines_are_blue_first() -> None:
    """Their yamls say COLOR_RGB false; facts of other families say RGB. There is no row yet."""
    for name, spec in SPECS.items():
        if spec.crop is not None:
            assert spec.crop.bgr == name.startswith(("pose_resnet", "res")), name


def test_rows_differ_where_they_say() -> None:
    assert Protocol() == OFFICIAL
    assert replace(MMPOSE, truth_boxes="shrunk", nms_area="padded") == OFFICIAL


@pytest.mark.parametrize(
    ("name", "value"),
    [("nms", "hard"), ("truth_boxes", ""), ("nms_area", "box"), ("box_threshold", 1.5),
     ("box_threshold", float("nan")), ("oks_threshold", 0), ("oks_threshold", 2),
     ("most_people", 0)],
    ids=str,
)  # fmt: skip
def test_other_values_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        Protocol(**{name: value})
