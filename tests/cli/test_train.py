"""``hrpose train`` from files to a model file, and ``hrpose evaluate`` of that file."""

import csv
import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from hrpose.cli.main import run
from hrpose.models.hrnet import HRNetConfig
from hrpose.skeleton import MPII16
from hrpose.zoo.load import load
from hrpose.zoo.own import spec_of
from hrpose.zoo.specs import DEFAULT_DETECTOR, DEFAULT_POSE, SPECS, find_spec

SMALL = ["--steps", "3", "--batch-size", "2", "--log-steps", "1", "--warmup", "1", "--threads", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four noise pictures in a ZIP, one person each."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    images, people = [], []
    with zipfile.ZipFile(folder / "shard.zip", "w") as archive:
        for i in range(1, 5):
            Image.fromarray(random.integers(0, 255, (90, 80, 3), np.uint8)).save(folder / "x.png")
            archive.write(folder / "x.png", f"{i}.png")
            images.append(
                {"id": i, "file_name": f"{i}.png", "width": 80, "height": 90, "shard": "shard.zip"}
            )
            xy = random.uniform((20, 10), (60, 80), (17, 2))
            people.append(
                {
                    "id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "area": 1500.0,
                    "bbox": [15.0, 8.0, 50.0, 76.0],
                    "num_keypoints": 17,
                    "keypoints": [v for x, y in xy for v in (float(x), float(y), 2)],
                }
            )  # fmt: skip
    (folder / "x.png").unlink()
    document = {
        "images": images,
        "annotations": people,
        "categories": [{"id": 1, "name": "person"}],
    }
    (folder / "train.json").write_text(json.dumps(document))
    return folder


def _train(kind: str, data: Path, out: Path, *more: str) -> int:
    source = ["--data", str(data / "train.json"), "--images", str(data), "--out", str(out)]
    return run(["train", kind, *source, "--device", "cpu", *SMALL, *more])


def test_pose_to_file_and_evaluated(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train("pose", data, tmp_path, "--size", "64", "96") == 0
    model = tmp_path / "model.safetensors"
    assert f"{model}: 3 steps" in capsys.readouterr().out
    with safe_open(model, "pt") as file:
        about = {key: json.loads(v) for key, v in file.metadata().items() if key != "format"}
    assert about["model"] == DEFAULT_POSE
    assert about["input"] == [64, 96]
    assert about["settings"]["steps"] == 3
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert all(float(row["loss"]) > 0 for row in rows)

    numbers = tmp_path / "numbers.json"
    arguments = ["--data", str(data / "train.json"), "--images", str(data / "shard.zip")]
    arguments += ["--weights", str(model), "--device", "cpu", "--json", str(numbers)]
    assert run(["evaluate", *arguments]) == 0
    shown = capsys.readouterr().out
    assert "4 pictures, 4 people" in shown
    report = json.loads(numbers.read_text())
    assert f"{report['numbers']['keypoints']['AP']:8.1f}" in shown
    assert report["models"][1]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert report["settings"]["flip_test"] is True
    assert list(report["numbers"]) == ["keypoints"]
    assert run(["evaluate", *arguments]) == 5  # the numbers are there already


def test_detector_starts_from_the_trunk_of_a_pose_model(data: Path, tmp_path: Path) -> None:
    assert _train("pose", data, tmp_path / "pose", "--size", "64", "64") == 0
    trunk = str(tmp_path / "pose" / "model.safetensors")
    canvas = ("--canvas", "64", "64")
    assert _train("detector", data, tmp_path / "a", *canvas, "--init", trunk) == 0
    detector = str(tmp_path / "a" / "model.safetensors")
    assert _train("detector", data, tmp_path / "b", *canvas, "--init", detector) == 0
    arguments = ["--data", str(data / "train.json"), "--images", str(data), "--device", "cpu"]
    arguments += ["--boxes", "detector", "--weights", trunk, "--detector-weights", detector]
    assert run(["evaluate", *arguments, "--no-flip-test", "--threshold", "0.5"]) == 0


def test_boxes_that_fit_nobody(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, size = tmp_path / "found.json", ("--size", "64", "64")
    rows = [
        {"image_id": i, "category_id": 1, "bbox": box, "score": 0.5}
        for i, box in ((1, [15, 8, 50, 76]), (2, [66, 0, 14, 90]), (3, [0, 85, 80, 5]))
    ]
    found.write_text(json.dumps(rows))
    more = ("--negatives", str(found), "--negative-share", "0.5")
    assert _train("pose", data, tmp_path / "a", *size, *more) == 0
    assert "note: 2 boxes of found.json fit nobody" in capsys.readouterr().err
    with safe_open(tmp_path / "a" / "model.safetensors", "pt") as file:
        about = file.metadata()
    assert json.loads(about["negatives"]) == "found.json"
    assert json.loads(about["augmentation"])["negative_share"] == 0.5
    assert _train("pose", data, tmp_path / "b", *size) == 0
    logs = [(tmp_path / run / "log.csv").read_text() for run in "ab"]
    assert logs[0] != logs[1]
    found.write_text(json.dumps(rows[:1]))
    assert _train("pose", data, tmp_path / "c", *size, *more) == 3
    error = capsys.readouterr().err
    assert "no box of the pictures of --data that fits nobody" in error
    assert "hrpose evaluate --task boxes --predictions FILE" in error


def test_a_detector_takes_a_wider_trunk(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = find_spec(DEFAULT_POSE)
    assert isinstance(row.network, HRNetConfig)
    wider = replace(row.network, width=20)
    monkeypatch.setitem(SPECS, "wide.test", replace(row, name="wide.test", network=wider))
    out, canvas = tmp_path / "a", ("--canvas", "64", "64")
    words = (*canvas, "--init", DEFAULT_DETECTOR, "--trunk", "wide.test")
    assert _train("detector", data, out, *words) == 4
    assert "do not fit" in capsys.readouterr().err
    assert _train("detector", data, out, *words, "--grow") == 0
    file = str(out / "model.safetensors")  # knows its trunk, and so does what starts from it
    assert _train("detector", data, tmp_path / "b", *canvas, "--init", file) == 0
    assert load(file).network.backbone.trunk.stage2[0].branches[0][0].conv1.out_channels == 20
    assert (
        _train("detector", data, tmp_path / "c", *canvas, "--init", DEFAULT_POSE, *words[-2:]) == 4
    )
    assert _train("detector", data, tmp_path / "c", "--trunk", DEFAULT_DETECTOR) == 2
    assert "is no pose model" in capsys.readouterr().err


def test_resume_and_refusals(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ("--size", "64", "64")
    assert _train("pose", data, tmp_path, *size) == 0
    assert _train("pose", data, tmp_path, *size) == 5
    assert "--resume" in capsys.readouterr().err
    assert _train("pose", data, tmp_path, *size, "--resume", "--steps", "5") == 0
    assert "5 steps" in capsys.readouterr().out
    assert _train("pose", data, tmp_path / "x", "--init", str(data / "train.json")) == 4
    assert _train("pose", data, tmp_path / "x", "--schedule", "zigzag") == 2
    assert _train("pose", data, tmp_path / "x", "--model", "w999") == 2
    assert _train("pose", tmp_path, tmp_path / "x") == 3


def test_a_teacher_and_everything_else_at_once(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ("--size", "64", "64")
    assert _train("pose", data, tmp_path / "a", *size, "--optimizer", "adam", "--clip", "0") == 0
    teacher = str(tmp_path / "a" / "model.safetensors")
    words = ["--teacher", teacher, "--loss", "ohkm", "--paste", "1", "--data"]
    words += [str(data / "train.json"), "--mix", "train", "0.5", "--init", teacher]
    capsys.readouterr()
    assert _train("pose", data, tmp_path / "b", "--size", "32", "32", *words, "--seed", "1") == 0
    assert "note:" not in capsys.readouterr().err  # all weights fitted
    with safe_open(tmp_path / "b" / "model.safetensors", "pt") as file:
        about = {key: json.loads(v) for key, v in file.metadata().items() if key != "format"}
    assert about["data"] == ["train.json", "train.json"]
    assert about["people"] < 8
    assert about["loss"]["teacher"] == "model.safetensors"
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"keypoints": [f"p{i}" for i in range(17)]}))
    words = [*size, "--teacher", teacher, "--skeleton", str(names)]
    assert _train("pose", data, tmp_path / "c", *words) == 2
    assert "finds coco17, not custom" in capsys.readouterr().err
    assert _train("pose", data, tmp_path / "c", "--size", "64", "96", "--teacher", teacher) == 2
    assert "another aspect" in capsys.readouterr().err
    assert _train("pose", data, tmp_path / "c", "--size", "60", "96") == 2


def test_mpii_by_its_recipe(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(data / "shard.zip") as archive:
        archive.extract("1.png", tmp_path)
    joints = [[30.0 + i, 40.0 + i] for i in range(16)]
    person = {"image": "1.png", "center": [40, 45], "scale": 0.3, "joints": joints}
    (tmp_path / "train.json").write_text(json.dumps([{**person, "joints_vis": [1] * 16}] * 4))
    source = ["--data", str(tmp_path / "train.json"), "--images", str(tmp_path)]
    words = [*source, "--out", str(tmp_path / "run"), "--device", "cpu", "--batch-size", "2"]
    recipe = ["--recipe", "w32-mpii-256x256", "--model", DEFAULT_POSE, "--size", "64", "64"]
    assert run(["train", "pose", *words, *recipe, "--init", "none", "--epochs", "1"]) == 0
    said = capsys.readouterr()
    assert "note: skeleton mpii16: 16 keypoints, 6 pairs of left and right" in said.err
    assert "2 steps" in said.out
    assert spec_of(tmp_path / "run" / "model.safetensors").skeleton == MPII16
    assert run(["train", "detector", *words]) == 2
    assert "MPII has no boxes" in capsys.readouterr().err


HOUSE = ("roof", "left_wall", "right_wall", "left_floor", "right_floor")
COLOURS = ((255, 60, 60), (60, 255, 60), (60, 60, 255), (255, 255, 60), (60, 255, 255))


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty pictures of a house of five coloured corners, and its skeleton, as a user has them."""
    folder = tmp_path_factory.mktemp("houses")
    random = np.random.default_rng(0)
    corners = np.array([[0.5, 0.1], [0.15, 0.45], [0.85, 0.45], [0.15, 0.9], [0.85, 0.9]])
    images, objects = [], []
    y, x = np.mgrid[:80, :80]
    for i in range(1, 51):
        xy = 6 + 68 * (corners + random.uniform(-0.06, 0.06, corners.shape))
        pixels = random.integers(0, 60, (80, 80, 3), np.uint8)
        for (cx, cy), colour in zip(xy, COLOURS, strict=True):
            pixels[(x - cx) ** 2 + (y - cy) ** 2 < 36] = colour
        Image.fromarray(pixels).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 80, "height": 80})
        points = [v for point in xy for v in (*point.tolist(), 2)]
        objects.append({"id": i, "image_id": i, "bbox": [0, 0, 80, 80], "keypoints": points})
    (folder / "labels.json").write_text(json.dumps({"images": images, "annotations": objects}))
    edges = [["roof", "left_wall"], ["roof", "right_wall"], ["left_wall", "left_floor"],
             ["right_wall", "right_floor"], ["left_floor", "right_floor"]]  # fmt: skip
    skeleton = {"name": "house", "keypoints": HOUSE, "edges": edges}
    (folder / "house.json").write_text(json.dumps(skeleton))
    return folder


def test_a_new_skeleton_from_fifty_pictures(
    houses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What README tells: train on own pictures, then use the file as the pose model."""
    out = tmp_path / "house"
    words = ["train", "pose", "--data", str(houses / "labels.json"), "--images", str(houses)]
    words += ["--skeleton", str(houses / "house.json"), "--init", DEFAULT_POSE, "--out", str(out)]
    words += ["--size", "64", "64", "--steps", "60", "--batch-size", "8", "--warmup", "5"]
    words += ["--rotation", "15", "--scale", "0.1", "--colour", "0", "--erase", "0"]
    assert run([*words, "--lr", "3e-3", "--log-steps", "10", "--device", "cpu"]) == 0
    said = capsys.readouterr().err
    assert "note: skeleton house: 5 keypoints, 2 pairs of left and right" in said
    assert "its head for the 17 keypoints of coco17 is replaced by a new one for the 5" in said
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) / 2

    model = out / "model.safetensors"
    assert spec_of(model).skeleton.mirror == (0, 2, 1, 4, 3)
    words = ["image", str(houses / "7.png"), "--pose", str(model), "--detector", "none"]
    assert run([*words, "--pose-threshold", "0", "--device", "cpu", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "7.pose.json").read_text())
    assert tuple(document["skeleton"]["keypoints"]) == HOUSE
    assert document["models"][0]["name"] == str(model)
    points = json.loads((houses / "labels.json").read_text())["annotations"][6]["keypoints"]
    truth = np.reshape(points, (5, 3))[:, :2]
    (person,) = document["pictures"][0]["people"]
    error = np.linalg.norm(np.array(person["keypoints"])[:, :2] - truth, axis=1).mean()
    assert error < 0.3 * np.linalg.norm(truth - truth.mean(0), axis=1).mean()
