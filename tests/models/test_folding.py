"""Folded norms: the same outputs to float32 rounding, and only in eval mode."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from hrpose.models.folding import fold_batch_norms
from hrpose.models.hrnet import HRNet, HRNetConfig
from hrpose.models.networks import ClassNet, FaceNet, PoseNet

SMALL = HRNetConfig(width=8, stem=8, planes=8, bottlenecks=2, modules=(1, 2, 1), blocks=2)


def randomise(network: nn.Module) -> nn.Module:
    """Norms that have seen something: none of their four tensors is neutral."""
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        for value, low, high in (
            (norm.weight, 0.5, 1.5),
            (norm.running_var, 0.5, 2.0),
            (norm.bias, -0.5, 0.5),
            (norm.running_mean, -0.5, 0.5),
        ):
            assert value is not None
            nn.init.uniform_(value, low, high)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())


MAKE = {
    "pose": lambda: PoseNet(SMALL, 17),
    "face": lambda: FaceNet(SMALL, 17),
    "classify": lambda: ClassNet(SMALL, 17),
    "trunk": lambda: HRNet(SMALL),
}


@pytest.mark.parametrize("kind", MAKE)
@torch.inference_mode()
def test_outputs_stay(kind: str) -> None:
    network = randomise(MAKE[kind]())
    pixels = torch.randn(2, 3, 96, 64)
    before: list[Tensor] | Tensor = network(pixels)
    assert norms(network) > 50
    folded = fold_batch_norms(network)
    assert folded is network
    assert norms(folded) == 0
    after: list[Tensor] | Tensor = folded(pixels)
    for was, now in zip(before, after, strict=True):
        # measured 2e-6 of the deviation; 1e-4 leaves room for other CPUs
        assert (now - was).abs().max() < 1e-4 * was.std()


@torch.inference_mode()
def test_folding_twice_changes_nothing() -> None:
    network = fold_batch_norms(randomise(PoseNet(SMALL, 3)))
    pixels = torch.randn(1, 3, 64, 64)
    before = network(pixels)
    assert torch.equal(fold_batch_norms(network)(pixels), before)


@torch.inference_mode()
def test_only_neighbours_are_folded() -> None:
    network = randomise(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    )
    pixels = torch.randn(1, 3, 8, 8)
    before = copy.deepcopy(network)(pixels)
    assert torch.equal(fold_batch_norms(network)(pixels), before)
    assert norms(network) == 1


def test_training_mode_is_refused() -> None:
    network = PoseNet(SMALL, 3).train()
    with pytest.raises(ValueError, match="eval mode"):
        fold_batch_norms(network)
    assert norms(network) > 0
