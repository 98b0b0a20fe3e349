"""Whole networks: shapes, and where training from scratch starts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hrpose.models.blocks import BasicBlock, Bottleneck
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import NETWORKS, ClassNet, FaceNet, PoseNet, initialise

TINY = HRNetConfig(width=4, stem=8, planes=4, bottlenecks=2, modules=(1, 1, 1), blocks=1)


Kind = type[PoseNet | FaceNet | ClassNet]


def started(seed: int, kind: Kind = PoseNet) -> nn.Module:
    network = kind(TINY, 5)
    initialise(network, seed=seed)
    return network


@pytest.mark.parametrize("kind", [PoseNet, FaceNet])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_heatmaps_have_a_quarter_of_the_size(batch: int, kind: Kind) -> None:
    network = kind(TINY, 5).eval()
    assert network(torch.randn(batch, 3, 64, 96)).shape == (batch, 5, 16, 24)


def test_a_seed_fixes_the_weights_and_nothing_else_does() -> None:
    torch.manual_seed(1)
    first = started(3).state_dict()
    torch.manual_seed(2)
    second, other = started(3).state_dict(), started(4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96)])
def test_a_classifier_takes_any_size(height: int, width: int) -> None:
    network = ClassNet(TINY, 7).eval()
    assert network(torch.randn(2, 3, height, width)).shape == (2, 7)


def test_a_face_network_looks_at_all_maps() -> None:
    network = FaceNet(TINY, 5)
    network(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("task", NETWORKS)
def test_outputs_are_those_of_the_output_layer(task: str) -> None:
    network = NETWORKS[task](TINY, 5)
    assert network.output.weight.shape[0] == 5
    network.output.weight.detach().zero_()
    network.output.bias.detach().fill_(3)
    assert (network.eval()(torch.randn(1, 3, 64, 64)) == 3).all()


def test_initialise_leaves_the_global_generator_alone() -> None:
    network = PoseNet(TINY, 5)
    before = torch.get_rng_state()
    initialise(network)
    assert torch.equal(torch.get_rng_state(), before)


def test_blocks_start_as_identities() -> None:
    network = started(0)
    blocks = [m for m in network.modules() if isinstance(m, BasicBlock | Bottleneck)]
    assert {type(b) for b in blocks} == {BasicBlock, Bottleneck}
    for block in blocks:
        norms = [name for name, _ in block.named_children() if name.startswith("bn")]
        assert block.last_norm is getattr(block, norms[-1])
        if getattr(block, "downsample", None) is None:
            x = torch.rand(2, block.conv1.in_channels, 4, 4)
            assert torch.equal(block(x), x)
    # and no other norm is switched off
    every = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    silent = {id(norm) for norm in every if not norm.weight.any()}
    assert silent == {id(block.last_norm) for block in blocks}


@pytest.mark.parametrize("kind", [PoseNet, FaceNet, ClassNet])
def test_first_outputs_are_near_zero_and_learn(kind: Kind) -> None:
    network = started(0, kind)
    heatmaps = network(torch.randn(4, 3, 64, 64))
    assert heatmaps.detach().abs().max() < 0.1
    (heatmaps - 1).square().mean().backward()
    gradients = [p.grad for p in network.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert network.conv1.weight.grad is not None
    assert network.conv1.weight.grad.abs().max() > 0  # the stem hears of it through the blocks
