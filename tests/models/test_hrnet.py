"""The trunk: published names, sizes and output, and the shapes it promises.

The meta device gives shapes and counts without weights. 1e-4 of the output's deviation is the
tolerance of the golden README; float32 sums in another order stay far below it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hrpose.models.hrnet import HRNet, HRNetConfig, config_of
from hrpose.models.networks import ClassNet, FaceNet, PoseNet

TINY = HRNetConfig(width=4, stem=8, planes=4, bottlenecks=1, modules=(1, 1, 1), blocks=1)
SMALL_V1 = HRNetConfig(width=16, planes=32, bottlenecks=1, modules=(1, 1, 1), blocks=2)
SMALL_V2 = HRNetConfig(width=18, bottlenecks=2, modules=(1, 3, 2), blocks=2)
# name of the golden files, network, trunk, outputs
GOLDEN = pytest.mark.parametrize(
    ("name", "kind", "config", "outputs"),
    [
        ("pose_hrnet_w32_256x192", PoseNet, HRNetConfig(32), 17),
        (
            "face_hrnetv2_w18_wflw_256x256",
            FaceNet,
            HRNetConfig(18, upsampling="bilinear"),
            98,
        ),
        ("cls_hrnet_w18_small_v1_224x224", ClassNet, SMALL_V1, 1000),
    ],
    ids=["pose", "face", "classify"],
)
Kind = Callable[[HRNetConfig, int], HRNet]


def on_meta(config: HRNetConfig, kind: Kind = PoseNet, outputs: int = 17) -> HRNet:
    with torch.device("meta"):
        return kind(config, outputs).eval()


def shapes(network: nn.Module) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in network.state_dict().items()}


def described(shared: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((shared / f"data/golden/{name}.json").read_bytes())
    return document


def golden_fill(keys: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """The weights of the golden README: one generator per key, numbered in sorted order."""
    filled = {}
    for i, name in enumerate(sorted(keys)):
        random, shape = np.random.RandomState(i), keys[name]
        if name.endswith("num_batches_tracked"):
            value = np.zeros(shape)
        elif name.endswith("running_var"):
            value = random.uniform(0.5, 1.5, shape)
        elif name.endswith("running_mean"):
            value = 0.1 * random.standard_normal(shape)
        elif len(shape) >= 2:
            value = random.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
        elif name.endswith("weight"):
            value = 1 + 0.1 * random.standard_normal(shape)
        else:
            value = 0.1 * random.standard_normal(shape)
        filled[name] = torch.from_numpy(np.asarray(value, dtype=np.float32))
    return filled


@pytest.mark.parametrize(("width", "parameters"), [(32, 28_536_113), (48, 63_595_745)])
def test_parameter_counts_are_the_published_ones(width: int, parameters: int) -> None:
    assert sum(p.numel() for p in on_meta(HRNetConfig(width)).parameters()) == parameters


# In millions, of the table in the README of HRNet-Image-Classification.
@pytest.mark.parametrize(
    ("config", "millions"),
    [
        (SMALL_V1, 13.2),
        (SMALL_V2, 15.6),
        *((HRNetConfig(w), m) for w, m in ((18, 21.3), (30, 37.7), (32, 41.2), (40, 57.6))),
        *((HRNetConfig(w), m) for w, m in ((44, 67.1), (48, 77.5), (64, 128.1))),
    ],
    ids=lambda value: f"w{value.width}" if isinstance(value, HRNetConfig) else "",
)
def test_parameter_counts_of_classifiers(config: HRNetConfig, millions: float) -> None:
    count = sum(p.numel() for p in on_meta(config, ClassNet, 1000).parameters())
    assert round(count / 1e6, 1) == millions


@GOLDEN
def test_keys_are_the_published_ones(
    shared: Path, name: str, kind: Kind, config: HRNetConfig, outputs: int
) -> None:
    network, published = on_meta(config, kind, outputs), described(shared, name)
    assert shapes(network) == published["state_dict"]
    assert sum(p.numel() for p in network.parameters()) == published["parameters"]


@GOLDEN
def test_golden_output(
    shared: Path, name: str, kind: Kind, config: HRNetConfig, outputs: int
) -> None:
    golden = np.load(shared / f"data/golden/{name}.npz")["output"]
    network, published = on_meta(config, kind, outputs), described(shared, name)
    network.load_state_dict(golden_fill(published["state_dict"]), assign=True)
    pixels = np.random.RandomState(1234).standard_normal(published["input"]).astype(np.float32)
    with torch.inference_mode():
        output = network(torch.from_numpy(pixels)).numpy()
    assert output.shape == golden.shape == tuple(published["output"])
    assert np.abs(output - golden).max() < 1e-4 * golden.std()


@pytest.mark.parametrize(("upsampling", "flat"), [("nearest", True), ("bilinear", False)])
def test_upsampling(upsampling: str, flat: bool) -> None:
    torch.manual_seed(0)
    network = HRNet(replace(TINY, upsampling=upsampling)).eval()
    path = network.stage4[0].fuse_layers[0][3]
    enlarged = path(torch.randn(1, 32, 2, 2))
    assert enlarged.shape == (1, 4, 16, 16)
    assert torch.equal(enlarged[..., :8, :8], enlarged[..., :1, :1].expand(1, 4, 8, 8)) is flat


def test_unknown_upsampling() -> None:
    with pytest.raises(ValueError, match="'cubic', expected nearest or bilinear"):
        HRNetConfig(18, upsampling="cubic")


@pytest.mark.parametrize(("height", "width"), [(64, 96), (32, 32)])
def test_maps(height: int, width: int) -> None:
    maps = HRNet(TINY).eval()(torch.randn(2, 3, height, width))
    assert [tuple(x.shape) for x in maps] == [
        (2, channels, height // stride, width // stride)
        for channels, stride in zip(TINY.channels, (4, 8, 16, 32), strict=True)
    ]
    assert TINY.channels == (4, 8, 16, 32)


def test_finest_only_is_the_first_map_of_all() -> None:
    whole, finest = HRNet(TINY).eval(), HRNet(TINY, finest_only=True).eval()
    own = finest.state_dict()
    finest.load_state_dict({n: v for n, v in whole.state_dict().items() if n in own})
    assert len(own) < len(whole.state_dict())
    pixels = torch.randn(1, 3, 64, 64)
    (alone,) = finest(pixels)
    assert torch.equal(alone, whole(pixels)[0])


@pytest.mark.parametrize("modules", [(1, 2, 1), (2, 1, 3)], ids=str)
def test_several_modules_and_blocks(modules: tuple[int, int, int]) -> None:
    config = HRNetConfig(4, stem=8, planes=4, bottlenecks=2, modules=modules, blocks=2)
    network = HRNet(config)
    assert [len(s) for s in (network.stage2, network.stage3, network.stage4)] == list(modules)
    # every weight takes part: a fusion path left out of forward would have no gradient
    sum(x.square().sum() for x in network(torch.randn(2, 3, 64, 64))).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    "config",
    [
        HRNetConfig(width=18),
        HRNetConfig(width=16, stem=32, planes=16, bottlenecks=1, modules=(1, 2, 1), blocks=2),
        HRNetConfig(width=4, stem=8, planes=1, bottlenecks=3, modules=(2, 11, 3), blocks=12),
    ],
)
def test_weights_tell_their_network(config: HRNetConfig) -> None:
    with torch.device("meta"):
        for network in (HRNet(config), PoseNet(config, 17), FaceNet(config, 5)):
            assert config_of(network.state_dict()) == config


def test_other_weights_tell_nothing() -> None:
    with pytest.raises(ValueError, match=r"no HRNet's.*is missing"):
        config_of(nn.Linear(2, 2).state_dict())
