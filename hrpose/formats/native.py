"""The native JSON of hrpose, version 1: one object per file, for pictures and for videos.

::

    {"format": "hrpose", "version": 1, "hrpose": "0.1.0",
     "skeleton": {...}, "models": [...], "settings": {...},
     "pictures": [
       {"status": "ok", "source": "a.jpg", "width": 640, "height": 480, "frame": 0, "people": [
         {"box": [x1, y1, x2, y2], "box_score": s, "score": s, "keypoints": [[x, y, s], ...]}]},
       {"status": "error", "source": "b.jpg", "reason": "the file ends too early"}],
     "videos": [what became of every clip, where there are any],
     "errors": [the pictures of status "error" once more]}

The structs of :mod:`hrpose.formats.record` are the only definition. A file has one line per
picture, and so can be read as a stream. Coordinates are image pixels, integer = pixel centre;
they are float32, written with the fewest digits that give the same float32 back. Smoothed people
have ``measured`` beside ``keypoints``: what was decoded, before smoothing.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, TypeVar

import msgspec
from msgspec import Struct

from hrpose.errors import BadAnnotation
from hrpose.formats.pictures import picture_of, poses_of_picture
from hrpose.formats.record import (
    VERSION,
    Document,
    Failure,
    Header,
    Picture,
    VideoRecord,
    check_picture,
    failure,
    skeleton_of,
)
from hrpose.formats.writer import PoseWriter
from hrpose.types import Poses

Item = Poses | Failure | VideoRecord
Record = TypeVar("Record")

_LATER_IN_MEMORY = 1 << 20  # bytes; a longer list waits on disk
_OPENING = b',"pictures":['
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Document)
_HEADER = msgspec.json.Decoder(Header)
_PICTURE: msgspec.json.Decoder[Picture | Failure] = msgspec.json.Decoder(Picture | Failure)
_FAILURE = msgspec.json.Decoder(Failure)
_VIDEO = msgspec.json.Decoder(VideoRecord)


class NativeWriter(PoseWriter):
    """Writes a native JSON file.

    Args:
        file: Open for writing bytes; stays open.
        header: What is the same for all pictures.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        super().__init__()
        self._file, self._header = file, header
        self._later: dict[str, IO[bytes]] = {}  # lists that stand behind the pictures
        self._comma = b"\n"
        file.write(_ENCODER.encode(header)[:-1] + _OPENING)

    def write(self, poses: Poses) -> None:
        """Appends one picture and its people.

        Raises:
            ValueError: The poses have another skeleton than the header, or NaN or infinity; or
                the writer is closed. Nothing is written then.
        """
        self._append(_ENCODER.encode(picture_of(poses, self._header)))

    def fail(self, source: str, reason: str) -> None:
        """Appends a picture that could not be read; ``errors`` at the end lists it again."""
        record = _ENCODER.encode(failure(source, reason))
        self._append(record)
        self._wait("errors", record)

    def video(self, record: VideoRecord) -> None:
        """Notes what became of a clip; ``videos`` behind the pictures lists it.

        Raises:
            ValueError: A number is NaN or infinite; or the writer is closed.
        """
        self._check_open()
        self._wait("videos", _ENCODER.encode(record.encodable()))

    def _append(self, record: bytes) -> None:
        self._check_open()
        self._file.write(self._comma + record)
        self._comma = b",\n"

    def _wait(self, name: str, record: bytes) -> None:
        if name not in self._later:
            self._later[name] = tempfile.SpooledTemporaryFile(_LATER_IN_MEMORY)  # noqa: SIM115
        later = self._later[name]
        later.write((b",\n" if later.tell() else b"\n") + record)

    def _finish(self) -> None:
        self._file.write(b"\n]")
        for name in ("videos", "errors"):
            if name in self._later or name == "errors":
                self._file.write(f',"{name}":['.encode())
                if name in self._later:
                    self._later[name].seek(0)
                    shutil.copyfileobj(self._later[name], self._file)
                self._file.write(b"\n]")
        self._file.write(b"}\n")
        self._abandon()

    def _abandon(self) -> None:
        for later in self._later.values():
            later.close()


def read_native(data: bytes) -> Document:
    """Reads the bytes of a whole native JSON file, strictly.

    Raises:
        BadAnnotation: Not JSON, cut short, of another format or version, or a value is missing,
            unknown, of the wrong type or out of range; says which and where.
    """
    try:
        document = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refusal(data, error) from error
    count = len(skeleton_of(document))
    for i, picture in enumerate(document.pictures):
        if isinstance(picture, Picture):
            check_picture(picture, count, f"$.pictures[{i}]")
    if document.errors != tuple(p for p in document.pictures if isinstance(p, Failure)):
        raise BadAnnotation("`errors` does not list the failed pictures - at $.errors")
    return document


