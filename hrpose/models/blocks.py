"""Residual blocks and the exchange module of HRNet.

Module names are those of the published checkpoints. Shapes are (B, channels, height, width).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def conv_bn(
    inputs: int,
    outputs: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    relu: bool = True,
    bias: bool = False,
) -> nn.Sequential:
    """Convolution, batch norm, and ReLU unless switched off.

    A bias before a norm does nothing; ``bias`` is for checkpoints that have one all the same.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias),
        nn.BatchNorm2d(outputs),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, planes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm before the shortcut is added."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + x)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a shortcut; the output has ``4 * planes`` channels."""

    expansion = 4

    def __init__(self, inputs: int, planes: int) -> None:
        super().__init__()
        outputs = planes * self.expansion
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        same = inputs == outputs
        self.downsample = None if same else conv_bn(inputs, outputs, kernel=1, relu=False)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm before the shortcut is added."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


def _up(inputs: int, outputs: int, octaves: int, mode: str) -> nn.Sequential:
    """Coarse to fine: 1x1 convolution, then upsampling (Wang et al. 2020, Fig. 3)."""
    path = conv_bn(inputs, outputs, kernel=1, relu=False)
    path.append(nn.Upsample(scale_factor=2**octaves, mode=mode))
    return path


def _down(inputs: int, outputs: int, octaves: int) -> nn.Sequential:
    """Fine to coarse: one stride-2 3x3 convolution an octave, ReLU between them."""
    steps = [conv_bn(inputs, inputs, stride=2) for _ in range(octaves - 1)]
    return nn.Sequential(*steps, conv_bn(inputs, outputs, stride=2, relu=False))


class ExchangeModule(nn.Module):
    """Parallel branches of residual blocks, then every branch summed into every other.

    Args:
        channels: Channels of each branch, finest first.
        blocks: Residual blocks in each branch.
        finest_only: Whether only the finest map is fused and returned, as at the end of a
            network that predicts from it alone.
        upsampling: ``"nearest"`` or ``"bilinear"``, of the paths from coarse to fine.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        blocks: int,
        *,
        finest_only: bool = False,
        upsampling: str = "nearest",
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(c, c) for _ in range(blocks))) for c in channels
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(
                self._path(channels, source, target, upsampling) for source in range(len(channels))
            )
            for target in range(1 if finest_only else len(channels))
        )
        self.relu = nn.ReLU(inplace=True)

    @staticmethod
    def _path(channels: tuple[int, ...], source: int, target: int, upsampling: str) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source > target:
            return _up(channels[source], channels[target], source - target, upsampling)
        return _down(channels[source], channels[target], target - source)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [self.relu(self._fuse(paths, maps)) for paths in self.fuse_layers]

    @staticmethod
    def _fuse(paths: nn.Module, maps: list[Tensor]) -> Tensor:
        terms = [path(x) for path, x in zip(paths, maps, strict=True)]  # type: ignore[call-overload]
        total: Tensor = torch.add(terms[0], terms[1])
        for term in terms[2:]:
            total = total + term
        return total
