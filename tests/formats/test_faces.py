"""Labelled faces in three forms: the same face in each, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrpose.errors import BadAnnotation, InputError
from hrpose.formats.faces import WFLW_SUBSETS, read_faces
from hrpose.types import Size

POINTS = [[10.25, 20.5], [30.0, 22.0], [20.0, 41.75]]


def saved(path: Path, document: object) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def row(**changes: Any) -> dict[str, Any]:
    return {"file": "a.jpg", "landmarks": POINTS, **changes}


def coco(*faces: dict[str, Any], **image: Any) -> dict[str, Any]:
    points = [value for x, y in POINTS for value in (x, y, 1)]
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 90, "height": 80, **image}],
        "annotations": [{"image_id": 7, "keypoints": points, **face} for face in faces],
        "categories": [{"id": 1}],
    }


def wflw(points: Any, box: Any, flags: str, name: str) -> str:
    numbers = [*np.asarray(points).ravel(), *box]
    return " ".join([*(f"{v:.6f}" for v in numbers), *flags, name])


def test_rows(tmp_path: Path) -> None:
    rows = [
        row(box=[1, 2, 31, 42], shard="z.zip", width=90, height=80, subset=["x", "y"]),
        row(file="b.jpg", source="web", box_size=12.5),
    ]
    faces = read_faces(saved(tmp_path / "faces.json", rows))
    assert len(faces) == 2
    assert (faces.names, faces.shards) == (("a.jpg", "b.jpg"), ("z.zip", ""))
    assert faces.sizes == (Size(90, 80), None)
    assert np.array_equal(faces.points, [POINTS, POINTS])
    assert faces.labelled.all()
    assert np.array_equal(faces.boxes, [[1, 2, 31, 42], [10.25, 20.5, 30, 41.75]])
    assert faces.box_sizes.tolist() == [40, 12.5]
    assert {name: flags.tolist() for name, flags in faces.subsets.items()} == {
        "x": [True, False],
        "y": [True, False],
        "web": [False, True],
    }
    assert np.array_equal(faces.tight, [[10, 20, 30, 42]] * 2)


def test_coco_form(tmp_path: Path) -> None:
    hidden = [10.25, 20.5, 1, 99, 99, 0, 20, 41.75, 2]
    document = coco(
        {"bbox": [1, 2, 30, 40], "center": [20, 30.5], "scale": 0.125, "box_size": 25},
        {"bbox": [1, 2, 30, 40], "keypoints": hidden, "subset": "hard"},
        {"bbox": [1, 2, 30, 40], "keypoints": [0.0] * 9},
        {"bbox": [1, 2, 30, 40], "iscrowd": 1},
    )
    faces = read_faces(saved(tmp_path / "coco.json", document))
    assert faces.names == ("a.jpg", "a.jpg")
    assert faces.sizes == (Size(90, 80),) * 2
    # a square of 25 px around the centre goes before the wider bbox
    assert np.array_equal(faces.boxes, [[7.5, 18, 32.5, 43], [1, 2, 31, 42]])
    assert faces.box_sizes.tolist() == [25, 40]
    assert faces.labelled.tolist() == [[True] * 3, [True, False, True]]
    assert np.array_equal(faces.tight[1], [10, 20, 20, 42])
    assert faces.subsets["hard"].tolist() == [False, True]


def test_tight_boxes_are_mmpose_s_centres_and_scales(tmp_path: Path) -> None:
    # extremes of the two faces of mmpose's tests/data/wflw/test_wflw.json and 300w/test_300w.json,
    # whose center and scale come from the official repository's tables
    rows = [
        row(landmarks=[[440.696106, 122.172989], [524.604004, 206.402104]]),
        row(landmarks=[[268.0, 265.0], [710.702, 741.209]]),
    ]
    boxes = read_faces(saved(tmp_path / "faces.json", rows)).tight
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    scales = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) / 200
    assert centres.tolist() == [[482.5, 164.5], [489.5, 503.5]]
    assert scales.tolist() == [0.425, 2.385]


def test_wflw_list(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(0, 500, (2, 98, 2)).round(6)
    text = "\n".join(
        (
            wflw(points[0], (1, 2, 3, 5), "000000", "0--Parade/0_a.jpg"),
            "",
            wflw(points[1], (4, 5, 9, 7), "100010", "with a space.jpg"),
        )
    )
    faces = read_faces(saved(tmp_path / "list.txt", "\ufeff" + text + "\n"))
    assert faces.names == ("0--Parade/0_a.jpg", "with a space.jpg")
    assert np.array_equal(faces.points, points)
    assert np.array_equal(faces.boxes, [[1, 2, 3, 5], [4, 5, 9, 7]])
    assert {name for name, flags in faces.subsets.items() if flags[1]} == {"pose", "occlusion"}
    assert len(WFLW_SUBSETS) == 6


GOOD = wflw(np.ones((98, 2)), (0, 0, 1, 1), "000000", "a.jpg")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "the list is empty"),
        ([row(landmarks=[])], r"landmarks"),
        ([row(landmarks=[[1, 2, 3]])], r"\$\[0\]\.landmarks\[0\]"),
        ([row(landmarks=[[1, 1e9]])], r"\$\[0\]\.landmarks\[0\]"),
        ([{"file": "a.jpg"}], "landmarks"),
        ([row(), row(file="b.jpg", landmarks=POINTS[:2])], r"face 1 \(b\.jpg\) has 2 points"),
        (coco({"image_id": 8}), r"no image 8 - at \$\.annotations\[0\]"),
        (coco({"keypoints": [1.0] * 4}), r"no triples - at \$\.annotations\[0\]"),
        (coco(), "the list is empty"),
        ({"images": []}, "annotations"),
        ("", "the list is empty"),
        (GOOD + "\n" + GOOD.rpartition(" ")[0], "206 words instead of 207 in line 2"),
        (GOOD.replace("1.000000", "x", 1), "no number in line 1"),
        (GOOD.replace("1.000000", "nan", 1), "not a number in line 1"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 50 else "",
)
def test_bad_files(tmp_path: Path, document: object, said: str) -> None:
    path = saved(tmp_path / "faces.txt", document)
    with pytest.raises(BadAnnotation, match=said) as caught:
        read_faces(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("content", [b"[{", b"\xff\xfe\x00", b"[1, 2"])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "faces.json").write_bytes(content)
    with pytest.raises(BadAnnotation):
        read_faces(tmp_path / "faces.json")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_faces(tmp_path / "faces.json")
