"""OpenPose's JSON, version 1.3: a folder with one file per frame, out and in.

::

    clip_000000000017_keypoints.json
    {"version": 1.3, "people": [
      {"person_id": [-1], "pose_keypoints_2d": [x, y, score, ...], "face_keypoints_2d": [], ...}]}

Names and order are those of OpenPose's doc/02_output.md. Two of its keypoints are derived from
COCO's: the neck is the middle of the shoulders, the mid-hip that of the hips, with the smaller of
both scores, and not found where either is not. Feet are not found. What is not found is 0, 0, 0.

Pose2Sim reads such folders: it takes those with ``json`` in their names, sorts the files by the
last number in theirs, and finds keypoint i at ``pose_keypoints_2d[3 * i]`` (triangulation.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct

from hrpose.errors import BadAnnotation, InputError, OutputError
from hrpose.formats.hints import UNKNOWN, Hints, extents
from hrpose.formats.pictures import shortest
from hrpose.formats.record import Float32, Header, text_of
from hrpose.formats.writer import PoseWriter
from hrpose.skeleton import COCO17
from hrpose.types import FloatArray, Poses

VERSION = 1.3
SUFFIX = "_keypoints.json"
Table = tuple[tuple[str, tuple[str, ...]], ...]

# OpenPose's keypoint, and what it is made of: one of COCO's, the middle of two, or nothing.
BODY_25: Table = (
    ("Nose", ("nose",)),
    ("Neck", ("left_shoulder", "right_shoulder")),
    ("RShoulder", ("right_shoulder",)),
    ("RElbow", ("right_elbow",)),
    ("RWrist", ("right_wrist",)),
    ("LShoulder", ("left_shoulder",)),
    ("LElbow", ("left_elbow",)),
    ("LWrist", ("left_wrist",)),
    ("MidHip", ("left_hip", "right_hip")),
    ("RHip", ("right_hip",)),
    ("RKnee", ("right_knee",)),
    ("RAnkle", ("right_ankle",)),
    ("LHip", ("left_hip",)),
    ("LKnee", ("left_knee",)),
    ("LAnkle", ("left_ankle",)),
    ("REye", ("right_eye",)),
    ("LEye", ("left_eye",)),
    ("REar", ("right_ear",)),
    ("LEar", ("left_ear",)),
    ("LBigToe", ()),
    ("LSmallToe", ()),
    ("LHeel", ()),
    ("RBigToe", ()),
    ("RSmallToe", ()),
    ("RHeel", ()),
)
# The same names in the same order, without the mid-hip and the feet.
COCO_18: Table = tuple(row for row in BODY_25[:19] if row[0] != "MidHip")

_FRAME = re.compile(r"(?P<clip>.*)_(?P<frame>[0-9]{1,18})(?:_keypoints)?\.json", re.DOTALL)
_STEM_BYTES = 200  # of the 255 that file systems allow for a name


class _Person(Struct):
    pose_keypoints_2d: list[Float32]
    person_id: tuple[int, ...] = (-1,)


class _File(Struct):
    people: list[_Person]


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_File)


def mapped(poses: Poses, table: Table) -> FloatArray:
    """People of COCO's keypoints as OpenPose's.

    Args:
        poses: Of COCO's 17 keypoints.
        table: :data:`BODY_25` or :data:`COCO_18`.

    Returns:
        (N, len(table), 3) float32: x, y in image pixels, and score.
    """
    result = np.zeros((len(poses), len(table), 3), np.float32)
    for i, (_, parts) in enumerate(table):
        at = [COCO17.keypoints.index(part) for part in parts]
        if at:
            result[:, i, :2] = poses.keypoints[:, at].mean(axis=1, dtype=np.float64)
            result[:, i, 2] = poses.keypoint_scores[:, at].min(axis=1)
    result[result[..., 2] <= 0] = 0
    return result


def file_name(source: str, frame: int, *, video: bool) -> str:
    """The name of a frame's file, or of a picture's, as OpenPose gives them.

    >>> file_name("in/clip.mp4", 17, video=True), file_name("in/photo.jpg", 0, video=False)
    ('clip_000000000017_keypoints.json', 'photo_keypoints.json')
    """
    stem = PurePath(source).stem
    if len(os.fsencode(stem)) > _STEM_BYTES:
        stem = os.fsencode(stem)[:_STEM_BYTES].decode("utf-8", "ignore")
    return f"{stem}_{frame:012d}{SUFFIX}" if video else f"{stem}{SUFFIX}"


def is_own(name: str) -> bool:
    """Whether a file of this name may be a result of OpenPose, by its name."""
    return name.endswith(SUFFIX)


class OpenPoseWriter(PoseWriter):
    """Writes one file per frame into a folder, also for frames without people.

    Args:
        folder: Exists, and is empty.
        table: The keypoint set.
    """

    def __init__(self, folder: Path, table: Table = BODY_25) -> None:
        super().__init__()
        self._folder, self._table = folder, table

    def write(self, poses: Poses) -> None:
        """Writes the file of one picture.

        Raises:
            ValueError: The skeleton is not COCO's, or a number is NaN or infinite; or the writer
                is closed. Nothing is written then.
            OutputError: Another picture has taken the name.
        """
        self._check_open()
        if poses.skeleton.keypoints != COCO17.keypoints:
            raise ValueError(f"OpenPose files hold {COCO17.name}, these are {poses.skeleton.name}")
        content = _ENCODER.encode({"version": VERSION, "people": self._people(poses)})
        name = file_name(poses.source, poses.frame, video=poses.time is not None)
        try:
            with (self._folder / name).open("xb") as file:
                file.write(content + b"\n")
        except FileExistsError as error:
            raise OutputError(
                f"{name}: two pictures would have this name",
                hint="OpenPose names files without their folders; give each folder its own run",
            ) from error

    def _people(self, poses: Poses) -> list[dict[str, Any]]:
        numbers, width = shortest(mapped(poses, self._table)), 3 * len(self._table)
        return [
            {
                "person_id": [track],
                "pose_keypoints_2d": numbers[i * width : (i + 1) * width],
                "face_keypoints_2d": [],
                "hand_left_keypoints_2d": [],
                "hand_right_keypoints_2d": [],
                "pose_keypoints_3d": [],
                "face_keypoints_3d": [],
                "hand_left_keypoints_3d": [],
                "hand_right_keypoints_3d": [],
            }
            for i, track in enumerate(poses.track_ids.tolist())
        ]


class _Entry(NamedTuple):
    clip: str
    frame: int
    name: str


def iter_openpose(folder: Path, hints: Hints) -> tuple[Header, int, Iterator[Poses]]:
    """Reads a folder of OpenPose's files, or Pose2Sim's, frame by frame, by clip and number.

    BODY_25 and COCO_18 come as COCO's 17 keypoints, without what OpenPose adds; lists of another
    length must fit the skeleton of ``hints``. A person's box is the extent of the keypoints that
    were found, its score 1.

    Args:
        folder: Files in it that do not end in ``.json`` are passed over.
        hints: What the files do not say. With ``fps``, files are the frames of videos and have
            numbers in their names; without, each is a picture, named after its file.

    Returns:
        The header, the number of files, and their people.

    Raises:
        InputError: The folder or a file of it cannot be read, or there is none.
        BadAnnotation: A file is not one of OpenPose's; names it. The iterator raises it, too.
    """
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".json")]
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror or error}", hint="check the path") from error
    if not names:
        raise InputError(f"{folder}: no OpenPose files in this folder", hint="check the path")
    entries = sorted(_entry(folder, name, hints) for name in names)
    return hints.header("openpose"), len(entries), (_read(folder, e, hints) for e in entries)


def _entry(folder: Path, name: str, hints: Hints) -> _Entry:
    if hints.fps is None:
        return _Entry(name.removesuffix(".json").removesuffix("_keypoints"), 0, name)
    match = _FRAME.fullmatch(name)
    if match is None:
        raise BadAnnotation(
            f"{text_of(str(folder / name))}: no frame number in its name",
            hint="leave --fps out for pictures",
        )
    return _Entry(match["clip"], int(match["frame"]), name)


def _read(folder: Path, entry: _Entry, hints: Hints) -> Poses:
    path = folder / entry.name
    shown = text_of(str(path))
    try:
        people = _DECODER.decode(path.read_bytes()).people
    except OSError as error:
        raise InputError(f"{shown}: {error.strerror or error}", hint="check the folder") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnnotation(f"{shown}: not a file of OpenPose: {error}") from error
    points = np.zeros((len(people), len(hints.skeleton), 3), np.float32)
    for i, person in enumerate(people):
        points[i] = _points(person.pose_keypoints_2d, hints, f"{shown}: $.people[{i}]")
    keypoints, scores = np.ascontiguousarray(points[..., :2]), np.ascontiguousarray(points[..., 2])
    return Poses(
        keypoints=keypoints,
        keypoint_scores=scores,
        boxes=extents(keypoints, scores),
        box_scores=np.ones(len(people), np.float32),
        track_ids=np.array([max(p.person_id[0], -1) if p.person_id else -1 for p in people], int),
        size=hints.size or UNKNOWN,
        skeleton=hints.skeleton,
        frame=entry.frame,
        time=hints.time(entry.frame),
        source=entry.clip,
    )


def _points(numbers: list[float], hints: Hints, at: str) -> FloatArray:
    if len(numbers) == 3 * len(hints.skeleton):
        return np.array(numbers, np.float32).reshape(-1, 3)
    tables = {3 * len(table): table for table in (BODY_25, COCO_18)}
    table = tables.get(len(numbers))
    if table is None or hints.skeleton.keypoints != COCO17.keypoints:
        lengths = sorted({*tables, 3 * len(hints.skeleton)})
        raise BadAnnotation(
            f"{at}.pose_keypoints_2d has {len(numbers)} numbers, expected one of {lengths}",
            hint="--skeleton names another keypoint set",
        )
    at_own = {parts[0]: i for i, (_, parts) in enumerate(table) if len(parts) == 1}
    order = [at_own[name] for name in COCO17.keypoints]
    return np.array(numbers, np.float32).reshape(-1, 3)[order]
