"""COCO JSON: what the official evaluation reads, and boxes from others' files."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrpose.errors import BadAnnotation, InputError
from hrpose.formats.coco import CocoWriter, boxes_for, image_id, read_detections
from hrpose.skeleton import COCO17, MPII16, Skeleton
from hrpose.types import Poses, Size


def make(
    source: str, people: int = 1, *, time: float | None = None, skeleton: Skeleton = COCO17
) -> Poses:
    random = np.random.default_rng(people)
    low = random.random((people, 2), dtype=np.float32) * 100
    return Poses(
        keypoints=random.random((people, len(skeleton), 2), dtype=np.float32) * 400,
        keypoint_scores=random.random((people, len(skeleton)), dtype=np.float32),
        boxes=np.concatenate([low, low + np.float32([30, 60])], axis=1),
        box_scores=random.random(people, dtype=np.float32),
        track_ids=np.full(people, -1),
        size=Size(640, 480),
        skeleton=skeleton,
        frame=7,
        time=time,
        source=source,
    )


IDS: dict[str, int | str] = {
    "000000000139.jpg": 139,
    "val2017/000000000139.jpg": 139,
    "2017/photo.jpg": "photo.jpg",
    "photo.jpg": "photo.jpg",
    "clip.mp4": "clip.mp4",
    "COCO_val2014_000000000042.jpg": 42,
    "IMG_20240101_7b.png": 7,
    "a.1.jpg": 1,
    "0.jpg": 0,
    "x-5.jpg": 5,
    "123456789012345678.jpg": 123456789012345678,
    "1234567890123456789.jpg": "1234567890123456789.jpg",
    "\N{ARABIC-INDIC DIGIT FIVE}.jpg": "\N{ARABIC-INDIC DIGIT FIVE}.jpg",
    "caf\udce9.jpg": "caf\N{REPLACEMENT CHARACTER}.jpg",
    "": "",
}


@pytest.mark.parametrize(("source", "want"), IDS.items(), ids=ascii)
def test_image_id(source: str, want: int | str) -> None:
    assert image_id(source) == want


def written(*items: Poses) -> list[dict[str, Any]]:
    file = io.BytesIO()
    with CocoWriter(file) as writer:
        for poses in items:
            writer.write(poses)
            writer.fail("broken.jpg", "cut short")
    return json.loads(file.getvalue())


def test_results_hold_the_people_in_order() -> None:
    poses = make("000000000139.jpg", 3)
    entries = written(poses, make("photo.jpg", 0), make("photo.jpg", 1))
    assert [e["image_id"] for e in entries] == [139, 139, 139, "photo.jpg"]
    assert {e["category_id"] for e in entries} == {1}
    for i in range(3):
        points = np.array(entries[i]["keypoints"], np.float32).reshape(17, 3)
        assert np.array_equal(points[:, :2], poses.keypoints[i])
        assert np.array_equal(points[:, 2], poses.keypoint_scores[i])
        assert np.float32(entries[i]["score"]) == poses.scores[i]
        assert np.float32(entries[i]["bbox"][:2]).tolist() == poses.boxes[i, :2].tolist()
        assert entries[i]["bbox"][2:] == pytest.approx([30, 60], rel=1e-6)


def test_nothing_written_is_an_empty_list() -> None:
    assert written() == []


def test_frames_of_a_video_are_numbered() -> None:
    assert written(make("clip_2.mp4", time=0.0))[0]["image_id"] == 7


def test_names_that_are_not_utf8_can_be_written() -> None:
    assert written(make("\udcff.jpg"))[0]["image_id"] == "\N{REPLACEMENT CHARACTER}.jpg"


def test_wrong_arguments() -> None:
    file = io.BytesIO()
    writer = CocoWriter(file)
    with pytest.raises(ValueError, match="mpii16"):
        writer.write(make("a.jpg", skeleton=MPII16))
    bad = make("a.jpg", 2)
    bad.boxes[1, 3] = np.inf
    with pytest.raises(ValueError, match="NaN"):
        writer.write(bad)
    assert file.getvalue() == b"["
    writer.close()
    writer.close()
    assert json.loads(file.getvalue()) == []
    with pytest.raises(ValueError, match="closed"):
        writer.write(make("a.jpg"))


def test_an_error_in_the_block_leaves_no_valid_list() -> None:
    file = io.BytesIO()
    with contextlib.suppress(OSError), CocoWriter(file) as writer:
        writer.write(make("a.jpg"))
        raise OSError("disk full")
    with pytest.raises(ValueError, match="delimiter"):
        json.loads(file.getvalue())


def test_the_official_evaluation_reads_the_results(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    poses = make("000000000139.jpg", 2)
    results = written(poses)
    truth = coco.COCO()
    truth.dataset = {"images": [{"id": 139}], "annotations": [], "categories": [{"id": 1}]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        (tmp_path / "results.json").write_text(json.dumps(results))
        loaded = truth.loadRes(str(tmp_path / "results.json"))
    assert [loaded.anns[i]["score"] for i in (1, 2)] == pytest.approx(poses.scores.tolist())


ROW = {"image_id": 139, "category_id": 1, "bbox": [10.0, 20.0, 30.0, 40.0], "score": 0.5}


def stored(folder: Path, content: object) -> Path:
    path = folder / "boxes.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_detections_are_xyxy_best_first_and_people_only(tmp_path: Path) -> None:
    rows = [
        ROW,
        ROW | {"category_id": 18, "score": 0.99},
        ROW | {"score": 0.9, "bbox": [-5, 0, 10, 0], "area": 3, "segmentation": [[1, 2]]},
        ROW | {"image_id": "photo.jpg"},
    ]
    found = read_detections(stored(tmp_path, rows))
    assert list(found) == [139, "photo.jpg"]
    assert found[139].boxes.tolist() == [[-5, 0, 5, 0], [10, 20, 40, 60]]
    assert found[139].scores.tolist() == pytest.approx([0.9, 0.5])
    assert str(found[139].boxes.dtype) == "torch.float32"


def test_an_empty_list_knows_no_picture(tmp_path: Path) -> None:
    found = read_detections(stored(tmp_path, []))
    assert found == {}
    assert boxes_for(found, "139.jpg") is None


def truth_file() -> dict[str, Any]:
    box = {"category_id": 1, "iscrowd": 0, "bbox": [1, 2, 3, 4], "keypoints": [0] * 51}
    return {
        "info": {},
        "images": [
            {"id": 1, "file_name": "val/a_2.jpg", "width": 5},
            {"id": 2, "file_name": "val/b_1.jpg"},
            {"id": 3, "file_name": "empty.jpg"},
        ],
        "annotations": [
            box | {"image_id": 1},
            box | {"image_id": 1, "iscrowd": 1},
            box | {"image_id": 2, "bbox": [9, 9, 1, 1]},
            box | {"image_id": 2, "category_id": 3},
        ],
        "categories": [{"id": 1, "name": "person"}],
    }


def test_ground_truth_is_found_by_id_and_name(tmp_path: Path) -> None:
    found = read_detections(stored(tmp_path, truth_file()))
    assert found[1].boxes.tolist() == [[1, 2, 4, 6]]
    assert found[1].scores.tolist() == [1]
    assert found["val/b_1.jpg"] is found[2]
    assert len(found[2]) == 1
    assert found[3].boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("/data/coco/val/a_2.jpg", 1),
        ("val/b_1.jpg", 2),
        ("x/empty.jpg", 3),
        ("other/a_2.jpg", 2),
        ("photo_3.png", 3),
        ("photo.png", None),
    ],
)
def test_boxes_for_prefers_the_name_to_the_number(
    tmp_path: Path, source: str, key: int | None
) -> None:
    found = read_detections(stored(tmp_path, truth_file()))
    assert boxes_for(found, source) is (None if key is None else found[key])


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in ROW.items() if name != key}


BAD: dict[str, tuple[object, str]] = {
    "no score": ([ROW, without("score")], r"score.*\$\[1\]"),
    "no id": ([without("image_id")], r"image_id.*\$\[0\]"),
    "short box": ([ROW, ROW, ROW | {"bbox": [1, 2, 3]}], r"\$\[2\]\.bbox"),
    "negative width": ([ROW, ROW | {"bbox": [1, 2, -3, 4]}], r"\$\[1\]\.bbox"),
    "beyond reason": ([ROW | {"bbox": [1, 2, 3, 1e30]}], r"\$\[0\]\.bbox"),
    "score 7": ([ROW | {"score": 7}], r"\$\[0\]\.score"),
    "null": ([None], r"\$\[0\]"),
    "NaN": ([ROW | {"score": float("nan")}], "malformed|invalid"),
    "text": (b"hello", "not COCO boxes"),
    "empty": (b"", "not COCO boxes"),
    "cut": (json.dumps([ROW]).encode()[:-5], "not COCO boxes"),
    "not utf-8": (b'[{"image_id":"\xff"}]', "not COCO boxes"),
    "deep": (b'{"x":' * 10**5, "not COCO boxes"),
    "number": (b"5", "not COCO boxes"),
    "no images": ({"annotations": []}, "images"),
    "stray annotation": (truth_file() | {"images": []}, r"image 1 .*annotations\[0\]"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_malformed_files_are_named(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(BadAnnotation, match=message) as caught:
        read_detections(stored(tmp_path, content))
    assert "boxes.json" in caught.value.message


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json"):
        read_detections(tmp_path / "none.json")
    with pytest.raises(InputError):
        read_detections(tmp_path)


def test_the_dev_detections_can_be_read(shared: Path) -> None:
    people = shared / "data" / "people"
    found = read_detections(people / "dev_detections.json")
    raw = json.loads((people / "dev_detections.json").read_bytes())
    assert sum(len(d) for d in found.values()) == sum(r["category_id"] == 1 for r in raw)
    truth = read_detections(people / "dev.json")
    assert boxes_for(truth, "000000000139.jpg") is truth[139]
