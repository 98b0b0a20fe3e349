"""Heads against their definitions in the paper."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hrpose.models.heads import (
    HRNetV2p,
    concatenation_head,
    downsampling_modules,
    increase_modules,
    mix,
)

INPUTS = (3, 4, 5, 6)


def trunk_maps(height: int, width: int) -> list[Tensor]:
    return [
        torch.randn(2, c, height >> i, width >> i, requires_grad=True) for i, c in enumerate(INPUTS)
    ]


@pytest.mark.parametrize("strides", [(8, 16, 32, 64), (4, 8, 16, 32, 64), (16,)], ids=str)
@pytest.mark.parametrize(("height", "width"), [(320, 320), (32, 96), (416, 576)])
def test_shapes(height: int, width: int, strides: tuple[int, ...]) -> None:
    pyramid = HRNetV2p(INPUTS, 7, strides)(trunk_maps(height // 4, width // 4))
    assert list(pyramid) == [str(s) for s in strides]
    for stride, x in zip(strides, pyramid.values(), strict=True):
        assert x.shape == (2, 7, -(-height // stride), -(-width // stride))


def test_reducing_before_upsampling_is_the_paper_s_concatenation() -> None:
    head = HRNetV2p(INPUTS, 7, (4, 8, 32)).double().eval()
    maps = [x.detach().double() for x in trunk_maps(16, 24)]
    wide = torch.cat([F.interpolate(x, (16, 24), mode="bilinear") for x in maps], dim=1)
    mixed = head.reduction_conv(wide)
    for step, conv, got in zip((1, 2, 8), head.fpn_convs, head(maps).values(), strict=True):
        torch.testing.assert_close(got, conv(F.avg_pool2d(mixed, step)))


def test_every_map_is_used() -> None:
    maps = trunk_maps(16, 16)
    HRNetV2p(INPUTS, 7, (8,)).eval()(maps)["8"].square().sum().backward()
    assert all(x.grad is not None and x.grad.abs().max() > 0 for x in maps)


@pytest.mark.parametrize("strides", [(2, 4), (8, 12), (16, 8)], ids=str)
def test_bad_strides(strides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="powers of two"):
        HRNetV2p(INPUTS, 7, strides)


def test_mixing_is_the_paper_s_concatenation() -> None:
    head = concatenation_head(INPUTS, 7).double().eval()
    maps = [x.detach().double() for x in trunk_maps(16, 24)]
    wide = torch.cat([F.interpolate(x, (16, 24), mode="bilinear") for x in maps], dim=1)
    torch.testing.assert_close(head[1:](mix(maps, head[0])), head(wide))


def test_classification_head_widens_and_goes_down() -> None:
    wide = increase_modules(INPUTS)
    maps = [step(x) for step, x in zip(wide, trunk_maps(16, 16), strict=True)]
    assert [x.shape[1] for x in maps] == [128, 256, 512, 1024]
    for fine, coarse, step in zip(maps, maps[1:], downsampling_modules(), strict=False):
        assert step(fine).shape == coarse.shape
