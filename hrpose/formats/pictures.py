"""Poses to records of hrpose's own files and back, bit-equal in float32.

What has no people says nothing about smoothing: ``measured`` of an empty picture comes back as
None, and so does ``filled`` where no keypoint is. Heatmaps are not kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from msgspec import UNSET, UnsetType

from hrpose.formats.record import Header, Person, Picture, encodable, source_of
from hrpose.skeleton import Skeleton
from hrpose.types import FloatArray, Poses, Size


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


def picture_of(poses: Poses, header: Header) -> Picture:
    """The record of a picture and its people.

    Args:
        poses: The people.
        header: Of the file they go to.

    Raises:
        ValueError: The poses have another skeleton than the header, a number is NaN or infinite,
            or the size is not known.
    """
    wanted = header.skeleton
    if (poses.skeleton.name, poses.skeleton.keypoints) != (wanted.name, wanted.keypoints):
        raise ValueError(f"poses of {poses.skeleton.name} in a file of {wanted.name}")
    if poses.time is not None and not math.isfinite(poses.time):
        raise ValueError(f"time is {poses.time}, expected a finite number")
    if min(poses.size) < 1:
        raise ValueError(f"size is {tuple(poses.size)}, expected at least 1 x 1")
    text, raw = encodable(poses.source)
    return Picture(
        source=text,
        source_b64=raw,
        width=poses.size.width,
        height=poses.size.height,
        frame=poses.frame,
        time=UNSET if poses.time is None else float(poses.time),
        damaged=True if poses.damaged else UNSET,
        people=tuple(_people(poses)),
    )


def poses_of_picture(picture: Picture, skeleton: Skeleton) -> Poses:
    """The people of a picture, bit-equal to those that were written."""
    people, count = picture.people, len(skeleton)
    points = np.array([p.keypoints for p in people], np.float32).reshape(len(people), count, 3)
    keypoints = np.ascontiguousarray(points[..., :2])
    tracks = [-1 if isinstance(p.track_id, UnsetType) else p.track_id for p in people]
    return Poses(
        keypoints=keypoints,
        keypoint_scores=np.ascontiguousarray(points[..., 2]),
        boxes=np.array([p.box for p in people], np.float32).reshape(len(people), 4),
        box_scores=np.array([p.box_score for p in people], np.float32),
        track_ids=np.array(tracks, np.int64),
        size=Size(picture.width, picture.height),
        skeleton=skeleton,
        frame=picture.frame,
        time=None if isinstance(picture.time, UnsetType) else picture.time,
        source=source_of(picture),
        damaged=picture.damaged is True,
        measured=_measured(people, keypoints),
        filled=_filled(people, keypoints),
    )


def _people(poses: Poses) -> Iterator[Person]:
    """Rows of box, box score, score; x, y, score of every keypoint; measured x, y of every one."""
    people, count = len(poses), len(poses.skeleton)
    points = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
    with np.errstate(all="ignore"):  # what is not finite is refused below
        scores = np.stack([poses.box_scores, poses.scores], axis=1)
    blocks = [poses.boxes, scores, points.reshape(people, 3 * count)]
    if poses.measured is not None:
        blocks.append(poses.measured.reshape(people, 2 * count))
    rows = np.concatenate(blocks, axis=1)
    flat, width = shortest(rows), rows.shape[1]
    for i, track in enumerate(poses.track_ids.tolist()):
        left, top, right, bottom, box_score, score, *rest = flat[i * width : (i + 1) * width]
        found, measured = rest[: 3 * count], rest[3 * count :]
        yield Person(
            box=(left, top, right, bottom),
            box_score=box_score,
            score=score,
            track_id=UNSET if track < 0 else track,
            keypoints=tuple(zip(found[::3], found[1::3], found[2::3], strict=True)),
            measured=UNSET
            if poses.measured is None
            else tuple(zip(measured[::2], measured[1::2], strict=True)),
            filled=_positions(poses, i),
        )


def _positions(poses: Poses, person: int) -> tuple[int, ...] | UnsetType:
    if poses.filled is None:
        return UNSET
    return tuple(np.flatnonzero(poses.filled[person]).tolist()) or UNSET


def _measured(people: tuple[Person, ...], keypoints: FloatArray) -> FloatArray | None:
    if all(isinstance(person.measured, UnsetType) for person in people):
        return None
    measured = keypoints.copy()
    for i, person in enumerate(people):
        if not isinstance(person.measured, UnsetType):
            measured[i] = person.measured
    return measured


def _filled(people: tuple[Person, ...], keypoints: FloatArray) -> np.ndarray | None:
    if all(isinstance(person.filled, UnsetType) for person in people):
        return None
    filled = np.zeros(keypoints.shape[:2], np.bool_)
    for i, person in enumerate(people):
        if not isinstance(person.filled, UnsetType):
            filled[i, list(person.filled)] = True
    return filled
