"""Changes of colour, occlusion and framing; other geometry varies in the tasks' affines.

Whatever hides a keypoint leaves its label and weight: COCO labels a hidden joint where it must be
(visibility 1) and its evaluation counts it, so that to place it by the rest of the body is part of
the task.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hrpose.train.settings import Colour
from hrpose.types import Size

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


@dataclass(frozen=True, slots=True)
class Window:
    """Part of a picture, in whole pixels; right and bottom are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    def holds(self, xy: Tensor) -> Tensor:
        """(...) bool, whether points (..., 2) of the picture lie inside."""
        low = xy.new_tensor([self.left, self.top])
        return ((xy >= low) & (xy < xy.new_tensor([self.right, self.bottom]))).all(-1)


# How often a cut is at the left, top, right, bottom; set by eye: most photographs cut the legs.
_CUTS = (0.2, 0.1, 0.2, 0.5)


def draw_window(
    picture: Size, box: Tensor, xy: Tensor, labelled: Tensor, random: np.random.Generator
) -> Window:
    """Part of a picture whose border cuts a person, as photographs do.

    One or two sides move to where they leave 35 to 90 % of the person's width or height, unless
    fewer than 3 labelled keypoints were left.

    Args:
        picture: Its size.
        box: (4,) xyxy px, the person.
        xy: (K, 2) px.
        labelled: (K,) bool.
        random: Source of all choices.

    Returns:
        The part, the whole picture at most.
    """
    window = Window(0, 0, *picture)
    left, top, right, bottom = box.tolist()
    for _ in range(1 + (random.random() < 0.3)):
        side = random.choice(("left", "top", "right", "bottom"), p=_CUTS)
        kept = random.uniform(0.35, 0.9)
        at = {
            "left": right - kept * (right - left),
            "top": bottom - kept * (bottom - top),
            "right": left + kept * (right - left),
            "bottom": top + kept * (bottom - top),
        }[side]
        smaller = replace(window, **{side: round(at)})
        across = window.left <= smaller.left < smaller.right <= window.right
        down = window.top <= smaller.top < smaller.bottom <= window.bottom
        if across and down and (smaller.holds(xy) & labelled).sum() >= 3:
            window = smaller
    return window


@dataclass(frozen=True, slots=True)
class Patch:
    """A person of the batch who is pasted into the crop of another.

    Attributes:
        crop: Index of the crop that is covered.
        donor: Index of the crop that is shown.
        scale: Pixels of the crop per pixel of the donor's crop.
        centre: Where the donor's middle goes, x and y in pixels of the crop.
        reach: Half width and half height of what is covered.
    """

    crop: int
    donor: int
    scale: float
    centre: tuple[float, float]
    reach: tuple[float, float]

    def crop_from_donor(self, size: Size) -> Tensor:
        """(2, 3) float64 map from the donor's crop to this crop, both of that size."""
        x, y = (c - self.scale * side / 2 for c, side in zip(self.centre, size, strict=True))
        return torch.tensor([[self.scale, 0.0, x], [0.0, self.scale, y]], dtype=torch.float64)

    def opacity(self, xy: Tensor) -> Tensor:
        """(...) 0 to 1 at points (..., 2) of the crop: an oblong with round corners, soft edge.

        A straight edge would be the same sign of a paste in every crop.
        """
        inside = (xy - xy.new_tensor(self.centre)) / xy.new_tensor(self.reach)
        return (4 * (1 - (inside**4).sum(-1))).clamp(0, 1)


def draw_patches(
    xy_crop: Tensor, labelled: Tensor, size: Size, share: float, random: np.random.Generator
) -> list[Patch]:
    """Decides who is pasted where.

    One to three people a crop, smaller than the crop's own person as a rule, anywhere but in its
    middle, and they hide no more than half of the labelled keypoints: it must stay clear who is
    meant.

    Args:
        xy_crop: (B, K, 2) keypoints in crop pixels.
        labelled: (B, K) bool.
        size: Of the crops.
        share: Of the crops that get others pasted.
        random: Source of all choices.

    Returns:
        Patches in the order in which they cover each other; none for a batch of one.
    """
    batch, patches = len(xy_crop), []
    if batch < 2:
        return []
    sides = np.array(size, float)
    middle = torch.tensor([[size.width / 2, size.height / 2]])
    for i in np.flatnonzero(random.random(batch) < share):
        hidden = torch.zeros_like(labelled[i])
        for _ in range(random.integers(1, 4)):
            scale = random.uniform(0.35, 0.9)
            # padding leaves a person the inner 80 % of a crop
            reach = sides * scale * 0.4 * random.uniform(0.5, 1, 2)
            patch = Patch(
                crop=int(i),
                donor=int((i + random.integers(1, batch)) % batch),
                scale=scale,
                centre=tuple(sides * random.random(2)),
                reach=tuple(reach),
            )
            covers = patch.opacity(torch.cat([middle, xy_crop[i]])) > 0.5
            covered = hidden | covers[1:] & labelled[i]
            if not covers[0] and covered.sum() * 2 <= labelled[i].sum():
                hidden = covered
                patches.append(patch)
    return patches


def paste(pixels: Tensor, patches: list[Patch], shown: Tensor) -> Tensor:
    """Covers parts of crops.

    Args:
        pixels: (B, 3, h, w), changed in place.
        patches: P of them.
        shown: (P, 3, h, w) what each patch shows, in the place where it shows it.

    Returns:
        ``pixels``.
    """
    height, width = pixels.shape[2:]
    x = torch.arange(width, device=pixels.device, dtype=torch.float32)
    y = torch.arange(height, device=pixels.device, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    for patch, other in zip(patches, shown, strict=True):
        pixels[patch.crop].lerp_(other, patch.opacity(grid))
    return pixels
