"""Labelled faces: hrpose's JSON, COCO's form as mmpose uses it, and WFLW's text list.

- JSON list of faces: ``file``, ``landmarks`` (K times x, y), and where known ``box`` (x1, y1, x2,
  y2), ``shard`` (ZIP that holds the picture), ``width``, ``height``, ``box_size`` and ``subset`` (a
  name or a list of names; without it ``source``).
- COCO: ``images`` and ``annotations`` with ``keypoints`` (K times x, y, v; v = 0 is not labelled),
  and where known ``center`` and ``scale`` (side of a square box in units of 200 px), ``bbox``,
  ``box_size`` and ``subset``.
- WFLW: a line a face: 196 coordinates, a box (x1, y1, x2, y2), six attributes (0 or 1), the name.

Coordinates are passed on as they are. Some files of 300-W count pixels from 1 and do not say so; as
in the published evaluations such labels meet predictions for boxes that count from 1, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from hrpose.errors import BadAnnotation, InputError
from hrpose.formats.record import encodable
from hrpose.types import Size

DoubleArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

WFLW_POINTS = 98
WFLW_SUBSETS = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")
UNIT = 200  # px of a scale of 1

Number = Annotated[float, Meta(ge=-1e6, le=1e6)]
Length = Annotated[float, Meta(ge=0, le=1e6)]
Side = Annotated[int, Meta(ge=0, le=1_000_000)]
Point = tuple[Number, Number]
Box = tuple[Number, Number, Number, Number]
Names = str | list[str]


class _Face(Struct, frozen=True):
    file: str
    landmarks: Annotated[list[Point], Meta(min_length=1)]
    shard: str = ""
    box: Box | None = None
    width: Side = 0
    height: Side = 0
    box_size: Length | None = None
    subset: Names | None = None
    source: str = ""


class _Image(Struct, frozen=True):
    id: int | str
    file_name: str
    width: Side = 0
    height: Side = 0
    shard: str = ""


class _Annotation(Struct, frozen=True):
    image_id: int | str
    keypoints: Annotated[list[Number], Meta(min_length=3)]
    bbox: Box | None = None
    center: Point | None = None
    scale: Length | None = None
    box_size: Length | None = None
    subset: Names | None = None
    iscrowd: int = 0


class _Coco(Struct, frozen=True):
    images: list[_Image]
    annotations: list[_Annotation]


_DECODER: msgspec.json.Decoder[list[_Face] | _Coco] = msgspec.json.Decoder(list[_Face] | _Coco)


@dataclass(frozen=True, slots=True, eq=False)
class _Labels:
    """One face; ``points`` (K, 2), ``labelled`` (K,), ``box`` (4,) xyxy."""

    name: str
    points: DoubleArray
    labelled: BoolArray
    shard: str = ""
    size: Size | None = None
    box: Sequence[float] | None = None
    box_size: float | None = None
    subsets: Sequence[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class FaceLabels:
    """N labelled faces of K points, in the order of their file.

    Attributes:
        names: N file names of pictures; several faces may be in one.
        shards: N names of the ZIPs that hold them, or "".
        sizes: N sizes of the pictures as far as the file says.
        points: (N, K, 2) float64 image px; of no meaning where not labelled.
        labelled: (N, K) bool; each face has a labelled point.
        boxes: (N, 4) float64 xyxy image px: the file's, or those of the labelled points.
        box_sizes: (N,) float64 px: the file's, or the longer sides of the boxes.
        subsets: Names of subsets and (N,) bool, which faces are in them.
    """

    names: tuple[str, ...]
    shards: tuple[str, ...]
    sizes: tuple[Size | None, ...]
    points: DoubleArray
    labelled: BoolArray
    boxes: DoubleArray
    box_sizes: DoubleArray
    subsets: dict[str, BoolArray]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def tight(self) -> DoubleArray:
        """(N, 4) boxes of the labelled points, out to whole pixels.

        The boxes of the published evaluations on 300W, COFW and WFLW (cofw.py of the official code;
        the centres and scales of mmpose's files are the same).
        """
        low = np.where(self.labelled[..., None], self.points, np.inf).min(axis=1)
        high = np.where(self.labelled[..., None], self.points, -np.inf).max(axis=1)
        return np.concatenate([np.floor(low), np.ceil(high)], axis=1)


def read_faces(path: Path) -> FaceLabels:
    """Reads labelled faces.

    Args:
        path: A file of one of the three forms; its content tells which.

    Raises:
        InputError: It cannot be read.
        BadAnnotation: It has another form; names the entry.
    """
    shown = encodable(str(path))[0]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{shown}: {error.strerror or error}", hint="check --data") from error
    start = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    try:
        faces = list(_from_json(content) if start in (b"[", b"{") else _from_wflw(content))
        return _together(faces)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise BadAnnotation(
            f"{shown}: no labelled faces: {error}",
            hint="expected a JSON list of faces, COCO's form, or WFLW's text list",
        ) from error


def _from_json(content: bytes) -> Iterable[_Labels]:
    document = _DECODER.decode(content)
    if isinstance(document, _Coco):
        return _from_coco(document)
    return map(_from_row, document)


def _from_row(row: _Face) -> _Labels:
    points = np.array(row.landmarks)
    return _Labels(
        row.file,
        points,
        np.ones(len(points), np.bool_),
        shard=row.shard,
        size=_size(row.width, row.height),
        box=row.box,
        box_size=row.box_size,
        subsets=_names(row.subset if row.subset is not None else row.source),
    )


def _from_coco(document: _Coco) -> Iterable[_Labels]:
    images = {image.id: image for image in document.images}
    for i, entry in enumerate(document.annotations):
        if entry.image_id not in images:
            raise ValueError(f"no image {entry.image_id!r} - at $.annotations[{i}].image_id")
        if len(entry.keypoints) % 3:
            raise ValueError(f"no triples - at $.annotations[{i}].keypoints")
        image, triples = images[entry.image_id], np.array(entry.keypoints).reshape(-1, 3)
        labelled = triples[:, 2] > 0
        if entry.iscrowd or not labelled.any():
            continue
        yield _Labels(
            image.file_name,
            triples[:, :2],
            labelled,
            shard=image.shard,
            size=_size(image.width, image.height),
            box=_coco_box(entry),
            box_size=entry.box_size,
            subsets=_names(entry.subset or ()),
        )


def _coco_box(entry: _Annotation) -> Sequence[float] | None:
    if entry.center is not None and entry.scale is not None:  # bbox is a wider one in mmpose's
        (x, y), half = entry.center, entry.scale * UNIT / 2
        return (x - half, y - half, x + half, y + half)
    if entry.bbox is None:
        return None
    x, y, width, height = entry.bbox
    return (x, y, x + width, y + height)


def _from_wflw(content: bytes) -> Iterable[_Labels]:
    count = 2 * WFLW_POINTS
    numbers = count + 4 + len(WFLW_SUBSETS)
    for i, line in enumerate(content.decode("utf-8-sig").splitlines(), start=1):
        words = line.split(maxsplit=numbers)
        if not words:
            continue
        if len(words) != numbers + 1:
            raise ValueError(f"{len(words)} words instead of {numbers + 1} in line {i}")
        try:
            values = np.array(words[:-1], np.float64)
        except ValueError:
            raise ValueError(f"a word that is no number in line {i}") from None
        if not np.isfinite(values).all():
            raise ValueError(f"a value that is not a number in line {i}")
        flags = values[count + 4 :]
        yield _Labels(
            words[-1].strip(),
            values[:count].reshape(-1, 2),
            np.ones(WFLW_POINTS, np.bool_),
            box=values[count : count + 4].tolist(),
            subsets=[name for name, flag in zip(WFLW_SUBSETS, flags, strict=True) if flag > 0],
        )


def _together(faces: Sequence[_Labels]) -> FaceLabels:
    if not faces:
        raise ValueError("the list is empty")
    count = len(faces[0].points)
    for i, face in enumerate(faces):
        if len(face.points) != count:
            raise ValueError(f"face {i} ({face.name}) has {len(face.points)} points, not {count}")
    boxes = np.array([_box(face) for face in faces])
    sides = np.maximum(*(boxes[:, 2:] - boxes[:, :2]).T)
    given = [face.box_size for face in faces]
    subsets = list(dict.fromkeys(name for face in faces for name in face.subsets))
    return FaceLabels(
        names=tuple(face.name for face in faces),
        shards=tuple(face.shard for face in faces),
        sizes=tuple(face.size for face in faces),
        points=np.stack([face.points for face in faces]),
        labelled=np.stack([face.labelled for face in faces]),
        boxes=boxes,
        box_sizes=np.array([s if g is None else g for g, s in zip(given, sides, strict=True)]),
        subsets={
            name: np.array([name in face.subsets for face in faces], np.bool_) for name in subsets
        },
    )


def _box(face: _Labels) -> Sequence[float]:
    if face.box is not None:
        return face.box
    seen = face.points[face.labelled]
    return (*seen.min(axis=0), *seen.max(axis=0))


def _size(width: int, height: int) -> Size | None:
    return Size(width, height) if width and height else None


def _names(names: Names | Sequence[str]) -> Sequence[str]:
    if isinstance(names, str):
        return [names] if names else []
    return names
