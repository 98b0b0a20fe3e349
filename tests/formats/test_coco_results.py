"""COCO keypoint results in: of hrpose, of others, and the refusal of what is neither."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from hrpose.errors import BadAnnotation
from hrpose.formats.coco import CocoWriter
from hrpose.formats.coco_results import iter_coco
from hrpose.formats.hints import UNKNOWN, Hints
from hrpose.skeleton import COCO17, MPII16
from hrpose.types import Poses, Size


def make(people: int, **changes: Any) -> Poses:
    random = np.random.default_rng(people)
    low = random.random((people, 2), dtype=np.float32) * 100
    fields: dict[str, Any] = {
        "keypoints": random.random((people, 17, 2), dtype=np.float32) * 400,
        "keypoint_scores": random.random((people, 17), dtype=np.float32),
        "boxes": np.concatenate([low, low + np.float32([30, 60])], axis=1),
        "box_scores": random.random(people, dtype=np.float32),
        "track_ids": np.arange(people) - 1,
        "size": Size(640, 480),
        "skeleton": COCO17,
        "source": "a_7.jpg",
    }
    return Poses(**{**fields, **changes})


def written(*items: Poses) -> bytes:
    file = io.BytesIO()
    with CocoWriter(file) as writer:
        for poses in items:
            writer.write(poses)
    return file.getvalue()


def read(data: bytes, hints: Hints | None = None) -> list[Poses]:
    return list(iter_coco(io.BytesIO(data), "clip", hints or Hints())[1])


LAYOUTS = {
    "a line each": lambda data: data,
    "one line": lambda data: json.dumps(json.loads(data)).encode(),
    "indented": lambda data: json.dumps(json.loads(data), indent=2).encode(),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_people_come_back(layout: Any) -> None:
    items = [make(3), make(0), make(1, source="plain.jpg")]
    first, second = read(layout(written(*items)))
    assert (first.source, second.source) == ("7", "plain.jpg")
    assert (first.frame, first.time, first.size) == (0, None, UNKNOWN)
    for got, want in ((first, items[0]), (second, items[2])):
        assert np.array_equal(got.keypoints, want.keypoints)
        assert np.array_equal(got.keypoint_scores, want.keypoint_scores)
        assert got.boxes == pytest.approx(want.boxes, rel=1e-6)
        assert got.scores == pytest.approx(want.scores, rel=1e-6)
        assert got.track_ids.tolist() == want.track_ids.tolist()


def test_with_fps_ids_are_frames_of_a_video() -> None:
    data = written(make(1, time=0.1, frame=3), make(1, time=0.5, frame=15))
    found = read(data, Hints(fps=30, size=Size(64, 48)))
    assert [(p.source, p.frame, p.time) for p in found] == [("clip", 3, 0.1), ("clip", 15, 0.5)]
    assert found[0].size == (64, 48)
    assert written(*found).count(b'"image_id":15') == 1
    with pytest.raises(BadAnnotation, match=r"'plain\.jpg' is not the number of a frame"):
        read(written(make(1, source="plain.jpg")), Hints(fps=30))


ROW: dict[str, Any] = {
    "image_id": 1, "category_id": 1, "keypoints": [3, 4, 0.5] * 17, "score": 0.25,
    "center": [1, 2], "scale": [3, 4],
}  # fmt: skip


def test_results_of_the_official_code_have_no_box() -> None:
    rows = [ROW | {"keypoints": [0] * 48 + [5, 6, 0.5]}, ROW | {"category_id": 2, "keypoints": []}]
    (poses,) = read(json.dumps(rows).encode())
    assert poses.boxes.tolist() == [[5, 6, 5, 6]]
    assert poses.box_scores.tolist() == [0.5]
    assert poses.scores.tolist() == [0.25]
    (poses,) = read(json.dumps([ROW | {"keypoints": [0] * 51}]).encode())
    assert (poses.boxes.tolist(), poses.box_scores.tolist()) == ([[0] * 4], [0.25])


def test_nothing_and_other_skeletons() -> None:
    assert read(written()) == read(b"[]") == []
    rows = [ROW | {"keypoints": [3, 4, 0.5] * 16}]
    (poses,) = read(json.dumps(rows).encode(), Hints(skeleton=MPII16))
    assert poses.skeleton is MPII16


LINES = written(make(2), make(1, source="b_8.jpg"))
BAD: dict[str, tuple[bytes, str]] = {
    "apart": (json.dumps([ROW, ROW | {"image_id": 2}, ROW]).encode(), "image 1 do not stand"),
    "48 numbers": (
        json.dumps([ROW, ROW | {"keypoints": [0] * 48}]).encode(),
        r"48 numbers, expected 51 for coco17 - at \$\[1\]",
    ),
    "no score": (json.dumps([ROW, {"image_id": 1}]).encode(), r"category_id.*\$\[1\]"),
    "negative id": (json.dumps([ROW | {"image_id": -1}]).encode(), "image_id"),
    "cut list": (json.dumps([ROW]).encode()[:-2], "not COCO keypoint results"),
    "cut line": (LINES[:-30], "damaged COCO keypoint results: line 4"),
    "cut between": (LINES[: LINES.rindex(b"\n]")], "line 5: .*ends too early"),
    "missing comma": (LINES.replace(b"},\n", b"}\n", 1), "line 3: a comma"),
    "comma too many": (LINES.replace(b"}\n]", b"},\n]"), "line 5"),
    "more": (LINES + b"[]", "line 5"),
}


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD)
def test_damage_is_named(data: bytes, message: str) -> None:
    with pytest.raises(BadAnnotation, match=message):
        read(data)


@pytest.mark.parametrize("bad", [{"fps": 0}, {"fps": float("nan")}, {"size": Size(0, 5)}])
def test_hints_are_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Hints(**bad)
