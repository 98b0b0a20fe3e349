"""The native JSON of hrpose, version 1: one object per file, for pictures and for videos.

::

    {"format": "hrpose", "version": 1, "hrpose": "0.1.0",
     "skeleton": {...}, "models": [...], "settings": {...},
     "pictures": [
       {"status": "ok", "source": "a.jpg", "width": 640, "height": 480, "frame": 0, "people": [
         {"box": [x1, y1, x2, y2], "box_score": s, "score": s, "keypoints": [[x, y, s], ...]}]},
       {"status": "error", "source": "b.jpg", "reason": "the file ends too early"}],
     "errors": [the pictures of status "error" once more]}

The structs below are the only definition: of what is written, of what is read and of
:func:`schema`. A file has one line per picture. A key without a value is left out; there is no
``null``. Coordinates are image pixels, integer = pixel centre; they are float32, written with the
fewest digits that give the same float32 back.
"""

from __future__ import annotations

import base64
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Annotated, Any, BinaryIO, Literal, Self

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from hrpose.errors import BadAnnotation
from hrpose.skeleton import SKELETONS, Skeleton
from hrpose.types import FloatArray, Poses, Size

VERSION: Literal[1] = 1

# The shortest text of the largest float32, which lies above it but rounds to it.
Float32 = Annotated[float, Meta(ge=-3.4028235e38, le=3.4028235e38)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Side = Annotated[int, Meta(ge=1)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="of the weights file")]
Base64 = Annotated[
    str, Meta(description="the bytes of a source name that is not UTF-8; `source` shows U+FFFD")
]
Seconds = Annotated[float, Meta(description="presentation timestamp in seconds; video only")]
Setting = bool | int | float | str
_ERRORS_IN_MEMORY = 1 << 20  # bytes; a longer list waits on disk


class SkeletonRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """The keypoint set: the order of every `keypoints` array, and limbs as pairs of positions."""

    name: str
    keypoints: tuple[str, ...]
    edges: tuple[tuple[Count, Count], ...]
    mirror: tuple[Count, ...]
    sigmas: tuple[float, ...]


class ModelRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """A network that took part."""

    task: Annotated[str, Meta(description="e.g. detector or pose")]
    name: str
    sha256: Sha256


class Person(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One person; the order is that of the detector, best first."""

    box: Annotated[
        tuple[Float32, Float32, Float32, Float32], Meta(description="x1, y1, x2, y2 in pixels")
    ]
    box_score: Float32
    score: Annotated[
        Float32, Meta(description="mean of the keypoint scores above 0.2, times box_score")
    ]
    track_id: Count | UnsetType = UNSET
    keypoints: Annotated[
        tuple[tuple[Float32, Float32, Float32], ...],
        Meta(description="x, y in pixels and score, in the order of skeleton.keypoints"),
    ]


class Picture(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="status", tag="ok"
):
    """A picture, or a frame of a video, that was read; also with no people in it."""

    source: str
    source_b64: Base64 | UnsetType = UNSET
    width: Side
    height: Side
    frame: Annotated[Count, Meta(description="position in the source, from 0")]
    time: Seconds | UnsetType = UNSET
    people: tuple[Person, ...]


class Failure(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="status", tag="error"
):
    """A picture that could not be read, and why."""

    source: str
    source_b64: Base64 | UnsetType = UNSET
    reason: str


class Header(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is the same for all pictures of a file. Made by :meth:`of`."""

    format: Literal["hrpose"]
    version: Literal[1]
    hrpose: Annotated[str, Meta(description="version of the program")]
    skeleton: SkeletonRecord
    models: tuple[ModelRecord, ...]
    settings: Annotated[dict[str, Setting], Meta(description="whatever shaped the result, by name")]

    @classmethod
    def of(
        cls,
        skeleton: Skeleton,
        *,
        hrpose: str,
        models: Sequence[ModelRecord] = (),
        settings: Mapping[str, Setting] | None = None,
    ) -> Self:
        """Builds the header of a file.

        Args:
            skeleton: The keypoint set of all poses.
            hrpose: Version of the program.
            models: The networks used.
            settings: Detector, thresholds, flip test, device, dtype, ...; nothing that is None.

        Raises:
            ValueError: A setting is NaN, infinite or of another type.
        """
        values = dict(settings or {})
        for name, value in values.items():
            if not isinstance(value, bool | int | float | str):
                raise ValueError(f"setting {name} is {value!r}, expected bool, int, float or str")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"setting {name} is {value}, expected a finite number")
            values[name] = encodable(value)[0] if isinstance(value, str) else value
        record = SkeletonRecord(
            skeleton.name, skeleton.keypoints, skeleton.edges, skeleton.mirror, skeleton.sigmas
        )
        return cls(
            format="hrpose", version=VERSION, hrpose=hrpose,
            skeleton=record, models=tuple(models), settings=values,
        )  # fmt: skip


