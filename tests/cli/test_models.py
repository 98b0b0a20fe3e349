from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from hrpose.cli.main import run
from hrpose.cli.models import HEADINGS, models
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import PoseNet
from hrpose.zoo import files
from hrpose.zoo.specs import DEFAULT_POSE, SPECS

TINY = HRNetConfig(width=4, stem=4, planes=4, bottlenecks=1, modules=(1, 1, 1), blocks=1)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HRPOSE_HOME", str(tmp_path / "home"))
    row = replace(SPECS["hrnet_w32_256x192.mmpose"], name="tiny.test", network=TINY)
    monkeypatch.setitem(SPECS, row.name, row)
    return tmp_path / "home"


def call(*words: str) -> Result:
    return CliRunner().invoke(models, words)


def test_table(home: Path) -> None:
    home.mkdir()
    path = files.imported(SPECS["tiny.test"])
    path.write_bytes(bytes(2_400_000))
    done = call()
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [re.split(r"  +", line) for line in done.stdout.splitlines()]
    assert lines[0] == list(HEADINGS)
    rows = {line[0].removesuffix(" *"): line for line in lines[1 : len(SPECS) + 1]}
    assert list(rows) == list(SPECS)
    assert rows[DEFAULT_POSE][:4] == [f"{DEFAULT_POSE} *", "pose", "192 x 256", "-"]
    official = ["pose", "192 x 256", "74.4 keypoint AP [1]", "115", "no"]
    assert rows["hrnet_w32_256x192.official"][1:] == official
    detector = ["detect", "any", "37.0 box mAP [3]", "168", "no"]
    assert rows["fasterrcnn_resnet50_fpn.torchvision"][1:] == detector
    assert rows["tiny.test"][-2:] == ["2", str(path)]
    assert "[1] COCO val2017, person detector of AP 56.4, mirror test" in done.stdout


def test_json(home: Path) -> None:
    rows = {row["name"]: row for row in json.loads(call("--json").stdout)}
    assert list(rows) == list(SPECS)
    row = rows["hrnet_w32_256x192.official"]
    assert row["metric"]["value"] == 74.4
    assert (row["input_width"], row["input_height"]) == (192, 256)
    assert (row["path"], row["bytes"], row["default"]) == (None, None, False)
    assert rows[DEFAULT_POSE]["default"] is True


def test_add(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    torch.save(PoseNet(TINY, 17).state_dict(), file)
    done = call("add", str(file), "--as", "tiny.test")
    assert done.exit_code == 0
    assert done.stdout == f"{home / 'tiny.test.safetensors'}\n"
    assert "not the published file" in done.stderr


def test_get_of_what_is_here(home: Path) -> None:
    files.make_home()
    files.imported(SPECS["tiny.test"]).touch()
    done = call("get", "tiny.test")
    assert done.stdout == f"{home / 'tiny.test.safetensors'}\n"
    assert "Apache-2.0" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("get hrnet_w32_256x192.official", 4, "hrpose models add FILE"),
        ("get hrnet_w23", 2, "unknown model 'hrnet_w23'"),
        ("add nowhere.pth --as hrnet_w32_256x192.official", 4, "nowhere.pth does not exist"),
        ("add nowhere.pth", 2, "--as"),
    ],
)
def test_failures(
    home: Path, capsys: pytest.CaptureFixture[str], words: str, code: int, said: str
) -> None:
    assert run(["models", *words.split()]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.startswith("error: ")
