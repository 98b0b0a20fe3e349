"""Files that say what they are, and skeletons as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from hrpose.crop import CropSpec
from hrpose.errors import UsageError, WeightsError
from hrpose.models.networks import PoseNet
from hrpose.options import DEFAULT_DETECTOR, DEFAULT_POSE
from hrpose.skeleton import COCO17, SKELETONS, Skeleton
from hrpose.train.export import export
from hrpose.types import Codec, Size
from hrpose.zoo.load import load
from hrpose.zoo.own import (
    description,
    find_model,
    mirror_by_name,
    read_header,
    skeleton_document,
    skeleton_from,
    spec_of,
)
from hrpose.zoo.specs import SPECS

STAR = Skeleton("star", ("top", "left_arm", "right_arm"), ((0, 1), (0, 2)), (0, 2, 1), (), (0,))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An exported network for the star, at an input size of its own."""
    spec = SPECS[DEFAULT_POSE]
    torch.manual_seed(3)
    network = PoseNet(spec.network, len(STAR))  # type: ignore[arg-type]
    about = {
        "model": DEFAULT_POSE,
        **description(CropSpec(Size(64, 96)), Codec(sigma=1.5, refine="none"), STAR),
    }
    export(network, tmp_path / "star.safetensors", about=about)
    return tmp_path / "star.safetensors"


def test_a_file_says_all_that_is_needed_to_use_it(file: Path) -> None:
    spec = spec_of(file)
    assert (spec.name, spec.task, spec.embedded) == (str(file), "pose", False)
    assert spec.crop == CropSpec(Size(64, 96))
    assert spec.codec == Codec(sigma=1.5, refine="none")
    assert spec.skeleton == STAR
    assert (spec.metric, spec.sha256, spec.url) == (None, None, None)
    loaded = load(str(file))
    assert loaded.spec == spec
    assert loaded.network(torch.zeros(1, 3, 96, 64)).shape == (1, 3, 24, 16)


def test_names_and_files(file: Path) -> None:
    assert find_model(DEFAULT_POSE) == (SPECS[DEFAULT_POSE], None)
    assert find_model(str(file))[1] == file
    with pytest.raises(UsageError, match="unknown model"):
        find_model(str(file.with_name("none.safetensors")))


def test_an_older_file_of_a_known_model(tmp_path: Path) -> None:
    """Files of earlier versions name model and input only; a detector has no skeleton at all."""
    export(torch.nn.Linear(2, 2), tmp_path / "a", about={"model": DEFAULT_POSE, "input": [96, 128]})
    spec = spec_of(tmp_path / "a")
    assert spec.crop is not None
    assert (spec.crop.size, spec.skeleton) == (Size(96, 128), COCO17)
    export(torch.nn.Linear(2, 2), tmp_path / "b", about={"model": DEFAULT_DETECTOR})
    assert spec_of(tmp_path / "b").task == "detect"


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({}, "does not say which model"),
        ({"model": "w999"}, "does not understand: unknown model"),
        ({"model": 3}, "does not understand"),
        ({"model": DEFAULT_POSE, "input": [3]}, "does not understand"),
        ({"model": DEFAULT_POSE, "codec": {"size": 3}}, "does not understand"),
        ({"model": DEFAULT_POSE, "skeleton": {"keypoints": []}}, "does not understand"),
    ],
    ids=str,
)
def test_files_that_do_not_say_it(tmp_path: Path, about: dict[str, object], reason: str) -> None:
    export(torch.nn.Linear(2, 2), tmp_path / "a.safetensors", about=about)
    with pytest.raises(WeightsError, match=reason):
        spec_of(tmp_path / "a.safetensors")


def test_headers(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a", metadata={"who": "me", "n": "[1, 2]"})
    assert read_header(tmp_path / "a") == {"who": "me", "n": [1, 2]}
    save_file({"a": torch.zeros(1)}, tmp_path / "b")
    (tmp_path / "c").write_bytes(b"other")
    assert read_header(tmp_path / "b") == read_header(tmp_path / "c") == {}


@pytest.mark.parametrize("skeleton", [*SKELETONS.values(), STAR], ids=lambda s: s.name)
def test_skeletons_survive_json(skeleton: Skeleton) -> None:
    text = json.dumps(skeleton_document(skeleton))
    again = skeleton_from(json.loads(text))
    assert again == skeleton
    assert (again is skeleton) == (skeleton is not STAR)


def test_a_skeleton_by_names_and_by_numbers() -> None:
    names = {"keypoints": list(STAR.keypoints), "name": "star", "upper_body": ["top"]}
    edges = [["top", "left_arm"], [0, 2]]
    assert skeleton_from({**names, "edges": edges}) == STAR
    assert skeleton_from({**names, "edges": edges, "mirror": [["left_arm", 2]]}) == STAR
    assert skeleton_from({**names, "mirror": []}).mirror == (0, 1, 2)
    assert skeleton_from({"keypoints": ["a"], "sigmas": [0.1]}).sigmas == (0.1,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"keypoints": "abc"}, "no list of names"),
        ({"keypoints": [1, 2]}, "no list of names"),
        ({"keypoints": ["a", "a"]}, "not unique"),
        ({"edges": [["a", "x"]]}, "'x' is none of the 3 keypoints"),
        ({"edges": [["a", 3]]}, "3 is none"),
        ({"edges": [["a", -1]]}, "-1 is none"),
        ({"edges": [["a", True]]}, "True is none"),
        ({"edges": [["a"]]}, "does not name 2"),
        ({"edges": ["ab"]}, "is no list"),
        ({"edges": "ab"}, "edges is no list"),
        ({"edges": 5}, "edges is no list"),
        ({"mirror": [["a", "b"], ["b", "c"]]}, "mirror"),
        ({"sigmas": [0.1]}, "1 sigmas for 3"),
        ({"sigmas": ["a", "b", "c"]}, "no list of numbers"),
        ({"upper_body": ["z"]}, "'z' is none"),
        ({"limbs": []}, "has no 'limbs'"),
    ],
    ids=str,
)
def test_bad_skeletons(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        skeleton_from({"keypoints": ["a", "b", "c"], **change})


@pytest.mark.parametrize("document", [None, [], "a", {}, {"names": ["a"]}], ids=repr)
def test_other_documents(document: object) -> None:
    with pytest.raises(ValueError, match="object with 'keypoints'"):
        skeleton_from(document)


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_names_tell_the_mirror_of_the_known_skeletons(skeleton: Skeleton) -> None:
    assert mirror_by_name(skeleton.keypoints) == skeleton.mirror


@given(st.lists(st.text("lrLREefFight_ a", min_size=1, max_size=8), unique=True))
def test_mirrors_by_name_are_their_own_inverse(names: list[str]) -> None:
    Skeleton("any", tuple(names), (), mirror_by_name(names))
