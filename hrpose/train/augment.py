"""Changes of colour and occlusion, on batches of crops; geometry varies in the tasks' affines."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hrpose.train.settings import Colour

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def colour(pixels: Tensor, how: Colour, random: np.random.Generator) -> Tensor:
    """Varies colours and hides rectangles.

    Args:
        pixels: (B, 3, h, w) RGB, 0 to 255.
        how: Strength.
        random: Source of all choices.

    Returns:
        (B, 3, h, w), 0 to 255.
    """
    batch = len(pixels)

    def factor(strength: float, channels: int = 1) -> Tensor:
        drawn = random.uniform(1 - strength, 1 + strength, (batch, channels, 1, 1))
        return pixels.new_tensor(drawn)

    gain = factor(how.brightness) * factor(how.tint, 3)
    kept = factor(how.saturation)
    kept[torch.from_numpy(random.random(batch) < how.grey)] = 0
    contrast = factor(how.contrast)
    luma = pixels.new_tensor(_LUMA)
    mean = pixels.mean(dim=(2, 3)) @ luma
    # saturation, then contrast, then gain, as one affine map of (red, green, blue)
    own, grey = kept * contrast * gain, (1 - kept) * contrast * gain
    matrix = torch.diag_embed(own.flatten(1).expand(batch, 3)) + grey.flatten(2) * luma
    offset = mean.view(batch, 1, 1) * ((1 - contrast) * gain).view(batch, 3, 1)
    pixels = torch.baddbmm(offset, matrix, pixels.flatten(2)).view(pixels.shape).clamp_(0, 255)
    return _erase(pixels, how.erase, random)


def _erase(pixels: Tensor, share: float, random: np.random.Generator) -> Tensor:
    """Fills a rectangle of up to a third of each side with one colour (Zhong et al. 2020)."""
    height, width = pixels.shape[2:]
    for i in np.flatnonzero(random.random(len(pixels)) < share):
        h, w = (random.random(2) * (height // 3, width // 3)).astype(int) + 1
        y, x = (random.random(2) * (height - h, width - w)).astype(int)
        pixels[i, :, y : y + h, x : x + w] = pixels.new_tensor(random.uniform(0, 255, (3, 1, 1)))
    return pixels
