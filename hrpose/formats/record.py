"""What hrpose's own result files hold, as structs: the only definition of native JSON and JSONL.

Of what is written, of what is read, and of the JSON Schema. A key without a value is left out;
there is no ``null``. Version 1 grows by optional keys only, so that older files can be read.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hrpose.errors import BadAnnotation
from hrpose.skeleton import SKELETONS, Skeleton

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
    measured: (
        Annotated[
            tuple[tuple[Float32, Float32], ...],
            Meta(description="x, y as decoded, where `keypoints` are smoothed; in their order"),
        ]
        | UnsetType
    ) = UNSET
    filled: (
        Annotated[
            tuple[Count, ...],
            Meta(
                description="positions, ascending, of keypoints that were not found in this frame"
                " but filled in from frames before and after; where there are any"
            ),
        ]
        | UnsetType
    ) = UNSET


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
    damaged: (
        Annotated[bool, Meta(description="true where the decoder marked the frame as damaged")]
        | UnsetType
    ) = UNSET
    people: tuple[Person, ...]


class Failure(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="status", tag="error"
):
    """A picture that could not be read, and why."""

    source: str
    source_b64: Base64 | UnsetType = UNSET
    reason: str


class VideoRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A clip, and what became of it; what is not known is left out.

    Writers take ``source``, ``reason`` and ``notes`` as they are, also with bytes that are not
    UTF-8, and put them into a form that JSON can hold (:meth:`encodable`).
    """

    source: str
    source_b64: Base64 | UnsetType = UNSET
    status: Annotated[
        Literal["ok", "degraded", "error"],
        Meta(description="degraded: something is missing or doubtful; error: it was given up"),
    ]
    reason: Annotated[str, Meta(description="why the status is not ok")] | UnsetType = UNSET
    width: Side | UnsetType = UNSET
    height: Side | UnsetType = UNSET
    rate: Annotated[float, Meta(gt=0, description="nominal frames per second")] | UnsetType = UNSET
    duration: Annotated[float, Meta(ge=0, description="in seconds")] | UnsetType = UNSET
    frames: Annotated[Count, Meta(description="pictures of it in this file")] = 0
    people: Annotated[Count, Meta(description="people in all of them together")] = 0
    ids: Annotated[Count, Meta(description="distinct track ids")] | UnsetType = UNSET
    declared: Annotated[Count, Meta(description="frames the clip claims to have")] | UnsetType = (
        UNSET
    )
    undecodable: Annotated[Count, Meta(description="packets that could not be decoded")] = 0
    flagged: Annotated[Count, Meta(description="frames the decoder marked as damaged")] = 0
    cut_short: Annotated[
        bool, Meta(description="whether the frames end clearly before the declared duration")
    ] = False
    error_rate: Annotated[float, Meta(ge=0, description="share of the clip that is lost")] = 0.0
    notes: Annotated[tuple[str, ...], Meta(description="what else is worth a line")] = ()

    def encodable(self) -> Self:
        """The record as JSON can hold it.

        Raises:
            ValueError: A value is NaN, infinite, out of range or of another type.
        """
        for name in ("rate", "duration", "error_rate"):
            value = getattr(self, name)
            if not isinstance(value, UnsetType) and not math.isfinite(value):
                raise ValueError(f"{name} is {value}, expected a finite number")
        text, raw = encodable(self.source)
        record = msgspec.structs.replace(
            self,
            source=text,
            source_b64=self.source_b64 if isinstance(raw, UnsetType) else raw,
            reason=self.reason if isinstance(self.reason, UnsetType) else text_of(self.reason),
            notes=tuple(map(text_of, self.notes)),
        )
        try:  # nothing is written that could not be read
            return msgspec.convert(msgspec.to_builtins(record), type(self))
        except msgspec.ValidationError as error:
            raise ValueError(f"{self.source}: {error}") from error


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
            values[name] = text_of(value) if isinstance(value, str) else value
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
    videos: tuple[VideoRecord, ...] = ()
    errors: tuple[Failure, ...]


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


def source_of(record: Picture | Failure | VideoRecord) -> str:
    """The source as it was given: bytes that are not UTF-8 come back as lone surrogates."""
    if isinstance(record.source_b64, UnsetType):
        return record.source
    try:
        raw = base64.b64decode(record.source_b64, validate=True)
    except ValueError as error:
        raise BadAnnotation(f"{record.source}: source_b64 is not base64") from error
    return raw.decode("utf-8", "surrogateescape")


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


def text_of(text: str) -> str:
    """A text as JSON can hold it; bytes that are not UTF-8 become U+FFFD."""
    return encodable(text)[0]


def failure(source: str, reason: str) -> Failure:
    """The record of a picture that could not be read."""
    text, raw = encodable(source)
    return Failure(source=text, source_b64=raw, reason=text_of(reason))


def check_picture(picture: Picture, points: int, at: str) -> None:
    """Checks what the types of the structs cannot say.

    Args:
        picture: As read.
        points: Keypoints of the skeleton.
        at: Where it stands in the file.

    Raises:
        BadAnnotation: A list of keypoints has another length, or ``filled`` is not a list of
            ascending positions.
    """
    for i, person in enumerate(picture.people):
        lists = {"keypoints": person.keypoints, "measured": person.measured}
        for name, found in lists.items():
            if not isinstance(found, UnsetType) and len(found) != points:
                where = f"{at}.people[{i}].{name}"
                raise BadAnnotation(f"{len(found)} {name}, expected {points} - at {where}")
        filled = () if isinstance(person.filled, UnsetType) else person.filled
        if any(a >= b for a, b in pairwise((-1, *filled, points))):
            message = f"filled is not a list of ascending positions below {points}"
            raise BadAnnotation(f"{message} - at {at}.people[{i}].filled")
