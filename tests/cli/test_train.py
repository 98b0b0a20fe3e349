"""``hrpose train`` from files to a model file, and ``hrpose evaluate`` of that file."""

import csv
import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from hrpose.cli.main import run
from hrpose.zoo.specs import DEFAULT_POSE

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
    assert f"{report['keypoints']['AP']:8.1f}" in shown
    assert report["models"][1]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert report["settings"]["flip_test"] is True
    assert report["boxes"] is None
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
    assert run(["evaluate", *arguments, "--no-flip-test"]) == 0


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
