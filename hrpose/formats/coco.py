"""COCO JSON: keypoint results out, person boxes in.

Results are the list that the COCO keypoint evaluation takes: per person ``image_id``,
``category_id`` 1, ``keypoints`` (17 times x, y, score), ``score`` and ``bbox`` (x, y, width,
height), and of people with an id ``track_id``. Unlike the native format it has no place for picture
sizes, times, failures or measured values beside smoothed ones, and people of two pictures with one
number in their names cannot be told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Annotated, BinaryIO

import msgspec
import numpy as np
import torch
from msgspec import UNSET, Meta, Struct, UnsetType

from hrpose.errors import BadAnnotation, InputError
from hrpose.formats.pictures import shortest
from hrpose.formats.record import text_of
from hrpose.formats.writer import PoseWriter
from hrpose.geometry import xyxy_from_xywh
from hrpose.skeleton import COCO17
from hrpose.types import Detections, FloatArray, Poses

PERSON = 1  # category_id
_DIGITS = 18  # a longer number does not fit 64 bits

Pixel = Annotated[float, Meta(ge=-1e9, le=1e9)]
Length = Annotated[float, Meta(ge=0, le=1e9)]
Box = tuple[Pixel, Pixel, Length, Length]
ImageId = int | str


class _Result(Struct, frozen=True):
    image_id: ImageId
    category_id: int
    bbox: Box
    score: Annotated[float, Meta(ge=0, le=1)]


class _Annotation(Struct, frozen=True):
    image_id: ImageId
    category_id: int
    bbox: Box
    iscrowd: int = 0


class _Image(Struct, frozen=True):
    id: ImageId
    file_name: str


class _GroundTruth(Struct, frozen=True):
    images: list[_Image]
    annotations: list[_Annotation]


class _Entry(Struct, frozen=True):
    image_id: ImageId
    category_id: int
    keypoints: list[float]
    score: float
    bbox: list[float]
    track_id: int | UnsetType = UNSET


_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[list[_Result] | _GroundTruth] = msgspec.json.Decoder(
    list[_Result] | _GroundTruth
)


def image_id(source: str) -> ImageId:
    """The COCO id of a picture: the last group of digits in its file name, else the file name.

    Folders and the extension do not count, nor does a number of more than 18 digits. Bytes of a
    name that are not UTF-8 become U+FFFD.

    >>> image_id("val2017/000000000139.jpg"), image_id("IMG_2024_07.png"), image_id("photo.jpg")
    (139, 7, 'photo.jpg')
    """
    path = PurePath(source)
    groups = re.findall("[0-9]+", path.stem)
    if groups and len(groups[-1]) <= _DIGITS:
        return int(groups[-1])
    return text_of(path.name)


class CocoWriter(PoseWriter):
    """Writes a COCO keypoint results list.

    Args:
        file: Open for writing bytes; stays open.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._comma = b"\n"
        file.write(b"[")

    def write(self, poses: Poses) -> None:
        """Appends the people of one picture.

        A picture without time takes :func:`image_id` of its source; a frame of a video, whose
        source is that of all frames, its index.

        Raises:
            ValueError: The skeleton is not COCO's, or a number is NaN or infinite; or the writer
                is closed. Nothing is written then.
        """
        if poses.skeleton.keypoints != COCO17.keypoints:
            raise ValueError(f"COCO results hold {COCO17.name}, these are {poses.skeleton.name}")
        self._check_open()
        key = image_id(poses.source) if poses.time is None else poses.frame
        width = 3 * len(poses.skeleton)
        points = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
        with np.errstate(all="ignore"):  # what is not finite is refused below
            sides = poses.boxes[:, 2:] - poses.boxes[:, :2]
            scores = poses.scores[:, None]
        rows = [points.reshape(len(poses), width), scores, poses.boxes[:, :2], sides]
        numbers = shortest(np.concatenate(rows, axis=1))
        for i, track in enumerate(poses.track_ids.tolist()):
            row = numbers[i * (width + 5) : (i + 1) * (width + 5)]
            entry = _Entry(
                key, PERSON, row[:width], row[width], row[width + 1 :],
                track_id=UNSET if track < 0 else track,
            )  # fmt: skip
            self._file.write(self._comma + _ENCODER.encode(entry))
            self._comma = b",\n"

    def _finish(self) -> None:
        self._file.write(b"\n]\n")


def read_detections(path: Path) -> dict[ImageId, Detections]:
    """Reads person boxes: a COCO detection results list, or COCO ground truth.

    Other categories are passed over, and crowds of a ground truth. A picture of a ground truth is
    found by its id and by its ``file_name``, also when it has no people; its boxes score 1.

    Args:
        path: A JSON file.

    Returns:
        Detections per picture, best first, equal scores in the order of the file. Ids are as in
        the file; :func:`boxes_for` finds a picture's.

    Raises:
        InputError: The file cannot be read.
        BadAnnotation: It is not such a file; names the entry, as ``$[17].bbox``.
    """
    shown = text_of(str(path))
    try:
        content = _DECODER.decode(path.read_bytes())
    except OSError as error:
        message = f"{shown}: {error.strerror or error}"
        raise InputError(message, hint="check the path of the boxes") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnnotation(
            f"{shown}: not COCO boxes: {error}",
            hint="expected a list of image_id, category_id, bbox and score, or COCO annotations",
        ) from error
    if isinstance(content, _GroundTruth):
        return _truth(content, shown)
    people = [row for row in content if row.category_id == PERSON]
    return _group((row.image_id, row.bbox, row.score) for row in people)


def boxes_for(found: Mapping[ImageId, Detections], source: str) -> Detections | None:
    """The boxes of a picture: by its path, by ever shorter ends of it, then by :func:`image_id`.

    Args:
        found: What :func:`read_detections` returned.
        source: Path of the picture.

    Returns:
        Its detections, or None where the file of boxes does not know the picture.
    """
    parts = PurePath(source).parts
    ends = (text_of(PurePath(*parts[i:]).as_posix()) for i in range(len(parts)))
    return next((found[key] for key in (*ends, image_id(source)) if key in found), None)


def _truth(content: _GroundTruth, shown: str) -> dict[ImageId, Detections]:
    known = {image.id for image in content.images}
    for i, row in enumerate(content.annotations):
        if row.image_id not in known:
            raise BadAnnotation(
                f"{shown}: image {row.image_id!r} is not listed - at $.annotations[{i}]"
            )
    people = (r for r in content.annotations if r.category_id == PERSON and not r.iscrowd)
    grouped = _group((row.image_id, row.bbox, 1.0) for row in people)
    none = Detections(boxes=torch.zeros(0, 4), scores=torch.zeros(0))
    by_id: dict[ImageId, Detections] = {i.id: grouped.get(i.id, none) for i in content.images}
    return by_id | {image.file_name: by_id[image.id] for image in content.images}


def _group(rows: Iterable[tuple[ImageId, Box, float]]) -> dict[ImageId, Detections]:
    groups: dict[ImageId, list[tuple[float, ...]]] = {}
    for key, box, score in rows:
        groups.setdefault(key, []).append((*box, score))
    return {key: _detections(np.array(group)) for key, group in groups.items()}


def _detections(rows: FloatArray) -> Detections:
    """From (N, 5) float64 rows of x, y, width, height, score."""
    table = torch.from_numpy(rows[np.argsort(-rows[:, 4], kind="stable")])
    return Detections(boxes=xyxy_from_xywh(table[:, :4]).float(), scores=table[:, 4].float())
