"""OpenPose's folders: names, order and derived keypoints; what Pose2Sim finds; and back."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrpose.errors import BadAnnotation, InputError, OutputError
from hrpose.formats.hints import UNKNOWN, Hints
from hrpose.formats.openpose import (
    BODY_25,
    COCO_18,
    OpenPoseWriter,
    file_name,
    iter_openpose,
    mapped,
)
from hrpose.skeleton import COCO17, MPII16, WFLW98
from hrpose.types import Poses, Size

# doc/02_output.md of OpenPose: POSE_BODY_25_BODY_PARTS and POSE_COCO_BODY_PARTS, no background.
DOCUMENTED = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip"
    " LKnee LAnkle REye LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
)
DOCUMENTED_18 = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee"
    " LAnkle REye LEye REar LEar"
)


def make(people: int = 2, **changes: Any) -> Poses:
    random = np.random.default_rng(people)
    fields: dict[str, Any] = {
        "keypoints": random.normal(300, 200, (people, 17, 2)).astype(np.float32),
        "keypoint_scores": random.random((people, 17), dtype=np.float32) + np.float32(0.01),
        "boxes": np.zeros((people, 4), np.float32),
        "box_scores": np.ones(people, np.float32),
        "track_ids": np.arange(people) - 1,
        "size": Size(640, 480),
        "skeleton": COCO17,
        "frame": 0,
        "time": 0.0,
        "source": "in/clip.mov.mp4",
    }
    return Poses(**{**fields, **changes})


def test_order_is_the_documented_one() -> None:
    names = [name for name, _ in BODY_25]
    assert names == DOCUMENTED.split()
    assert [name for name, _ in COCO_18] == DOCUMENTED_18.split()


@pytest.mark.parametrize("table", [BODY_25, COCO_18], ids=["body25", "coco18"])
def test_keypoints_keep_their_meaning(table: Any) -> None:
    poses = make()
    points = mapped(poses, table)
    at = {name: i for i, (name, _) in enumerate(table)}
    own = {name: i for i, name in enumerate(COCO17.keypoints)}
    for name, i in own.items():
        side, _, part = name.partition("_")
        other = f"{side[0].upper()}{part.capitalize()}" if part else "Nose"
        assert np.array_equal(points[:, at[other], :2], poses.keypoints[:, i]), name
        assert np.array_equal(points[:, at[other], 2], poses.keypoint_scores[:, i]), name
    left, right = own["left_shoulder"], own["right_shoulder"]
    middle = (poses.keypoints[:, left] + poses.keypoints[:, right]) / 2
    assert points[:, at["Neck"], :2] == pytest.approx(middle)
    least = poses.keypoint_scores[:, [left, right]].min(axis=1)
    assert np.array_equal(points[:, at["Neck"], 2], least)


def test_what_is_not_found_is_zero() -> None:
    poses = make(1)
    poses.keypoint_scores[0, COCO17.keypoints.index("left_hip")] = 0
    points = dict(zip(DOCUMENTED.split(), mapped(poses, BODY_25)[0].tolist(), strict=True))
    for name in ("LHip", "MidHip", "LHeel", "RSmallToe"):
        assert points[name] == [0, 0, 0], name
    assert all(points["RHip"])


def written(folder: Path, *items: Poses) -> Path:
    folder.mkdir()
    with OpenPoseWriter(folder) as writer:
        for poses in items:
            writer.write(poses)
            writer.fail("b.jpg", "empty")
    return folder


def test_a_file_per_frame_also_without_people(tmp_path: Path) -> None:
    folder = written(tmp_path / "out", make(2, frame=9), make(0, frame=10), make(1, frame=100))
    names = sorted(os.listdir(folder))
    assert names == [f"clip.mov_{n:012d}_keypoints.json" for n in (9, 10, 100)]
    text = (folder / names[0]).read_text()
    content = json.loads(text)
    assert text.startswith('{"version":1.3,"people":[{"person_id":[-1],"pose_keypoints_2d":[')
    assert [person["person_id"] for person in content["people"]] == [[-1], [0]]
    person = content["people"][0]
    assert len(person.pop("pose_keypoints_2d")) == 75
    assert list(person) == [
        "person_id", "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d",
        "pose_keypoints_3d", "face_keypoints_3d", "hand_left_keypoints_3d",
        "hand_right_keypoints_3d",
    ]  # fmt: skip
    assert not any(person[key] for key in list(person)[1:])
    assert json.loads((folder / names[1]).read_bytes()) == {"version": 1.3, "people": []}


def pose2sim(pose_folder: Path, keypoint: int) -> list[list[list[float]]]:
    """What Pose2Sim 0.10.49 takes: x, y, score of a keypoint of everybody, by frame number.

    Facts of triangulation.py: folders with `json` in their names; files `*.json` by the last
    number in their names; the frame is that number; `people[n]["pose_keypoints_2d"][3 * id + i]`.
    """
    (folder,) = (p for p in pose_folder.iterdir() if p.is_dir() and "json" in p.name)
    names = [name for name in os.listdir(folder) if name.endswith(".json")]
    by_frame = {int(re.findall("[0-9]+", name)[-1]): name for name in names}
    found = []
    for frame in range(len(names)):
        content = json.loads((folder / by_frame[frame]).read_bytes())
        people = [person["pose_keypoints_2d"] for person in content["people"]]
        found.append([p[3 * keypoint : 3 * keypoint + 3] for p in people])
    return found


def test_pose2sim_finds_every_frame_and_keypoint(tmp_path: Path) -> None:
    frames = [make(i % 3, frame=i, source="cam01.mp4") for i in range(12)]
    written(tmp_path / "cam01_openpose_json", *frames)
    ankle = COCO17.keypoints.index("right_ankle")
    found = pose2sim(tmp_path, DOCUMENTED.split().index("RAnkle"))
    for people, poses in zip(found, frames, strict=True):
        want = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
        assert np.array_equal(np.array(people, np.float32).reshape(-1, 3), want[:, ankle])


NAMES = {
    ("in/clip.mp4", 17, True): "clip_000000000017_keypoints.json",
    ("in/clip.mp4", 10**13, True): "clip_10000000000000_keypoints.json",
    ("a/photo.7.jpg", 0, False): "photo.7_keypoints.json",
    ("x" * 300 + ".mp4", 0, True): "x" * 200 + "_000000000000_keypoints.json",
    ("ü" * 101, 0, True): "ü" * 100 + "_000000000000_keypoints.json",
}


@pytest.mark.parametrize(
    ("given", "want"), NAMES.items(), ids=[name[:20] for name in NAMES.values()]
)
def test_file_names(given: tuple[str, int, bool], want: str) -> None:
    source, frame, video = given
    assert file_name(source, frame, video=video) == want
    assert len(os.fsencode(want)) <= 255


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = [make(time=None, source=name) for name in ("a/photo.jpg", "photo.png")]
    with pytest.raises(OutputError, match=r"photo_keypoints\.json: two pictures"):
        written(tmp_path / "out", *twice)


def test_wrong_arguments(tmp_path: Path) -> None:
    writer = OpenPoseWriter(tmp_path)
    other = make(
        1, skeleton=MPII16, keypoints=np.zeros((1, 16, 2), np.float32),
        keypoint_scores=np.zeros((1, 16), np.float32),
    )  # fmt: skip
    with pytest.raises(ValueError, match="mpii16"):
        writer.write(other)
    bad = make()
    bad.keypoints[0, 0] = np.inf
    with pytest.raises(ValueError, match="NaN"):
        writer.write(bad)
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(make())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("table", [BODY_25, COCO_18], ids=["body25", "coco18"])
def test_frames_come_back_by_number(tmp_path: Path, table: Any) -> None:
    frames = [make(2, frame=n, track_ids=np.array([5, -1])) for n in (100, 9)]
    with OpenPoseWriter(tmp_path, table) as writer:
        for poses in frames:
            writer.write(poses)
    (tmp_path / "notes.txt").touch()
    header, count, items = iter_openpose(tmp_path, Hints(size=Size(640, 480), fps=25))
    first, second = items
    assert (count, header.settings) == (2, {"converted_from": "openpose", "fps": 25})
    assert [p.frame for p in (first, second)] == [9, 100]
    assert (first.time, first.source, first.size) == (9 / 25, "clip.mov", (640, 480))
    assert np.array_equal(second.keypoints, frames[0].keypoints)
    assert np.array_equal(second.keypoint_scores, frames[0].keypoint_scores)
    assert second.track_ids.tolist() == [5, -1]
    assert second.boxes[0, :2].tolist() == frames[0].keypoints[0].min(axis=0).tolist()


def test_without_fps_each_file_is_a_picture(tmp_path: Path) -> None:
    folder = written(tmp_path / "out", make(1, frame=3), make(0, time=None, source="a.jpg"))
    _, _, items = iter_openpose(folder, Hints())
    found = [(p.source, p.frame, p.time, p.size) for p in items]
    assert found == [("a", 0, None, UNKNOWN), ("clip.mov_000000000003", 0, None, UNKNOWN)]
    with pytest.raises(BadAnnotation, match=r"a_keypoints\.json: no frame number"):
        iter_openpose(folder, Hints(fps=30))


def stored(folder: Path, content: str) -> Path:
    (folder / "cam_000001.json").write_text(content)
    return folder


PERSON = '{"people":[{"pose_keypoints_2d":[%s]}]}'


def test_files_of_pose2sim_come_too(tmp_path: Path) -> None:
    content = PERSON % ",".join(["1,2,0.5", *["0,0,0"] * 16])
    _, _, items = iter_openpose(stored(tmp_path, content), Hints(fps=10))
    (poses,) = items
    assert (poses.frame, poses.source, poses.track_ids.tolist()) == (1, "cam", [-1])
    assert poses.keypoints[0, 0].tolist() == [1, 2]
    assert poses.boxes.tolist() == [[1, 2, 1, 2]]


BAD = {
    "length": (PERSON % "1,2,3", r"people\[0\]\.pose_keypoints_2d has 3 numbers, .*\[51, 54, 75\]"),
    "NaN": (PERSON % "NaN", "not a file of OpenPose"),
    "old": ('{"people":[{"pose_keypoints":[]}]}', r"pose_keypoints_2d.*people\[0\]"),
    "huge": (PERSON % "1e39", "not a file of OpenPose"),
    "list": ("[]", "not a file of OpenPose"),
    "cut": ('{"people":[', "not a file of OpenPose"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_damage_is_named(tmp_path: Path, content: str, message: str) -> None:
    _, _, items = iter_openpose(stored(tmp_path, content), Hints())
    with pytest.raises(BadAnnotation, match=message) as caught:
        list(items)
    assert "cam_000001.json" in caught.value.message


def test_another_skeleton_must_fit(tmp_path: Path) -> None:
    content = PERSON % ",".join(["1"] * 294)
    _, _, items = iter_openpose(stored(tmp_path, content), Hints(skeleton=WFLW98))
    assert next(items).keypoints.shape == (1, 98, 2)
    _, _, items = iter_openpose(stored(tmp_path, PERSON % ",".join(["1"] * 75)), Hints(WFLW98))
    with pytest.raises(BadAnnotation, match="75 numbers"):
        next(items)


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no OpenPose files"):
        iter_openpose(tmp_path, Hints())
    with pytest.raises(InputError, match="nowhere"):
        iter_openpose(tmp_path / "nowhere", Hints())
