"""Exported weights: precision by kind, what they say about themselves, and no half files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from hrpose.errors import OutputError
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import PoseNet
from hrpose.train.export import export

TINY = HRNetConfig(width=4, stem=8, planes=4, bottlenecks=1, modules=(1, 1, 1), blocks=1)
ABOUT = {"model": "hrnet.tiny", "settings": {"lr": 0.001, "steps": 7}, "input": [64, 96]}


def network() -> PoseNet:
    net = PoseNet(TINY, 17)
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        assert norm.running_var is not None
        nn.init.uniform_(norm.running_var, 1e-9, 2e-9)  # below what float16 can hold
        nn.init.uniform_(norm.weight, 0.9, 1.1)
    return net


def test_round_trip(tmp_path: Path) -> None:
    trained = network()
    export(trained, tmp_path / "model.safetensors", about=ABOUT)
    loaded, own = load_file(tmp_path / "model.safetensors"), trained.state_dict()
    for name, value in loaded.items():
        if own[name].ndim > 1:
            assert value.dtype == torch.float16
            torch.testing.assert_close(value.float(), own[name], rtol=1e-3, atol=1e-7)
        else:
            assert value.dtype == own[name].dtype
            assert torch.equal(value, own[name])
    PoseNet(TINY, 17).load_state_dict(loaded)  # strictly


def test_the_network_itself_stays_as_it_was(tmp_path: Path) -> None:
    trained = network()
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    export(trained.to(memory_format=torch.channels_last), tmp_path / "m.safetensors", about={})  # type: ignore[call-overload]
    for name, value in trained.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


def test_metadata_is_json(tmp_path: Path) -> None:
    export(network(), tmp_path / "model.safetensors", about=ABOUT)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        metadata = dict(file.metadata())
    assert metadata.pop("format") == "pt"
    assert {name: json.loads(text) for name, text in metadata.items()} == ABOUT


def test_an_older_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"older")
    export(network(), path, about={})
    assert load_file(path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        export(network(), tmp_path / "none" / "model.safetensors", about={})
