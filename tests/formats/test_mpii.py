"""MPII's files: pixels that count from 1, regions as published, and what is no such file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from hrpose.errors import BadAnnotation, InputError
from hrpose.formats.mpii import MAT_JOINTS, read_mpii, read_mpii_truth

PERSON: dict[str, Any] = {
    "image": "a.jpg",
    "center": [101.0, 61.0],
    "scale": 2.0,
    "joints": [[k + 1.0, 2 * k + 1.0] for k in range(16)],
    "joints_vis": [1] * 15 + [0],
}


def stored(folder: Path, content: object, name: str = "valid.json") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in PERSON.items() if key != name}


def test_pixels_count_from_0_and_regions_are_as_published(tmp_path: Path) -> None:
    """Centre 15 px times the scale lower, scale times 1.25 - but not where the centre is -1."""
    people = read_mpii(stored(tmp_path, [PERSON, PERSON | {"center": [-1, -1], "image": "b.jpg"}]))
    assert len(people) == 2
    assert people.images == ("a.jpg", "b.jpg")
    assert people.centers.tolist() == [[100, 61 + 30 - 1], [-2, -2]]
    assert people.sides.tolist() == [500, 400]
    assert people.labels.joints[0].tolist() == [[k, 2 * k] for k in range(16)]
    assert people.labels.labelled.tolist() == [[True] * 15 + [False]] * 2


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, 0.0),
        ({"headbox": [10, 10, 40, 50]}, 0.6 * 50),
        ({"headbox": [40, 50, 10, 10]}, 0.6 * 50),
        ({"head_size": 12.5}, 12.5),
        ({"head_size": 12.5, "headbox": [10, 10, 40, 50]}, 12.5),
    ],
    ids=["none", "box", "box of other corners", "size", "both"],
)
def test_head_sizes(tmp_path: Path, changes: dict[str, Any], size: float) -> None:
    people = read_mpii(stored(tmp_path, [PERSON | changes]))
    assert people.labels.head_sizes.tolist() == pytest.approx([size])


@pytest.mark.parametrize("left_out", ["joints", "joints_vis"])
def test_without_labels_nothing_is_labelled(tmp_path: Path, left_out: str) -> None:
    people = read_mpii(stored(tmp_path, [without(left_out) | {"annolist_index": 5}]))
    assert not people.labels.labelled.any()
    assert people.labels.joints.shape == (1, 16, 2)


BAD: dict[str, tuple[object, str]] = {
    "no image": ([PERSON, without("image")], r"image.*\$\[1\]"),
    "no center": ([without("center")], r"center.*\$\[0\]"),
    "scale 0": ([PERSON | {"scale": 0}], r"\$\[0\]\.scale"),
    "scale of a text": ([PERSON | {"scale": "2"}], r"\$\[0\]\.scale"),
    "15 joints": ([PERSON | {"joints": PERSON["joints"][1:]}], r"\$\[0\]\.joints"),
    "joint of one number": ([PERSON | {"joints": [[1]] * 16}], r"\$\[0\]\.joints\[0\]"),
    "17 flags": ([PERSON | {"joints_vis": [1] * 17}], r"\$\[0\]\.joints_vis"),
    "flag 2": ([PERSON | {"joints_vis": [2] * 16}], r"\$\[0\]\.joints_vis\[0\]"),
    "head of nothing": ([PERSON | {"head_size": 0}], r"\$\[0\]\.head_size"),
    "box of corners": ([PERSON | {"headbox": [[1, 2], [3, 4]]}], r"\$\[0\]\.headbox"),
    "COCO": ({"images": [], "annotations": []}, "not MPII"),
    "cut": (json.dumps([PERSON]).encode()[:-9], "not MPII"),
    "text": (b"hello", "not MPII"),
    "empty": (b"", "not MPII"),
    "not utf-8": (b'[{"image":"\xff"}]', "not MPII"),
    "deep": (b"[" * 10**5, "not MPII"),
    "nobody": ([], "nobody"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_malformed_people_are_named(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(BadAnnotation, match=message) as caught:
        read_mpii(stored(tmp_path, content))
    assert "valid.json" in caught.value.message
    assert caught.value.hint


def test_missing_files(tmp_path: Path) -> None:
    for read in (read_mpii, read_mpii_truth):
        with pytest.raises(InputError, match="none"):
            read(tmp_path / "none")
        with pytest.raises(InputError):
            read(tmp_path)


def variables(people: int = 3) -> dict[str, Any]:
    """As in gt_valid.mat: people in the last dimension, names in a cell array."""
    random = np.random.default_rng(people)
    names = np.empty((1, 16), object)
    names[0] = MAT_JOINTS
    corner = random.uniform(1, 100, (1, 2, people))
    return {
        "other": np.arange(5),
        "dataset_joints": names,
        "headboxes_src": np.concatenate([corner, corner + np.array([[[30.0], [40.0]]])]),
        "jnt_missing": (random.random((16, people)) < 0.3).astype(np.uint8),
        "pos_gt_src": random.uniform(1, 500, (16, 2, people)),
    }


def matlab(folder: Path, content: dict[str, Any]) -> Path:
    file = io.BytesIO()
    savemat(file, content, do_compression=True)
    return stored(folder, file.getvalue(), "gt_valid.mat")


@pytest.mark.parametrize("people", [1, 3])
def test_truth_counts_from_0(tmp_path: Path, people: int) -> None:
    content = variables(people)
    labels = read_mpii_truth(matlab(tmp_path, content))
    assert len(labels) == people
    for n in range(people):
        for k in range(16):
            assert labels.joints[n, k].tolist() == (content["pos_gt_src"][k, :, n] - 1).tolist()
            assert labels.labelled[n, k] == (content["jnt_missing"][k, n] == 0)
    assert labels.head_sizes == pytest.approx(np.full(people, 30))  # 0.6 * hypot(30, 40)


def test_truth_of_one_person_may_lack_the_last_dimension(tmp_path: Path) -> None:
    content = variables(1)
    flat = content | {"pos_gt_src": content["pos_gt_src"][..., 0]}
    flat |= {"headboxes_src": content["headboxes_src"][..., 0]}
    got, want = read_mpii_truth(matlab(tmp_path, flat)), read_mpii_truth(matlab(tmp_path, content))
    np.testing.assert_array_equal(got.joints, want.joints)
    np.testing.assert_array_equal(got.labelled, want.labelled)


def test_names_of_joints_may_be_left_out(tmp_path: Path) -> None:
    content = variables()
    del content["dataset_joints"]
    assert len(read_mpii_truth(matlab(tmp_path, content))) == 3


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "others' joints": ({"pos_gt_src": np.ones((17, 2, 3))}, r"pos_gt_src.*\(17, 2, 3\)"),
    "fewer flags": ({"jnt_missing": np.zeros((16, 2))}, r"jnt_missing.*\(16, 2\)"),
    "no heads": ({"headboxes_src": np.zeros((2, 2, 0))}, "headboxes_src"),
    "names": ({"pos_gt_src": np.array(MAT_JOINTS, object)}, "pos_gt_src holds no numbers"),
    "text": ({"pos_gt_src": "x"}, "there is no pos_gt_src"),
    "numbers for names": ({"dataset_joints": np.arange(16)}, "dataset_joints"),
    "not a number": ({"headboxes_src": np.full((2, 2, 3), np.nan)}, "headboxes_src"),
    "other order": (
        {"dataset_joints": np.array(MAT_JOINTS[::-1], object)[None]},
        "dataset_joints",
    ),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_wrong_truth_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadAnnotation, match=message) as caught:
        read_mpii_truth(matlab(tmp_path, variables() | changes))
    assert "gt_valid.mat" in caught.value.message


@pytest.mark.parametrize("name", ["pos_gt_src", "jnt_missing", "headboxes_src"])
def test_truth_that_lacks_a_variable(tmp_path: Path, name: str) -> None:
    content = variables()
    del content[name]
    with pytest.raises(BadAnnotation, match=f"there is no {name}"):
        read_mpii_truth(matlab(tmp_path, content))


@pytest.mark.parametrize("content", [b"", b"hello", b"MATLAB 7.3" + bytes(600), bytes(2000)])
def test_other_files_are_no_truth(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadAnnotation, match=r"gt_valid\.mat"):
        read_mpii_truth(stored(tmp_path, content, "gt_valid.mat"))


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.99])
def test_a_truth_that_is_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = matlab(tmp_path, variables())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadAnnotation, match=r"gt_valid\.mat"):
        read_mpii_truth(path)
