"""The codec between keypoints and heatmaps.

Heatmaps are (B, K, H, W) float tensors on any device; cells count from 0 and an integer is a cell
centre. ``Codec`` carries each model's convention, so nothing here asks which model it serves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hrpose.types import Codec, Peaks, Size


def encode(xy_crop: Tensor, weights: Tensor, size: Size, codec: Codec) -> tuple[Tensor, Tensor]:
    """Gaussian targets, as ``generate_target`` of the official code (JointsDataset.py:233-289).

    The Gaussian has peak 1, is cut to a square of ``6 sigma + 1`` cells, and sits on the nearest
    cell unless ``codec.exact_target`` keeps the fraction (Zhang et al. 2020, section 3.2).

    Args:
        xy_crop: (B, K, 2) keypoints in crop pixels.
        weights: (B, K) loss weights, 0 = not labelled.
        size: Width and height of the heatmap in cells.
        codec: The model's convention.

    Returns:
        Targets (B, K, H, W) float32, zero where the weight is; weights (B, K) float32, zero also
        where the whole square lies outside the heatmap.
    """
    centre = (xy_crop - codec.cell_offset) / codec.stride
    nearest = torch.trunc(centre + 0.5)
    reach = 3 * codec.sigma
    limit = centre.new_tensor([size.width, size.height])
    inside = ((nearest - reach < limit) & (nearest + reach + 1 >= 0)).all(-1)
    weights = weights * inside
    mean = centre if codec.exact_target else nearest
    rows = []
    for axis, cells in enumerate((size.width, size.height)):
        grid = torch.arange(cells, device=xy_crop.device, dtype=centre.dtype)
        near = (grid - nearest[..., axis, None]).abs() <= reach
        rows.append(torch.exp(-((grid - mean[..., axis, None]) ** 2) / (2 * codec.sigma**2)) * near)
    target = rows[1][..., :, None] * rows[0][..., None, :]
    return (target * (weights > 0)[..., None, None]).float(), weights.float()


def decode(heatmaps: Tensor, codec: Codec, sigmas: Sequence[float] = ()) -> Peaks:
    """Keypoints of heatmaps: the maximum, refined within its cell.

    With ``"oks"`` it is the maximum of the OKS that is to be expected, and the score is that OKS;
    otherwise the score is the maximum of the heatmap.

    Args:
        heatmaps: (B, K, H, W), any float dtype; decoded in float32.
        codec: Says how to refine.
        sigmas: The skeleton's K OKS constants, for ``"oks"``, which without them is ``"dark"``.

    Returns:
        Peaks in cells on the heatmaps' device; (0, 0) where the maximum is not positive, as in
        the official ``get_max_preds`` (inference.py:18-46).
    """
    heatmaps = heatmaps.float()
    refine = "dark" if codec.refine == "oks" and not len(sigmas) else codec.refine
    if refine == "oks":
        heatmaps = _expected_oks(heatmaps, codec.sigma, sigmas)
    width = heatmaps.shape[3]
    scores, index = heatmaps.flatten(2).max(dim=2)
    x, y = index % width, torch.div(index, width, rounding_mode="floor")
    xy = torch.stack([x, y], dim=-1).float()
    if refine == "quarter":
        xy = xy + _quarter_offset(heatmaps, x, y)
    elif refine == "oks":
        xy = xy + _parabola_offset(heatmaps, x, y)
        scores = scores.clamp_max(1)  # networks overshoot
    elif refine == "dark":
        xy = xy + _dark_offset(heatmaps, x, y, codec.sigma)
    return Peaks(xy=torch.where(scores[..., None] > 0, xy, torch.zeros_like(xy)), scores=scores)


def crop_from_cells(xy_cells: Tensor, codec: Codec) -> Tensor:
    """(..., 2) heatmap cells -> crop pixels."""
    return xy_cells * codec.stride + codec.cell_offset


def merge_mirrored(
    heatmaps: Tensor, of_mirrored: Tensor, mirror: Sequence[int], *, shift: bool
) -> Tensor:
    """Averages the heatmaps of crops with those of the mirrored crops.

    Args:
        heatmaps: (B, K, H, W).
        of_mirrored: (B, K, H, W) the network's output on the crops mirrored left to right.
        mirror: The skeleton's permutation of K.
        shift: Whether the un-mirrored maps move one cell to the right first; column 0 keeps its
            value (function.py:126-145 of the official code, ``SHIFT_HEATMAP``).

    Returns:
        (B, K, H, W) means.
    """
    back = of_mirrored.flip(3)[:, list(mirror)]
    if shift:
        back = torch.cat([back[..., :1], back[..., :-1]], dim=3)
    return (heatmaps + back) * 0.5


def _at(heatmaps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(B, K) values at cells; indices outside are clamped, their results are masked by callers."""
    height, width = heatmaps.shape[2:]
    flat = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    return heatmaps.flatten(2).gather(2, flat[..., None])[..., 0]


