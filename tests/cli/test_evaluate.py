"""``hrpose evaluate``: every task through one command, what it writes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hrpose.cli import evaluation
from hrpose.cli.main import run
from hrpose.crop import CropSpec
from hrpose.errors import InputError
from hrpose.estimator import Estimator
from hrpose.evaluate import classify, face, mpii
from hrpose.evaluate import run as coco
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import PoseNet
from hrpose.options import Options
from hrpose.pipeline import UsedModel
from hrpose.run import Unreadable
from hrpose.skeleton import COCO17
from hrpose.types import Codec, Size

REPO = Path(__file__).resolve().parents[2]
TINY = HRNetConfig(width=4, stem=8, planes=4, bottlenecks=1, modules=(1, 1, 1), blocks=1)
BOX = [10.0, 5.0, 30.0, 50.0]
POINTS = [value for k in range(17) for value in (12.0 + k, 10.0 + 2 * k, 2)]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a tiny random network take the place of the pose model."""

    def build(options: Options, *_: Any, **__: Any) -> tuple[Estimator, UsedModel]:
        torch.manual_seed(0)
        network = PoseNet(TINY, 17)
        crop, codec = CropSpec(Size(32, 64)), Codec()
        estimator = Estimator(network, crop=crop, codec=codec, skeleton=COCO17)
        return estimator, UsedModel("pose", options.pose, "e" * 64)

    monkeypatch.setattr(coco, "build_estimator", build)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three labelled pictures and boxes for two of them."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    images, people, found = [], [], []
    for i in (1, 2, 3):
        noise = random.integers(0, 255, (60, 80, 3), np.uint8)
        Image.fromarray(noise).save(f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 80, "height": 60})
        people.append(
            {
                "id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "area": 1500.0,
                "bbox": BOX, "num_keypoints": 17, "keypoints": POINTS,
            }
        )  # fmt: skip
        found.append({"image_id": i, "category_id": 1, "bbox": BOX, "score": i / 10})
    Path("data.json").write_text(json.dumps({"images": images, "annotations": people}))
    Path("found.json").write_text(json.dumps(found[:2]))
    return tmp_path


DATA = ("--data", "data.json")
ALL = (*DATA, "--images", ".", "--device", "cpu")


def evaluate(*arguments: str) -> int:
    return run(["evaluate", *arguments])


def test_numbers_on_screen_and_in_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(*ALL, "--json", "numbers.json") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "detect: ground truth"
    assert shown[1].startswith("pose: ")
    assert shown[1].endswith("eeeeeeee")
    assert shown[2].startswith("3 pictures, 3 people, ")
    document = json.loads(Path("numbers.json").read_text())
    numbers = document["numbers"]["keypoints"]
    assert shown[3] == "keypoints"
    assert shown[4].split() == list(numbers)
    assert shown[5].split() == [f"{value:.1f}" for value in numbers.values()]
    assert document["settings"]["flip_test"] is True
    assert document["settings"]["protocol"] == "official"
    assert (document["settings"]["nms"], document["settings"]["box_threshold"]) == ("oks", 0.0)
    assert list(document["files"]) == ["data"]
    assert evaluate(*ALL, "--json", "numbers.json") == 5
    assert evaluate(*ALL, "--json", "numbers.json", "--force") == 0
    assert evaluate(*ALL, "--json", "data.json", "--force") == 5  # an input


def test_points_of_the_protocol(here: Path) -> None:
    points = ("--nms", "soft", "--oks-threshold", "0.5", "--threshold", "0.15", "--no-flip-test")
    boxes = ("--boxes", "found.json", "--exif", "--protocol", "mmpose")
    assert evaluate(*ALL, *points, *boxes, "--json", "numbers.json") == 0
    document = json.loads(Path("numbers.json").read_text())
    want = {
        "protocol": "mmpose", "nms": "soft", "oks_threshold": 0.5, "box_threshold": 0.15,
        "flip_test": False, "apply_exif": True, "truth_boxes": "clipped",
    }  # fmt: skip
    assert want.items() <= document["settings"].items()
    assert list(document["files"]) == ["data", "boxes"]
    assert document["people"] == 1  # of scores 0.1 and 0.2


