"""JSONL: whatever was written can be read after a cut, and nothing else is taken for it."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from hrpose.errors import BadAnnotation
from hrpose.formats.jsonl import CutShort, JsonlWriter, is_jsonl, iter_jsonl
from hrpose.formats.record import Failure, Header, VideoRecord
from hrpose.skeleton import COCO17, Skeleton
from hrpose.types import Poses, Size

TINY = Skeleton("tiny", ("left_end", "right_end"), ((0, 1),), (1, 0))
HEADER = Header.of(TINY, hrpose="0.1.0")


def make(people: int = 1, skeleton: Skeleton = TINY) -> Poses:
    points = len(skeleton)
    return Poses(
        keypoints=np.full((people, points, 2), 1.5, np.float32),
        keypoint_scores=np.ones((people, points), np.float32),
        boxes=np.ones((people, 4), np.float32),
        box_scores=np.ones(people, np.float32),
        track_ids=np.full(people, -1),
        size=Size(4, 3),
        skeleton=skeleton,
        source="a.jpg",
    )


def whole() -> bytes:
    file = io.BytesIO()
    with JsonlWriter(file, HEADER) as writer:
        writer.write(make(2))
        writer.fail("b.jpg", "empty")
        writer.video(VideoRecord(source="c.mp4", status="ok"))
        writer.write(make(0))
    return file.getvalue()


WHOLE = whole()
KINDS = [Poses, Failure, VideoRecord, Poses]


def kinds(data: bytes) -> list[type]:
    return [type(item) for item in iter_jsonl(io.BytesIO(data))[1]]


def test_a_line_for_each() -> None:
    lines = [json.loads(line) for line in WHOLE.splitlines()]
    assert [line["status"] for line in lines if "status" in line] == ["ok", "error", "ok"]
    assert lines[0]["format"] == "hrpose"
    assert lines[3]["video"]["source"] == "c.mp4"
    assert lines[-1] == {"summary": {"pictures": 2, "failed": 1, "people": 2}}
    assert kinds(WHOLE) == KINDS


def test_cut_at_any_byte_it_can_be_read_up_to_the_last_whole_line() -> None:
    first = WHOLE.index(b"\n")
    for end in range(len(WHOLE)):
        if end < first:
            with pytest.raises(BadAnnotation):
                kinds(WHOLE[:end])
            continue
        # A line that lacks only its line break is whole.
        lines = (WHOLE[:end] + b"\n" * (WHOLE[end : end + 1] == b"\n")).count(b"\n")
        _, items = iter_jsonl(io.BytesIO(WHOLE[:end]))
        *found, last = items
        if lines <= len(KINDS) + 1:
            assert (list(map(type, found)), last) == (KINDS[: lines - 1], CutShort(lines))
        else:
            assert [*map(type, found), type(last)] == KINDS


DAMAGE: dict[str, tuple[bytes, bytes, str]] = {
    "version": (b'"version":1', b'"version":9', "version 9, this hrpose reads"),
    "picture": (b'"width":4', b'"width":-4', r"line 2: .*width"),
    "points": (b"[[1.5,1.5,1.0],", b"[", r"1 keypoints, expected 2 - at line 2, \$\.people\[0\]"),
    "clip": (b'"source":"c.mp4",', b"", r"line 4: .*source.*video"),
    "summary": (b'"people":2', b'"people":3', "people=3.*people=2"),
    "unknown": (b'{"video"', b'{"other"', "line 4: "),
    "not utf-8": (b"a.jpg", b"\xff.jpg", "line 2: "),
    "goes on": (b"}}\n", b"}}\n{}", "goes on behind its summary"),
}


@pytest.mark.parametrize(("old", "new", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named(old: bytes, new: bytes, message: str) -> None:
    head, found, tail = WHOLE.rpartition(old) if old == b"}}\n" else WHOLE.partition(old)
    assert found
    with pytest.raises(BadAnnotation, match=message):
        kinds(head + new + tail)


@pytest.mark.parametrize(
    ("line", "want"),
    [
        (b'{"format":"hrpose","version":2,"new":1}\n', True),
        (b'{"format":"hrpose","version":1,"pictures":[]}', False),
        (b'{"format":"else"}', False),
        (b"[1]", False),
        (b'{"format":"hrpose"', False),
        (b"", False),
    ],
)
def test_is_jsonl(line: bytes, want: bool) -> None:
    assert is_jsonl(line) is want


def test_wrong_arguments() -> None:
    file = io.BytesIO()
    writer = JsonlWriter(file, HEADER)
    before = file.getvalue()
    with pytest.raises(ValueError, match="coco17"):
        writer.write(make(skeleton=COCO17))
    bad = make()
    bad.keypoints[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        writer.write(bad)
    assert file.getvalue() == before
    writer.close()
    for call in (lambda: writer.write(make()), lambda: writer.fail("a", "b")):
        with pytest.raises(ValueError, match="closed"):
            call()
