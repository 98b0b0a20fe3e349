"""COCO keypoint results in: those of hrpose, and of any program that writes the official list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Annotated, BinaryIO

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from hrpose.errors import BadAnnotation
from hrpose.formats.coco import PERSON, ImageId
from hrpose.formats.hints import UNKNOWN, Hints, extents
from hrpose.formats.record import Count, Float32, Header
from hrpose.types import FloatArray, Poses

_BAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_EXPECTED = "expected a list of image_id, category_id, keypoints and score"


class _Entry(Struct, frozen=True):
    image_id: Annotated[int, Meta(ge=0, le=2**63 - 1)] | str
    category_id: int
    keypoints: list[Float32]
    score: Float32
    bbox: tuple[Float32, Float32, Float32, Float32] | UnsetType = UNSET
    track_id: Count | UnsetType = UNSET


_ENTRY = msgspec.json.Decoder(_Entry)
_LIST = msgspec.json.Decoder(list[_Entry])


def iter_coco(file: BinaryIO, name: str, hints: Hints) -> tuple[Header, Iterator[Poses]]:
    """Reads COCO keypoint results picture by picture.

    Memory does not grow with the people, save for the ids seen, as long as each has a line, as
    hrpose writes them; other lists are read as a whole. Other categories than people are passed
    over. Pictures without people are not in such a list, and so do not come.

    The list has pose scores only: the box score is worked back from it, so that ``Poses.scores``
    is that of the file, save for its last digit. A person without ``bbox`` gets the extent of the
    keypoints with a score above 0.

    Args:
        file: Open for reading bytes, at the start; stays open.
        name: Name of the clip, for frames of a video.
        hints: What the file does not say. With ``fps`` an ``image_id`` is the frame's position in
            the video; without, it is the name of a picture.

    Raises:
        BadAnnotation: Not such a list, or people of one picture do not stand together; says
            where. The iterator raises it, too.
    """
    entries = _checked(_entries(file), 3 * len(hints.skeleton), hints)
    return hints.header("coco"), _pictures(entries, name, hints)


def _pictures(entries: Iterable[_Entry], name: str, hints: Hints) -> Iterator[Poses]:
    seen: set[ImageId] = set()
    for key, rows in groupby(entries, lambda entry: entry.image_id):
        if key in seen:
            raise BadAnnotation(
                f"people of image {key!r} do not stand together",
                hint="sort the list by image_id",
            )
        seen.add(key)
        yield _poses(key, list(rows), name, hints)


def _poses(key: ImageId, rows: list[_Entry], name: str, hints: Hints) -> Poses:
    if hints.fps is not None and not isinstance(key, int):
        raise BadAnnotation(
            f"image_id {key!r} is not the number of a frame", hint="leave --fps out for pictures"
        )
    frame = key if hints.fps is not None and isinstance(key, int) else 0
    points = np.array([row.keypoints for row in rows], np.float32).reshape(len(rows), -1, 3)
    keypoints, scores = np.ascontiguousarray(points[..., :2]), np.ascontiguousarray(points[..., 2])
    boxes = extents(keypoints, scores)
    for i, row in enumerate(rows):
        if not isinstance(row.bbox, UnsetType):
            x, y, width, height = row.bbox
            boxes[i] = x, y, x + width, y + height
    tracks = [-1 if isinstance(row.track_id, UnsetType) else row.track_id for row in rows]
    poses = Poses(
        keypoints=keypoints,
        keypoint_scores=scores,
        boxes=boxes,
        box_scores=np.ones(len(rows), np.float32),
        track_ids=np.array(tracks, np.int64),
        size=hints.size or UNKNOWN,
        skeleton=hints.skeleton,
        frame=frame,
        time=hints.time(frame),
        source=str(key) if hints.fps is None else name,
    )
    return _rescored(poses, np.array([row.score for row in rows], np.float32))


def _rescored(poses: Poses, wanted: FloatArray) -> Poses:
    means = poses.scores  # of the keypoints alone, for all box scores are 1
    with np.errstate(all="ignore"):
        worked_back = (wanted / means).astype(np.float32)
    usable = (means > 0) & np.isfinite(worked_back)
    return replace(poses, box_scores=np.where(usable, worked_back, wanted))


def _checked(entries: Iterable[tuple[int, _Entry]], width: int, hints: Hints) -> Iterator[_Entry]:
    for i, entry in entries:
        if entry.category_id != PERSON:
            continue
        if len(entry.keypoints) != width:
            raise BadAnnotation(
                f"{len(entry.keypoints)} numbers, expected {width} for {hints.skeleton.name}"
                f" - at $[{i}].keypoints",
                hint="--skeleton names another keypoint set",
            )
        yield entry


def _entries(file: BinaryIO) -> Iterator[tuple[int, _Entry]]:
    first, second = file.readline(), file.readline()
    if first.strip() == b"[" and _one(second):
        yield from enumerate(_from_lines(second, file))
        return
    try:
        entries = _LIST.decode(first + second + file.read())
    except _BAD as error:
        raise BadAnnotation(f"not COCO keypoint results: {error}", hint=_EXPECTED) from error
    yield from enumerate(entries)


def _one(line: bytes) -> bool:
    try:
        _ENTRY.decode(line.rstrip().removesuffix(b","))
    except _BAD:
        return False
    return True


def _from_lines(line: bytes, file: BinaryIO) -> Iterator[_Entry]:
    number, comma = 2, True
    while (text := line.strip()) != b"]":
        try:
            if not comma:
                raise msgspec.DecodeError("a comma is missing, or the file ends too early")
            yield _ENTRY.decode(text.removesuffix(b","))
        except _BAD as error:
            message = f"damaged COCO keypoint results: line {number}: {error}"
            raise BadAnnotation(message, hint=_EXPECTED) from error
        comma = text.endswith(b",")
        line, number = file.readline(), number + 1
    if comma or file.read(1):
        raise BadAnnotation(f"damaged COCO keypoint results: line {number}", hint=_EXPECTED)