class Document(Header, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole file."""

    pictures: tuple[Picture | Failure, ...]
    errors: tuple[Failure, ...]


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Document)


class NativeWriter:
    """Writes a native JSON file picture by picture; memory does not grow with their number.

    As a context manager it completes the document when the block ends without an error; after an
    error the file stays incomplete, and so is not taken for a result. The file stays open; its
    ``OSError`` passes through.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        self._skeleton = (header.skeleton.name, header.skeleton.keypoints)
        self._errors: IO[bytes] | None = None  # made at the first failure
        self._closed = False
        self._comma = b"\n"
        file.write(_ENCODER.encode(header)[:-1] + b',"pictures":[')

    def write(self, poses: Poses) -> None:
        """Appends one picture and its people.

        Raises:
            ValueError: The poses have another skeleton than the header, or NaN or infinity; or
                the writer is closed. Nothing is written then.
        """
        if (poses.skeleton.name, poses.skeleton.keypoints) != self._skeleton:
            raise ValueError(f"poses of {poses.skeleton.name} in a file of {self._skeleton[0]}")
        self._append(_ENCODER.encode(_picture(poses)))

    def fail(self, source: str, reason: str) -> None:
        """Appends a picture that could not be read; ``errors`` at the end lists it again."""
        text, raw = encodable(source)
        record = _ENCODER.encode(Failure(source=text, source_b64=raw, reason=encodable(reason)[0]))
        self._append(record)
        if self._errors is None:
            self._errors = tempfile.SpooledTemporaryFile(_ERRORS_IN_MEMORY)  # noqa: SIM115
        self._errors.write((b",\n" if self._errors.tell() else b"\n") + record)

    def close(self) -> None:
        """Completes the document; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._file.write(b'\n],"errors":[')
        if self._errors is not None:
            with self._errors as errors:
                errors.seek(0)
                shutil.copyfileobj(errors, self._file)
        self._file.write(b"\n]}\n")

    def _append(self, record: bytes) -> None:
        if self._closed:
            raise ValueError("write to a closed writer")
        self._file.write(self._comma + record)
        self._comma = b",\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        elif self._errors is not None:
            self._errors.close()
        self._closed = True


def read_native(data: bytes) -> Document:
    """Reads the bytes of a whole native JSON file, strictly.

    Raises:
        BadAnnotation: Not JSON, cut short, of another format or version, or a value is missing,
            unknown, of the wrong type or out of range; says which and where.
    """
    try:
        document = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(data, error) from error
    skeleton_of(document)
    count = len(document.skeleton.keypoints)
    for i, picture in enumerate(document.pictures):
        for j, person in enumerate(picture.people if isinstance(picture, Picture) else ()):
            if len(person.keypoints) != count:
                found, at = len(person.keypoints), f"$.pictures[{i}].people[{j}].keypoints"
                raise BadAnnotation(f"{found} keypoints, expected {count} - at {at}")
    if document.errors != tuple(p for p in document.pictures if isinstance(p, Failure)):
        raise BadAnnotation("`errors` does not list the failed pictures - at $.errors")
    return document


class _Stamp(Struct):
    format: str
    version: int


def _refusal(data: bytes, error: Exception) -> BadAnnotation:
    try:
        stamp = msgspec.json.decode(data, type=_Stamp)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return BadAnnotation(f"not a result file of hrpose: {error}")
    if stamp.format == "hrpose" and stamp.version != VERSION:
        message = f"result file of version {stamp.version}, this hrpose reads version {VERSION}"
        return BadAnnotation(message, hint="another version of hrpose wrote it: use that one")
    return BadAnnotation(f"damaged result file of hrpose: {error}")


def skeleton_of(header: Header) -> Skeleton:
    """The keypoint set of a file: the known one of that name if it is the same, else a new one.

    Raises:
        BadAnnotation: The record contradicts itself.
    """
    fields = msgspec.structs.asdict(header.skeleton)
    known = SKELETONS.get(header.skeleton.name)
    if known is not None and all(getattr(known, key) == value for key, value in fields.items()):
        return known
    try:
        return Skeleton(**fields)
    except ValueError as error:
        raise BadAnnotation(f"{error} - at $.skeleton") from error


def poses_of(document: Document) -> Iterator[Poses]:
    """The poses of all pictures that were read, in order; failed pictures are passed over.

    Bit-equal, in float32, to what was written.
    """
    skeleton = skeleton_of(document)
    for picture in document.pictures:
        if isinstance(picture, Picture):
            yield _poses(picture, skeleton)


def source_of(record: Picture | Failure) -> str:
    """The source as it was given: bytes that are not UTF-8 come back as lone surrogates."""
    if isinstance(record.source_b64, UnsetType):
        return record.source
    try:
        raw = base64.b64decode(record.source_b64, validate=True)
    except ValueError as error:
        raise BadAnnotation(f"{record.source}: source_b64 is not base64") from error
    return raw.decode("utf-8", "surrogateescape")


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the format."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"hrpose poses, version {VERSION}",
        **msgspec.json.schema(Document),
    }


def shortest(values: FloatArray) -> list[float]:
    """Python floats that print with the fewest digits that give the same float32 back, flat.

    Raises:
        ValueError: A value is NaN or infinite.
    """
    flat = np.ascontiguousarray(values, dtype=np.float32).ravel()
    if not np.isfinite(flat).all():
        raise ValueError("NaN or infinity among the numbers to write")
    printed = flat.astype("U32").astype(np.float64)
    # A reader rounds twice, to double and to single; where that misses, write all digits.
    exact = np.minimum(np.abs(printed), 3.4028235e38).astype(np.float32) == np.abs(flat)
    chosen: list[float] = np.where(exact, printed, flat.astype(np.float64)).tolist()
    return chosen


def _picture(poses: Poses) -> Picture:
    text, raw = encodable(poses.source)
    if poses.time is not None and not math.isfinite(poses.time):
        raise ValueError(f"time is {poses.time}, expected a finite number")
    return Picture(
        source=text,
        source_b64=raw,
        width=poses.size.width,
        height=poses.size.height,
        frame=poses.frame,
        time=UNSET if poses.time is None else float(poses.time),
        people=tuple(_people(poses)),
    )


def _people(poses: Poses) -> Iterator[Person]:
    """Rows of box, box score, score, and x, y, score of every keypoint."""
    count = len(poses.skeleton)
    points = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
    with np.errstate(all="ignore"):  # what is not finite is refused below
        scores = np.stack([poses.box_scores, poses.scores], axis=1)
    rows = np.concatenate([poses.boxes, scores, points.reshape(len(poses), 3 * count)], axis=1)
    flat, width = shortest(rows), rows.shape[1]
    for i, track in enumerate(poses.track_ids.tolist()):
        left, top, right, bottom, box_score, score, *rest = flat[i * width : (i + 1) * width]
        yield Person(
            box=(left, top, right, bottom),
            box_score=box_score,
            score=score,
            track_id=UNSET if track < 0 else track,
            keypoints=tuple(zip(rest[::3], rest[1::3], rest[2::3], strict=True)),
        )


def _poses(picture: Picture, skeleton: Skeleton) -> Poses:
    people, count = picture.people, len(skeleton)
    points = np.array([p.keypoints for p in people], np.float32).reshape(len(people), count, 3)
    tracks = [-1 if isinstance(p.track_id, UnsetType) else p.track_id for p in people]
    return Poses(
        keypoints=np.ascontiguousarray(points[..., :2]),
        keypoint_scores=np.ascontiguousarray(points[..., 2]),
        boxes=np.array([p.box for p in people], np.float32).reshape(len(people), 4),
        box_scores=np.array([p.box_score for p in people], np.float32),
        track_ids=np.array(tracks, np.int64),
        size=Size(picture.width, picture.height),
        skeleton=skeleton,
        frame=picture.frame,
        time=None if isinstance(picture.time, UnsetType) else picture.time,
        source=source_of(picture),
    )


def encodable(source: str) -> tuple[str, str | UnsetType]:
    """A name as text that JSON can hold and, where that is not the name, its bytes in base64.

    >>> encodable("caf\\udce9.jpg")
    ('caf\ufffd.jpg', 'Y2Fm6S5qcGc=')
    """
    if not any("\ud800" <= letter <= "\udfff" for letter in source):
        return source, UNSET
    try:
        raw = source.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # lone surrogates of a Windows name
        raw = source.encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "replace"), base64.b64encode(raw).decode("ascii")
