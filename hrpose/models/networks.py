"""Whole networks: trunk and head.

They are subclasses of the trunk because the published checkpoints hold its keys at the top level.
``output`` is the layer that makes a network's answer, the one that fine-tuning replaces.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hrpose.models.blocks import BasicBlock, Bottleneck, conv_bn
from hrpose.models.heads import (
    CLASS_FEATURES,
    CLASS_PLANES,
    concatenation_head,
    downsampling_modules,
    increase_modules,
    mix,
)
from hrpose.models.hrnet import HRNet, HRNetConfig


class PoseNet(HRNet):
    """HRNet V1 for keypoints: a 1x1 convolution on the finest map.

    Args:
        config: The trunk.
        keypoints: K, the number of heatmaps.
    """

    def __init__(self, config: HRNetConfig, keypoints: int) -> None:
        super().__init__(config, finest_only=True)
        self.final_layer = nn.Conv2d(config.width, keypoints, 1)

    @property
    def output(self) -> nn.Conv2d:
        return self.final_layer

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(B, 3, h, w) normalised crops -> (B, K, h/4, w/4) heatmaps."""
        heatmaps: Tensor = self.final_layer(super().forward(x)[0])
        return heatmaps


class FaceNet(HRNet):
    """HRNet V2 for keypoints, as published for faces: 1x1 convolutions on all maps together.

    Args:
        config: The trunk; the published one upsamples bilinearly.
        keypoints: K, the number of heatmaps.
    """

    def __init__(self, config: HRNetConfig, keypoints: int) -> None:
        super().__init__(config)
        self.head = concatenation_head(config.channels, keypoints)

    @property
    def output(self) -> nn.Conv2d:
        last = self.head[3]
        assert isinstance(last, nn.Conv2d)
        return last

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(B, 3, h, w) normalised crops -> (B, K, h/4, w/4) heatmaps."""
        first, norm, relu, last = self.head
        assert isinstance(first, nn.Conv2d)
        heatmaps: Tensor = last(relu(norm(mix(super().forward(x), first))))
        return heatmaps


class ClassNet(HRNet):
    """HRNet for classification (Wang et al. 2020, appendix; head C of the published code).

    Every map is widened, the finest goes down step by step and takes up the next coarser one, and
    a linear layer reads the mean of 2048 channels.

    Args:
        config: The trunk.
        classes: Number of classes.
    """

    def __init__(self, config: HRNetConfig, classes: int) -> None:
        super().__init__(config)
        self.incre_modules = increase_modules(config.channels)
        self.downsamp_modules = downsampling_modules()
        widest = CLASS_PLANES[-1] * Bottleneck.expansion
        self.final_layer = conv_bn(widest, CLASS_FEATURES, kernel=1, bias=True)
        self.classifier = nn.Linear(CLASS_FEATURES, classes)

    @property
    def output(self) -> nn.Linear:
        return self.classifier

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(B, 3, h, w) normalised pictures -> (B, classes) scores before softmax."""
        wide = [step(x) for step, x in zip(self.incre_modules, super().forward(x), strict=True)]
        total = wide[0]
        for down, x in zip(self.downsamp_modules, wide[1:], strict=True):
            total = x + down(total)
        scores: Tensor = self.classifier(self.final_layer(total).mean(dim=(2, 3)))
        return scores


NETWORKS: dict[str, Callable[[HRNetConfig, int], PoseNet | FaceNet | ClassNet]] = {
    "pose": PoseNet,
    "face": FaceNet,
    "classify": ClassNet,
}
"""For each task its network, made from a trunk's numbers and the number of outputs."""


def initialise(network: nn.Module, *, seed: int = 0) -> None:
    """Random weights for training from scratch.

    He initialisation in the convolutions, the last norm of every residual block at zero so that
    blocks start as identities (Goyal et al. 2017), and a near-zero output layer, so that the first
    heatmaps are near the mostly empty targets and no class is preferred.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        if isinstance(network, PoseNet | FaceNet | ClassNet) and module is network.output:
            nn.init.normal_(network.output.weight, std=0.001, generator=generator)
            assert network.output.bias is not None
            nn.init.zeros_(network.output.bias)
    for module in network.modules():
        if isinstance(module, BasicBlock | Bottleneck):
            nn.init.zeros_(module.last_norm.weight)
