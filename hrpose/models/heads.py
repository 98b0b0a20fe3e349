"""Heads over the maps of the HRNet trunk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpose.models.blocks import Bottleneck, conv_bn

TRUNK_STRIDE = 4
CLASS_PLANES = (32, 64, 128, 256)  # inner channels of the bottleneck on each map, finest first
CLASS_FEATURES = 2048


def mix(maps: Sequence[Tensor], conv: nn.Conv2d) -> Tensor:
    """A 1x1 convolution of all maps, upsampled bilinearly to the first and concatenated.

    A 1x1 convolution commutes with bilinear upsampling, so each map is reduced at its own size by
    its slice of the weight, and the wide concatenation at stride 4 is never made.

    Args:
        maps: (B, C[i], H >> i, W >> i).
        conv: From sum(C) channels to F.

    Returns:
        (B, F, H, W).
    """
    slices = torch.split(conv.weight, [x.shape[1] for x in maps], dim=1)
    mixed = F.conv2d(maps[0], slices[0], conv.bias)
    for x, weight in zip(maps[1:], slices[1:], strict=True):
        reduced = F.conv2d(x, weight)
        mixed = torch.add(mixed, F.interpolate(reduced, mixed.shape[-2:], mode="bilinear"))
    return mixed


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
        mixed = mix(maps, self.reduction_conv)
        pyramid = OrderedDict[str, Tensor]()
        for stride, conv in zip(self.strides, self.fpn_convs, strict=True):
            step = stride // TRUNK_STRIDE
            # ceil: a picture of one 32 px row still has a stride-64 map
            pooled = mixed if step == 1 else F.avg_pool2d(mixed, step, ceil_mode=True)
            pyramid[str(stride)] = conv(pooled)
        return pyramid


def concatenation_head(inputs: Sequence[int], outputs: int) -> nn.Sequential:
    """The V2 head (Wang et al. 2020, Fig. 4b): two 1x1 convolutions, norm and ReLU between them.

    The first belongs to the concatenation of all maps, see :func:`mix`.

    Args:
        inputs: Channels of the trunk's maps.
        outputs: K, the number of heatmaps.
    """
    wide = sum(inputs)
    return nn.Sequential(
        nn.Conv2d(wide, wide, 1),
        nn.BatchNorm2d(wide),
        nn.ReLU(inplace=True),
        nn.Conv2d(wide, outputs, 1),
    )


def increase_modules(inputs: Sequence[int]) -> nn.ModuleList:
    """A bottleneck a map, to 128, 256, 512 and 1024 channels: start of the classification head."""
    pairs = zip(inputs, CLASS_PLANES, strict=True)
    return nn.ModuleList(nn.Sequential(Bottleneck(c, planes)) for c, planes in pairs)


def downsampling_modules() -> nn.ModuleList:
    """Steps from each of these maps to the size and channels of the next, by stride 2."""
    widths = [planes * Bottleneck.expansion for planes in CLASS_PLANES]
    return nn.ModuleList(
        conv_bn(fine, coarse, stride=2, bias=True) for fine, coarse in pairwise(widths)
    )
