"""Results are known by their content, and what is wrong with them names the file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hrpose.errors import BadAnnotation, InputError
from hrpose.formats import CocoWriter, Header, Hints, JsonlWriter, NativeWriter, open_records
from hrpose.formats.openpose import OpenPoseWriter
from hrpose.formats.writer import PoseWriter
from hrpose.skeleton import COCO17
from hrpose.types import Poses, Size

HEADER = Header.of(COCO17, hrpose="0.1.0")
POSES = Poses(
    keypoints=np.ones((1, 17, 2), np.float32), keypoint_scores=np.ones((1, 17), np.float32),
    boxes=np.ones((1, 4), np.float32), box_scores=np.ones(1, np.float32),
    track_ids=np.array([3]), size=Size(4, 3), skeleton=COCO17, source="a_1.jpg",
)  # fmt: skip
WRITERS: dict[str, Callable[[io.BytesIO], PoseWriter]] = {
    "native": lambda file: NativeWriter(file, HEADER),
    "jsonl": lambda file: JsonlWriter(file, HEADER),
    "coco": CocoWriter,
}


def stored(folder: Path, kind: str) -> Path:
    path = folder / "results"
    if kind == "openpose":
        path.mkdir()
        with OpenPoseWriter(path) as writer:
            writer.write(POSES)
        return path
    file = io.BytesIO()
    with WRITERS[kind](file) as writer:
        writer.write(POSES)
    path.write_bytes(file.getvalue())
    return path


@pytest.mark.parametrize("kind", [*WRITERS, "openpose"])
def test_kinds_are_told_by_content(tmp_path: Path, kind: str) -> None:
    with open_records(stored(tmp_path, kind), Hints()) as records:
        (poses,) = records.items
        assert isinstance(poses, Poses)
        assert (records.kind, records.complete) == (kind, kind in ("native", "jsonl"))
        assert records.position() == records.total > 0
        assert np.array_equal(poses.keypoints, POSES.keypoints)
        assert poses.track_ids.tolist() == [3]


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x89PNG\r\n", b"5", b'{"a": 1}', b'{"images": []}', b"{", b"[1]", b"[\n1\n]"],
)
def test_what_is_no_result_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(content)
    with (
        pytest.raises(BadAnnotation, match=r"file\.txt: ") as caught,
        open_records(path, Hints()) as records,
    ):
        list(records.items)
    assert "COCO" in caught.value.hint or "image_id" in caught.value.hint


@pytest.mark.parametrize("kind", WRITERS)
def test_damage_names_the_file(tmp_path: Path, kind: str) -> None:
    path = stored(tmp_path, kind)
    path.write_bytes(path.read_bytes().replace(b'"score"', b'"other"').replace(b"[[", b"[[9],["))
    with (
        pytest.raises(BadAnnotation, match="results: "),
        open_records(path, Hints()) as records,
    ):
        list(records.items)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"), open_records(tmp_path / "nowhere", Hints()):
        pytest.fail("must be refused")
    with pytest.raises(InputError, match="no OpenPose files"), open_records(tmp_path, Hints()):
        pytest.fail("must be refused")
