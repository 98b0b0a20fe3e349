"""Heads over the maps of the HRNet trunk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpose.models.blocks import conv_bn

TRUNK_STRIDE = 4


class HRNetV2p(nn.Module):
    """Feature pyramid of HRNetV2p (Wang et al. 2020, Fig. 4c): maps of one width at every stride.

    The paper upsamples all maps bilinearly to the finest, concatenates them, mixes them by a 1x1
    convolution, and average-pools the mixture. Batch norm and ReLU after the 3x3 convolutions are
    ours: they are what lets a detector train from scratch.

    Args:
        inputs: Channels of the trunk's maps, finest (stride 4) first.
        channels: Channels of every map of the pyramid.
        strides: Ascending powers of two, 4 or more.
    """

    def __init__(self, inputs: Sequence[int], channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        powers = all(s >= TRUNK_STRIDE and not s & (s - 1) for s in strides)
        if not powers or sorted(strides) != list(strides):
            raise ValueError(f"strides are {tuple(strides)}, expected ascending powers of two >= 4")
        self.inputs = tuple(inputs)
        self.strides = tuple(strides)
        self.out_channels = channels  # torchvision asks a backbone for this name
        self.reduction_conv = nn.Conv2d(sum(inputs), channels, 1)
        self.fpn_convs = nn.ModuleList(conv_bn(channels, channels) for _ in strides)

    def forward(self, maps: Sequence[Tensor]) -> OrderedDict[str, Tensor]:
        """Mixes the trunk's maps and pools the mixture.

        Args:
            maps: (B, inputs[i], H/4 >> i, W/4 >> i); H and W are multiples of 32.

        Returns:
            (B, channels, ceil(H/stride), ceil(W/stride)) under the stride's name, finest first.
        """
        mixed = self._mix(maps)
        pyramid = OrderedDict[str, Tensor]()
        for stride, conv in zip(self.strides, self.fpn_convs, strict=True):
            step = stride // TRUNK_STRIDE
            # ceil: a picture of one 32 px row still has a stride-64 map
            pooled = mixed if step == 1 else F.avg_pool2d(mixed, step, ceil_mode=True)
            pyramid[str(stride)] = conv(pooled)
        return pyramid

    def _mix(self, maps: Sequence[Tensor]) -> Tensor:
        """``reduction_conv`` of the concatenated maps.

        A 1x1 convolution commutes with bilinear upsampling, so each map is reduced at its own
        size by its slice of the weight, and the wide concatenation at stride 4 is never made.
        """
        slices = torch.split(self.reduction_conv.weight, list(self.inputs), dim=1)
        mixed = F.conv2d(maps[0], slices[0], self.reduction_conv.bias)
        for x, weight in zip(maps[1:], slices[1:], strict=True):
            reduced = F.conv2d(x, weight)
            mixed = torch.add(mixed, F.interpolate(reduced, mixed.shape[-2:], mode="bilinear"))
        return mixed
