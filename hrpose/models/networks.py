"""Whole networks: trunk and head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hrpose.models.blocks import BasicBlock, Bottleneck
from hrpose.models.hrnet import HRNet, HRNetConfig


class PoseNet(HRNet):
    """HRNet V1 for keypoints: a 1x1 convolution on the finest map.

    A subclass of the trunk because the published checkpoints hold its keys at the top level.

    Args:
        config: The trunk.
        keypoints: K, the number of heatmaps.
    """

    def __init__(self, config: HRNetConfig, keypoints: int) -> None:
        super().__init__(config, finest_only=True)
        self.final_layer = nn.Conv2d(config.width, keypoints, 1)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(B, 3, h, w) normalised crops -> (B, K, h/4, w/4) heatmaps."""
        heatmaps: Tensor = self.final_layer(super().forward(x)[0])
        return heatmaps


def initialise(network: nn.Module, *, seed: int = 0) -> None:
    """Random weights for training from scratch.

    He initialisation in the convolutions, the last norm of every residual block at zero so that
    blocks start as identities (Goyal et al. 2017), and a near-zero final layer, so that the first
    heatmaps are near the mostly empty targets.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        if name.endswith("final_layer"):
            nn.init.normal_(module.weight, std=0.001, generator=generator)  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, BasicBlock | Bottleneck):
            nn.init.zeros_(module.last_norm.weight)