def iter_native(file: BinaryIO) -> tuple[Header, Iterator[Item]]:
    """Reads a native JSON file picture by picture, as strictly as :func:`read_native`.

    Memory does not grow with the pictures, as long as the file has one line for each, as hrpose
    writes them. A file that another program has laid out anew is read as a whole.

    Args:
        file: Open for reading bytes, at the start; stays open.

    Returns:
        The header, and the pictures, failures and clips in the order of the file. Damage at the
        end is found only when the iterator gets there.

    Raises:
        BadAnnotation: See :func:`read_native`; the iterator raises it, too.
    """
    first = file.readline()
    if not first.rstrip().endswith(_OPENING):
        document = read_native(first + file.read())
        return document, _items(document)
    try:
        header = _HEADER.decode(first.rstrip()[: -len(_OPENING)] + b"}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refusal(first.rstrip() + b"]}", error) from error
    return header, _Lines(file, header).items()


def _items(document: Document) -> Iterator[Item]:
    skeleton = skeleton_of(document)
    for picture in document.pictures:
        yield poses_of_picture(picture, skeleton) if isinstance(picture, Picture) else picture
    yield from document.videos


class _Lines:
    """The lines behind the first one, section by section."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        self._skeleton = skeleton_of(header)
        self._number = 1
        self._end = b""
        self._failed, self._listed = hashlib.sha256(), hashlib.sha256()

    def items(self) -> Iterator[Item]:
        for i, line in enumerate(self._section()):
            picture = self._decoded(_PICTURE, line)
            if isinstance(picture, Picture):
                check_picture(picture, len(self._skeleton), f"$.pictures[{i}]")
                yield poses_of_picture(picture, self._skeleton)
            else:
                self._failed.update(_ENCODER.encode(picture))
                yield picture
        if self._end == b'],"videos":[':
            for line in self._section():
                yield self._decoded(_VIDEO, line)
        self._check_end()

    def _check_end(self) -> None:
        if self._end != b'],"errors":[':
            raise self._damage("expected the list `errors`")
        for line in self._section():
            self._listed.update(_ENCODER.encode(self._decoded(_FAILURE, line)))
        if self._end != b"]}" or self._file.read(1):
            raise self._damage("the file does not end as it should")
        if self._failed.digest() != self._listed.digest():
            raise BadAnnotation("`errors` does not list the failed pictures - at $.errors")

    def _section(self) -> Iterator[bytes]:
        """The records up to the line that ends the section; ``self._end`` is that line."""
        comma = True  # behind the record before: another must follow
        first = True
        while line := self._file.readline().rstrip():
            self._number += 1
            if line.startswith(b"]") and (first or not comma):
                self._end = line
                return
            if not comma:
                raise self._damage("a comma is missing")
            comma, first = line.endswith(b","), False
            yield line[:-1] if comma else line
        self._number += 1
        raise self._damage("the file ends too early")

    def _decoded(self, decoder: msgspec.json.Decoder[Record], line: bytes) -> Record:
        try:
            return decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._damage(str(error)) from error

    def _damage(self, what: str) -> BadAnnotation:
        return BadAnnotation(f"damaged result file of hrpose: line {self._number}: {what}")


class _Stamp(Struct):
    format: str
    version: int


def refusal(data: bytes, error: Exception) -> BadAnnotation:
    """Why a document, or the first line of JSONL, cannot be read."""
    try:
        stamp = msgspec.json.decode(data, type=_Stamp)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return BadAnnotation(f"not a result file of hrpose: {error}")
    if stamp.format == "hrpose" and stamp.version != VERSION:
        message = f"result file of version {stamp.version}, this hrpose reads version {VERSION}"
        return BadAnnotation(message, hint="another version of hrpose wrote it: use that one")
    return BadAnnotation(f"damaged result file of hrpose: {error}")


def poses_of(document: Document) -> Iterator[Poses]:
    """The poses of all pictures that were read, in order; failed pictures are passed over.

    Bit-equal, in float32, to what was written.
    """
    return (item for item in _items(document) if isinstance(item, Poses))


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the format."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"hrpose poses, version {VERSION}",
        **msgspec.json.schema(Document),
    }