def _quarter_offset(heatmaps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """A quarter cell towards the higher neighbour on each axis.

    Only where ``1 < x < W - 1`` and ``1 < y < H - 1``: the official condition (inference.py:56-69)
    leaves out column and row 1 although they have both neighbours; published AP includes that.
    """
    height, width = heatmaps.shape[2:]
    gate = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    slope_x = _at(heatmaps, x + 1, y) - _at(heatmaps, x - 1, y)
    slope_y = _at(heatmaps, x, y + 1) - _at(heatmaps, x, y - 1)
    return torch.stack([slope_x, slope_y], dim=-1).sign() * 0.25 * gate[..., None]


def _dark_offset(heatmaps: Tensor, x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """Newton step on the log of the smoothed heatmap (Zhang et al. 2020, eq. 5-9)."""
    height, width = heatmaps.shape[2:]
    logs = _smooth(heatmaps, sigma).clamp_min(1e-10).log()
    here = _at(logs, x, y)
    right, left = _at(logs, x + 1, y), _at(logs, x - 1, y)
    down, up = _at(logs, x, y + 1), _at(logs, x, y - 1)
    gx, gy = (right - left) / 2, (down - up) / 2
    gxx = (_at(logs, x + 2, y) - 2 * here + _at(logs, x - 2, y)) / 4
    gyy = (_at(logs, x, y + 2) - 2 * here + _at(logs, x, y - 2)) / 4
    corners = [_at(logs, x + i, y + j) for i, j in ((1, 1), (-1, 1), (1, -1), (-1, -1))]
    gxy = (corners[0] - corners[1] - corners[2] + corners[3]) / 4
    determinant = gxx * gyy - gxy * gxy
    # a maximum has a negative definite Hessian; elsewhere the step would lead away from it
    valid = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    valid &= (determinant > 1e-12) & (gxx < 0)
    safe = torch.where(valid, determinant, torch.ones_like(determinant))
    step = torch.stack([-(gyy * gx - gxy * gy), -(gxx * gy - gxy * gx)], dim=-1) / safe[..., None]
    return torch.where(valid[..., None], step, torch.zeros_like(step)).clamp(-1, 1)


# Square root of a person's area (0.53 of the box) as a share of that of the crop: the median is
# 0.49 on dev.json, and a box of the crop's shape has 0.58.
_PERSON = 0.5
# Deviation in cells of the least smoothing, which takes off noise where OKS allows almost none.
_LEAST = 1.0


def _expected_oks(heatmaps: Tensor, sigma: float, sigmas: Sequence[float]) -> Tensor:
    """The OKS that a keypoint put into each cell can expect, of a person of usual size.

    A network that was trained with squared errors predicts the mean of its targets, so its heatmap
    is the density of the keypoint's place, smoothed by the target's Gaussian. Smoothed further to
    the width of the OKS's own Gaussian, ``2 sigmas[k] sqrt(area)``, it is the expected OKS, whose
    maximum is the best answer where the network hesitates (Purkrabek and Matas 2025, "ProbPose",
    who train for it). A sure, single peak stays where it is.

    Args:
        heatmaps: (B, K, H, W) of peak 1.
        sigma: Deviation of the targets, in cells.
        sigmas: K OKS constants.

    Returns:
        (B, K, H, W), 0 to about 1; negative where the heatmap has no positive value.
    """
    height, width = heatmaps.shape[2:]
    reach = 2 * _PERSON * math.sqrt(height * width) * heatmaps.new_tensor(sigmas)
    variance = (reach**2 - sigma**2).clamp_min(_LEAST**2)
    # an OKS narrower than the target's Gaussian is taken to be as wide as that and the least
    density = heatmaps.clamp_min(0) * ((variance + sigma**2) / sigma**2)[:, None, None]
    down, across = (_gaussian_matrix(variance, side) for side in (height, width))
    expected = down @ density @ across
    highest = heatmaps.amax(dim=(2, 3), keepdim=True)
    return torch.where(highest > 0, expected, heatmaps)


def _gaussian_matrix(variance: Tensor, cells: int) -> Tensor:
    """(K, cells, cells) smoothing of one axis; what lies outside counts as zero."""
    place = torch.arange(cells, device=variance.device, dtype=variance.dtype)
    taps = torch.exp(-((place[:, None] - place) ** 2) / (2 * variance[:, None, None]))
    return taps / (2 * math.pi * variance[:, None, None]).sqrt()


def _parabola_offset(heatmaps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The vertex of a parabola through the log of the maximum and its neighbours, on each axis.

    Exact for a Gaussian. Nothing on the border, where a neighbour is missing.
    """
    height, width = heatmaps.shape[2:]
    logs = heatmaps.clamp_min(1e-10).log()
    here, steps = _at(logs, x, y), []
    for dx, dy, inside in (
        (1, 0, (x > 0) & (x < width - 1)),
        (0, 1, (y > 0) & (y < height - 1)),
    ):
        after, before = _at(logs, x + dx, y + dy), _at(logs, x - dx, y - dy)
        bend = 2 * here - after - before
        valid = inside & (bend > 1e-6)
        step = (after - before) / 2 / torch.where(valid, bend, torch.ones_like(bend))
        steps.append(torch.where(valid, step, torch.zeros_like(step)).clamp(-0.5, 0.5))
    return torch.stack(steps, dim=-1)


def _smooth(heatmaps: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with zero border that keeps each map's maximum.

    Kernel of ``6 sigma - 1`` cells (11 for sigma 2, 17 for sigma 3) whose deviation follows
    OpenCV's rule for that size, as in the DarkPose code.
    """
    radius = max(1, round(3 * sigma - 1))
    deviation = 0.3 * (radius - 1) + 0.8
    taps = [math.exp(-(i**2) / (2 * deviation**2)) for i in range(-radius, radius + 1)]
    kernel = heatmaps.new_tensor(taps) / sum(taps)
    flat = heatmaps.flatten(0, 1)[:, None]
    flat = F.conv2d(flat, kernel.view(1, 1, 1, -1), padding=(0, radius))
    flat = F.conv2d(flat, kernel.view(1, 1, -1, 1), padding=(radius, 0))
    blurred = flat.view_as(heatmaps)
    before = heatmaps.amax(dim=(2, 3), keepdim=True)
    after = blurred.amax(dim=(2, 3), keepdim=True)
    return blurred * (before / after.clamp_min(1e-12))