def test_predictions_are_scored_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(*ALL, "--predictions", "results.json", "--json", "a.json") == 0
    rows = json.loads(Path("results.json").read_text())
    assert [set(row) for row in rows] == [{"image_id", "category_id", "keypoints", "score"}] * 3
    assert evaluate(*DATA, "--results", "results.json", "--json", "b.json") == 0
    a, b = (json.loads(Path(name).read_text()) for name in ("a.json", "b.json"))
    assert a["numbers"] == b["numbers"]
    assert b["device"] is None
    assert list(b["files"]) == ["data", "results"]
    capsys.readouterr()
    assert evaluate(*ALL, "--predictions", "results.json") == 5
    assert "already exists" in capsys.readouterr().err


def test_boxes_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--task", "boxes", *DATA, "--boxes", "found.json") == 0
    shown = capsys.readouterr().out
    assert "person boxes" in shown
    assert "recall50" in shown
    assert "66.7" in shown


def test_breakdown(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(*ALL, "--report", "why") == 0
    assert {path.suffix for path in Path("why").iterdir()} == {".html", ".json", ".jpg"}
    page = next(Path("why").glob("*.html")).read_text()
    assert "ground truth" in page
    capsys.readouterr()
    assert evaluate(*ALL, "--report", "why") == 5
    assert evaluate(*ALL, "--report", "why", "--force") == 0
    assert evaluate(*DATA, "--results", "none.json", "--report", "new") == 2  # no pictures


def test_breakdown_of_results_without_a_model(here: Path) -> None:
    assert evaluate(*ALL, "--predictions", "results.json") == 0
    images = ("--images", ".", "--report", "why")
    assert evaluate(*DATA, "--results", "results.json", *images) == 0
    assert len(list(Path("why").iterdir())) == 3


def test_unreadable_pictures(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("2.png").write_bytes(b"not a picture")
    assert evaluate(*ALL, "--json", "numbers.json", "--report", "why") == 3
    said = capsys.readouterr()
    assert "3 pictures, 2 people" in said.out
    errors = [line for line in said.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "2.png" in errors[0]
    assert "hint: 1 of 3 pictures could not be read" in said.err
    assert json.loads(Path("numbers.json").read_text())["unreadable"][0]["source"] == "2.png"
    for name in ("1.png", "3.png"):
        Path(name).unlink()
    assert evaluate(*ALL) == 3
    assert "AP" not in capsys.readouterr().out


@dataclass(frozen=True)
class Found:
    """What an evaluation of another task gives."""

    unreadable: tuple[Unreadable, ...] = ()
    models: tuple[UsedModel, ...] = (UsedModel("pose", "some", "a" * 64),)
    pictures: int = 20
    people: int = 30
    seconds: float = 1.25

    def tables(self) -> list[tuple[str, dict[str, float]]]:
        return [("a measure", {"first": 12.34, "a long name": 100.0}), ("another", {"x": 0.0})]


@dataclass
class Called:
    """Takes the place of the function of a task."""

    found: Found
    positional: tuple[Any, ...] = ()
    named: dict[str, Any] | None = None

    def __call__(self, *positional: Any, **named: Any) -> Found:
        self.positional, self.named = positional, named
        return self.found


def test_predicted_boxes_are_scored_again(here: Path) -> None:
    boxes = (*DATA, "--task", "boxes")
    assert evaluate(*boxes, "--boxes", "found.json", "--predictions", "again.json") == 0
    assert json.loads(Path("again.json").read_text()) == [
        {"image_id": i, "category_id": 1, "bbox": BOX, "score": pytest.approx(i / 10)}
        for i in (1, 2)
    ]
    high = ("--boxes", "again.json", "--threshold", "0.9", "--predictions", "none.json")
    assert evaluate(*boxes, *high) == 0
    assert json.loads(Path("none.json").read_text()) == []
    assert evaluate(*boxes, "--boxes", "again.json", "--predictions", "again.json") == 5


@pytest.mark.parametrize(
    ("task", "module", "options", "want"),
    [
        ("pckh", mpii, ("--truth", "t.mat"), ({"truth": Path("t.mat")}, True)),
        ("face", face, ("--boxes", "points", "--predictions", "p.json"),
         ({"boxes": "points", "results": Path("p.json")}, False)),
        ("face", face, ("--flip-test", "--weights", "w.pth"), ({"weights": Path("w.pth")}, True)),
        ("classify", classify, ("--weights", "w.pth"), ({"weights": Path("w.pth")}, False)),
    ],
    ids=["pckh", "face", "face, mirrored", "classify"],
)  # fmt: skip
def test_other_tasks(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    task: str,
    module: Any,
    options: tuple[str, ...],
    want: tuple[dict[str, Any], bool],
) -> None:
    named, flip_test = want
    called = Called(Found())
    monkeypatch.setattr(module, f"evaluate_{task}", called)
    for name in ("t.mat", "w.pth"):
        Path(name).write_bytes(b"x")
    arguments = ("--task", task, *ALL, "--pose", "some", *options, "--json", "numbers.json")
    assert evaluate(*arguments) == 0
    data, images, given = called.positional
    assert (data, images, called.named) == (Path("data.json"), (Path("."),), named)
    assert (given.pose, given.device, given.flip_test) == ("some", "cpu", flip_test)
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["pose: some aaaaaaaa", "20 pictures, 30 people, 1.2 s"]
    numbers = "     12.34       100.00" if task == "face" else "      12.3        100.0"
    assert shown[2:5] == ["a measure", "     first  a long name", numbers]
    document = json.loads(Path("numbers.json").read_text())
    assert document["numbers"]["a measure"] == {"first": 12.34, "a long name": 100.0}
    assert document["settings"]["flip_test"] is flip_test


def test_unreadable_pictures_of_other_tasks(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = tuple(
        Unreadable(f"{i}.png", InputError(f"{i}.png: gone", hint="look")) for i in range(12)
    )
    monkeypatch.setattr(face, "evaluate_face", Called(Found(unreadable=failed)))
    assert evaluate("--task", "face", *ALL) == 3
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "error: 0.png: gone"
    assert len(said) == 11
    assert said[-1] == "hint: 12 of 20 pictures could not be read; look"


NONSENSE = {
    "--truth t.mat": "--task pckh, not keypoints",
    "--task pckh --boxes gt": "--task keypoints or boxes or face, not pckh",
    "--task boxes --nms soft": "--task keypoints, not boxes",
    "--task classify --flip-test": "--task keypoints or pckh or face",
    "--task face --boxes gt": "published, file, points",
    "--task face --report x": "--task keypoints",
    "--results r.json --pose x": "--pose changes nothing",
    "--results r.json --nms soft": "--nms changes nothing",
    "--results r.json --boxes gt": "--boxes changes nothing",
    "--task boxes --boxes gt": "ground-truth",
    "--task nothing": "nothing",
    "--nms hard": "hard",
    "--threshold 2": "threshold",
    "--oks-threshold 0": "oks-threshold",
    "--device nowhere": "nowhere",
}


@pytest.mark.parametrize("line", NONSENSE, ids=str)
def test_nonsense(here: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert evaluate(*ALL[:4], *line.split()) == 2
    assert NONSENSE[line] in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["", "--boxes found.json", "--task boxes", "--task face", "--task classify"], ids=str
)
def test_pictures_are_needed(here: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert evaluate(*DATA, *line.split()) == 2
    assert "--images" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    ["--data none.json", "--data found.json", "--data data.json --boxes none.json",
     "--data data.json --boxes data.txt", "--data data.json --results data.json"],
    ids=str,
)  # fmt: skip
def test_bad_files(here: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    Path("data.txt").write_text("no boxes")
    assert evaluate("--images", ".", *line.split()) == 3
    assert capsys.readouterr().err.startswith("error: ")


def test_words_of_faces_are_those_of_the_library() -> None:
    assert evaluation.FACE_BOXES == face.BOXES


def test_help_shows_tasks_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name in evaluation.TASKS:
        assert name in shown
    assert "[default: (0.9)" in shown


def test_help_loads_no_torch() -> None:
    code = "import sys, hrpose.cli.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO, check=False).returncode == 0
