"""Scored people: one table for all pictures, and COCO's lists of results.

Keypoint results go out and come in, box results go out; ``formats.coco`` reads these.

The list of keypoints is that of the official code: per person ``image_id``, ``category_id`` 1,
17 times x, y, score, and ``score``. It has no ``bbox``: with one, pycocotools takes the area of a
result from it and not from its keypoints, and APM, APL, ARM and ARL change. N people in all
pictures together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from hrpose.errors import BadAnnotation, InputError
from hrpose.formats.coco import PERSON
from hrpose.geometry import xywh_from_xyxy
from hrpose.media.output import atomic_output
from hrpose.skeleton import COCO17
from hrpose.types import Detections, Frame, IntArray, Poses

DoubleArray = NDArray[np.float64]
_WIDTH = 3 * len(COCO17)


class _Entry(Struct, frozen=True):
    image_id: int
    category_id: int
    keypoints: Annotated[list[float], Meta(min_length=_WIDTH, max_length=_WIDTH)]
    score: float


class _BoxEntry(Struct, frozen=True):
    image_id: int
    category_id: int
    bbox: tuple[float, ...]
    score: float


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[_Entry])


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """People as they are scored, picture by picture.

    Attributes:
        image_ids: (N,) int64.
        keypoints: (N, 17, 3) float64: x, y in image pixels, and the keypoint's score.
        scores: (N,) float64 of the people.
    """

    image_ids: IntArray
    keypoints: DoubleArray
    scores: DoubleArray

    def __post_init__(self) -> None:
        people = len(self.image_ids)
        if self.scores.shape != (people,) or self.keypoints.shape != (people, len(COCO17), 3):
            raise ValueError(
                f"keypoints {self.keypoints.shape} and scores {self.scores.shape} for {people}"
                f" people, expected ({people}, {len(COCO17)}, 3) and ({people},)"
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def areas(self) -> DoubleArray:
        """(N,) px^2 of the keypoints' extent, by which pycocotools sorts results into sizes."""
        xy = self.keypoints[..., :2]
        areas: DoubleArray = np.prod(xy.max(axis=1) - xy.min(axis=1), axis=1)
        return areas


def scored_people(results: Iterable[tuple[Frame, Poses]], ids: Sequence[int]) -> Scored:
    """Puts the people of all pictures into one table.

    Args:
        results: Every picture's poses, of COCO's 17 keypoints.
        ids: Picture ids by ``Frame.index``.
    """
    owners: list[int] = []
    points = [np.zeros((0, len(COCO17), 3))]
    scores = [np.zeros(0)]
    for frame, poses in results:
        owners += [ids[frame.index]] * len(poses)
        triples = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
        points.append(triples.astype(np.float64))
        scores.append(poses.scores.astype(np.float64))
    return Scored(np.array(owners, np.int64), np.concatenate(points), np.concatenate(scores))


def write_results(path: Path, scored: Scored, *, force: bool = False) -> None:
    """Writes what was scored, with all digits; the file appears whole or not at all.

    Args:
        path: The JSON file.
        scored: The people.
        force: Replace an existing file.

    Raises:
        OutputError: It cannot be written.
    """
    rows = zip(scored.image_ids, scored.keypoints, scored.scores, strict=True)
    entries = (
        _Entry(int(owner), PERSON, points.ravel().tolist(), float(score))
        for owner, points, score in rows
    )
    _write_list(path, entries, force=force)


def write_boxes(
    path: Path,
    results: Iterable[tuple[Frame, Detections]],
    ids: Sequence[int],
    *,
    force: bool = False,
) -> None:
    """Writes boxes as COCO's detection results; the file appears whole or not at all.

    Args:
        path: The JSON file.
        results: Every picture's boxes.
        ids: Picture ids by ``Frame.index``.
        force: Replace an existing file.

    Raises:
        OutputError: It cannot be written.
    """
    entries = (
        _BoxEntry(ids[frame.index], PERSON, tuple(box), score)
        for frame, found in results
        for box, score in zip(
            xywh_from_xyxy(found.boxes.double()).tolist(), found.scores.tolist(), strict=True
        )
    )
    _write_list(path, entries, force=force)


def _write_list(path: Path, entries: Iterable[Struct], *, force: bool) -> None:
    """A JSON list with a line an entry."""
    with atomic_output(path, force=force) as part, part.open("wb") as file:
        before = b"[\n"
        for entry in entries:
            file.write(before + _ENCODER.encode(entry))
            before = b",\n"
        file.write(b"[]\n" if before == b"[\n" else b"\n]\n")


def read_results(path: Path, ids: Collection[int]) -> Scored:
    """Reads a list of COCO keypoint results; other categories than people are passed over.

    Args:
        path: The JSON file; a ``bbox`` in it does not count.
        ids: Picture ids of the ground truth.

    Raises:
        InputError: The file cannot be read.
        BadAnnotation: It is not such a list, or of other pictures; names the entry.
    """
    try:
        entries = _DECODER.decode(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", hint="check --results") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnnotation(
            f"{path}: not COCO keypoint results: {error}",
            hint="expected rows of image_id, category_id, keypoints (17 times x, y, score), score",
        ) from error
    for i, entry in enumerate(entries):
        if entry.image_id not in ids:
            raise BadAnnotation(
                f"{path}: image {entry.image_id} is not in the data - at $[{i}]",
                hint="results and --data do not belong together",
            )
    people = [entry for entry in entries if entry.category_id == PERSON]
    points = np.array([entry.keypoints for entry in people], np.float64)
    return Scored(
        np.array([entry.image_id for entry in people], np.int64),
        points.reshape(-1, len(COCO17), 3),
        np.array([entry.score for entry in people], np.float64),
    )
