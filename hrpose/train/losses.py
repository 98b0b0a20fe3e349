"""Losses over heatmaps: weighted squares, the hardest keypoints, a teacher's soft targets.

Heatmaps and targets are (B, K, h, w) float32, weights (B, K). Every function returns the share of
this process: the mean over processes is the loss of the whole batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpose.crop import CropSpec, normalise
from hrpose.errors import UsageError
from hrpose.train import distributed
from hrpose.train.settings import Loss
from hrpose.types import Codec


def mse(predicted: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Half the mean squared error per cell, as the weighted mean over labelled keypoints."""
    error = ((predicted - targets) ** 2).mean(dim=(2, 3)) * weights
    return error.sum() / distributed.mean(weights.sum()).clamp_min(1) / 2


def ohkm(predicted: Tensor, targets: Tensor, weights: Tensor, *, keep: int) -> Tensor:
    """Half the mean squared error per cell, of each person's ``keep`` worst keypoints only.

    Online hard keypoint mining (Chen et al. 2018, section 3.3), as ``JointsOHKMMSELoss`` of the
    official code: always divided by ``keep``, so a person with fewer labelled keypoints counts
    less. There the weight is squared, here it is not; weights of 0 and 1 give the same.
    """
    error = ((predicted - targets) ** 2).mean(dim=(2, 3)) * weights / 2
    return error.topk(min(keep, error.shape[1]), dim=1).values.mean()


class Teacher:
    """A trained network's heatmaps of the crops that a student sees, on the student's cells.

    Pixels and heatmaps are resampled where the two networks differ in input size, normalisation,
    stride or cell offset, so that a teacher of 384 x 288 can teach a student of 256 x 192.

    Args:
        network: (B, 3, h, w) to (B, K, h/4, w/4), in eval mode, on the student's device.
        theirs: The teacher's input.
        their_codec: The teacher's heatmap convention.
        ours: The student's input.
        our_codec: The student's heatmap convention.

    Raises:
        UsageError: The inputs have another aspect.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        theirs: CropSpec,
        their_codec: Codec,
        ours: CropSpec,
        our_codec: Codec,
    ) -> None:
        if theirs.size.width * ours.size.height != theirs.size.height * ours.size.width:
            raise UsageError(
                f"the teacher's input is {theirs.size.width}x{theirs.size.height}, ours"
                f" {ours.size.width}x{ours.size.height}: another aspect",
                hint="use a teacher whose input has the same proportions",
            )
        self._network, self._theirs, self._ours = network, theirs, ours
        self._x = _cells(ours.size.width, our_codec, theirs.size.width, their_codec)
        self._y = _cells(ours.size.height, our_codec, theirs.size.height, their_codec)
        place = ("stride", "cell_offset")
        self._same = ours.size == theirs.size and all(
            getattr(our_codec, name) == getattr(their_codec, name) for name in place
        )

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, 3, h, w) the student's input -> (B, K, h/4, w/4) float32."""
        heatmaps: Tensor = self._network(self._seen(pixels)).float()
        if self._same:
            return heatmaps
        height, width = heatmaps.shape[2:]
        # grid_sample counts from -1 to 1 between the centres of the first and the last cell
        x, y = self._x * 2 / (width - 1) - 1, self._y * 2 / (height - 1) - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).to(heatmaps)
        grid = grid.expand(len(heatmaps), *grid.shape)
        return F.grid_sample(heatmaps, grid, padding_mode="border", align_corners=True)

    def _seen(self, pixels: Tensor) -> Tensor:
        theirs, ours = self._theirs, self._ours
        if (theirs.size, theirs.mean, theirs.std, theirs.bgr) == (
            ours.size, ours.mean, ours.std, ours.bgr,
        ):  # fmt: skip
            return pixels
        mean = pixels.new_tensor(ours.mean).view(3, 1, 1) * 255
        std = pixels.new_tensor(ours.std).view(3, 1, 1) * 255
        pixels = pixels * std + mean
        pixels = pixels.flip(1) if ours.bgr else pixels
        size = (theirs.size.height, theirs.size.width)
        if size != tuple(pixels.shape[2:]):
            pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
        return normalise(pixels, theirs)


def _cells(ours: int, our_codec: Codec, theirs: int, their_codec: Codec) -> Tensor:
    """Where the centres of our cells lie along one side, in their cells; sides in crop pixels."""
    pixel = torch.arange(ours // our_codec.stride) * our_codec.stride + our_codec.cell_offset
    pixel = (pixel + 0.5) * (theirs / ours) - 0.5  # as interpolate maps pixel centres
    return (pixel - their_codec.cell_offset) / their_codec.stride


class PoseLoss:
    """The loss that the settings ask for.

    Args:
        how: Which loss, and the teacher's share.
        teacher: Gives soft targets; None leaves them out.
    """

    def __init__(self, how: Loss | None = None, teacher: Teacher | None = None) -> None:
        self._how, self._teacher = how or Loss(), teacher

    def __call__(
        self, predicted: Tensor, targets: Tensor, weights: Tensor, pixels: Tensor
    ) -> Tensor:
        """The loss of a batch.

        The teacher's heatmaps count for all keypoints, also those that nobody labelled: that it
        knows them is what it is for. Labels and teacher are mixed as in Zhang, Zhu and Ye 2019
        (Fast human pose estimation, eq. 4).

        Args:
            predicted: (B, K, h, w).
            targets: (B, K, h, w).
            weights: (B, K), 0 = not labelled or outside; its target is empty.
            pixels: (B, 3, H, W) what the network saw.
        """
        weights = weights.clamp_min(self._how.absent * (weights == 0))
        if self._how.kind == "ohkm":
            loss = ohkm(predicted, targets, weights, keep=self._how.ohkm_keep)
        else:
            loss = mse(predicted, targets, weights)
        if self._teacher is None:
            return loss
        soft = mse(predicted, self._teacher(pixels), torch.ones_like(weights))
        share = self._how.teacher_weight
        return (1 - share) * loss + share * soft
