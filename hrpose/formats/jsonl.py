"""JSONL: the native records, a line each, so that whatever was written can be read after a cut.

::

    {"format": "hrpose", "version": 1, ...}             the header of the native JSON
    {"status": "ok", "source": "a.jpg", ...}            a picture, as in the native JSON
    {"status": "error", "source": "b.jpg", ...}         a picture that could not be read
    {"video": {...}}                                    what became of a clip, when it has ended
    {"summary": {"pictures": 1, "failed": 1, "people": 2}}

A file without the last line was cut short; what its whole lines say holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import msgspec
from msgspec import Struct

from hrpose.errors import BadAnnotation
from hrpose.formats.native import Item, refusal
from hrpose.formats.pictures import picture_of, poses_of_picture
from hrpose.formats.record import (
    Count,
    Failure,
    Header,
    Picture,
    VideoRecord,
    check_picture,
    failure,
    skeleton_of,
)
from hrpose.formats.writer import PoseWriter
from hrpose.skeleton import Skeleton
from hrpose.types import Poses


class Summary(Struct, forbid_unknown_fields=True):
    """How many records stand before it."""

    pictures: Count = 0
    failed: Count = 0
    people: Count = 0

    def count(self, picture: Picture | Failure) -> None:
        if isinstance(picture, Failure):
            self.failed += 1
        else:
            self.pictures += 1
            self.people += len(picture.people)


class _Video(Struct, frozen=True, forbid_unknown_fields=True):
    video: VideoRecord


class _End(Struct, frozen=True, forbid_unknown_fields=True):
    summary: Summary


@dataclass(frozen=True, slots=True)
class CutShort:
    """The file ends here, before its end; what came until then is right.

    Attributes:
        lines: Whole lines.
    """

    lines: int


_ENCODER = msgspec.json.Encoder()
_HEADER = msgspec.json.Decoder(Header)
_PICTURE: msgspec.json.Decoder[Picture | Failure] = msgspec.json.Decoder(Picture | Failure)
_VIDEO = msgspec.json.Decoder(_Video)
_END = msgspec.json.Decoder(_End)
_BAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class JsonlWriter(PoseWriter):
    """Writes JSONL.

    Args:
        file: Open for writing bytes; stays open.
        header: What is the same for all pictures.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        super().__init__()
        self._file, self._header = file, header
        self._summary = Summary()
        file.write(_ENCODER.encode(header) + b"\n")

    def write(self, poses: Poses) -> None:
        """Appends one picture and its people; errors as with :class:`NativeWriter`."""
        self._append(picture_of(poses, self._header))

    def fail(self, source: str, reason: str) -> None:
        """Appends a picture that could not be read."""
        self._append(failure(source, reason))

    def video(self, record: VideoRecord) -> None:
        """Appends what became of a clip."""
        self._check_open()
        self._file.write(_ENCODER.encode(_Video(video=record.encodable())) + b"\n")

    def _append(self, picture: Picture | Failure) -> None:
        self._check_open()
        self._file.write(_ENCODER.encode(picture) + b"\n")
        self._summary.count(picture)

    def _finish(self) -> None:
        self._file.write(_ENCODER.encode(_End(summary=self._summary)) + b"\n")


def is_jsonl(first: bytes) -> bool:
    """Whether a file with this first line is JSONL of hrpose, of whatever version."""
    try:
        line = msgspec.json.decode(first)
    except _BAD:
        return False
    return isinstance(line, dict) and line.get("format") == "hrpose" and "pictures" not in line


def iter_jsonl(file: BinaryIO) -> tuple[Header, Iterator[Item | CutShort]]:
    """Reads JSONL line by line; memory does not grow with them.

    Args:
        file: Open for reading bytes, at the start; stays open.

    Returns:
        The header, and the pictures, failures and clips in the order of the file; at last a
        :class:`CutShort` if the file ends too early.

    Raises:
        BadAnnotation: A whole line is not what it should be, or the first line is not whole; says
            which. The iterator raises it, too.
    """
    first = file.readline()
    try:
        header = _HEADER.decode(first)
    except _BAD as error:
        raise refusal(first, error) from error
    return header, _lines(file, skeleton_of(header))


def _lines(file: BinaryIO, skeleton: Skeleton) -> Iterator[Item | CutShort]:
    counted, number = Summary(), 1
    for number, line in enumerate(file, start=2):
        record = _decoded(line, number)
        if record is None:
            yield CutShort(number - 1)
            return
        if isinstance(record, Summary):
            _check_summary(record, counted, file)
            return
        if not isinstance(record, VideoRecord):
            counted.count(record)
        if isinstance(record, Picture):
            check_picture(record, len(skeleton), f"line {number}, $")
            yield poses_of_picture(record, skeleton)
        else:
            yield record
    yield CutShort(number)


def _decoded(line: bytes, number: int) -> Picture | Failure | VideoRecord | Summary | None:
    """The record of a line; None where the line is cut."""
    try:
        if line.startswith(b'{"video"'):
            return _VIDEO.decode(line).video
        if line.startswith(b'{"summary"'):
            return _END.decode(line).summary
        return _PICTURE.decode(line)
    except _BAD as error:
        if not line.endswith(b"\n"):
            return None
        raise BadAnnotation(f"damaged result file of hrpose: line {number}: {error}") from error


def _check_summary(summary: Summary, counted: Summary, file: BinaryIO) -> None:
    if summary != counted:
        raise BadAnnotation(f"damaged result file of hrpose: {summary}, but there are {counted}")
    if file.read(1):
        raise BadAnnotation("damaged result file of hrpose: it goes on behind its summary")
