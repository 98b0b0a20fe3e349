"""Training a pose network: augmented crops and Gaussian targets.

The augmentation is one affine per person through ``crop.resample``, the path of inference, so
that labels follow the pixels by construction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from hrpose import geometry, heatmap
from hrpose.crop import CropSpec, normalise, resample
from hrpose.errors import InputError
from hrpose.media.store import Pictures
from hrpose.skeleton import Skeleton
from hrpose.train import distributed
from hrpose.train.augment import colour, draw_patches, draw_window, paste
from hrpose.train.losses import PoseLoss
from hrpose.train.negatives import Negative
from hrpose.train.settings import PoseAugmentation
from hrpose.train.shards import Labels, read_pixels, shuffled
from hrpose.types import Codec, Size


@dataclass(frozen=True, slots=True, eq=False)
class PoseBatch:
    """Crops with their targets; B crops, K keypoints, cells of the heatmap.

    Weights are 0 where nothing is known; with an empty target and a weight nothing is to be found.
    """

    pixels: Tensor
    targets: Tensor
    weights: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A person in a picture.

    Attributes:
        image: (3, H, W) uint8 RGB.
        box: (4,) float32 xyxy px.
        xy: (K, 2) float32 px.
        weights: (K,) float32, 0 = not labelled.
        nobody: Whether it is no person at all.
    """

    image: Tensor
    box: Tensor
    xy: Tensor
    weights: Tensor
    nobody: bool = False

    @classmethod
    def of(cls, pictures: Pictures, labels: Labels, i: int) -> Shown:
        """Person ``i`` of a labelled picture."""
        image = read_pixels(pictures, labels)
        return cls(image, labels.boxes[i], labels.keypoints[i], labels.weights[i])

    @classmethod
    def negative(cls, pictures: Pictures, labels: Labels, box: Tensor) -> Shown:
        """A box of a labelled picture that fits nobody."""
        image, points = read_pixels(pictures, labels), labels.keypoints.shape[1]
        return cls(image, box, torch.zeros(points, 2), torch.zeros(points), nobody=True)

    def cut(self, random: np.random.Generator) -> Shown:
        """The same person where the picture ends within them, see ``draw_window``."""
        height, width = self.image.shape[1:]
        window = draw_window(Size(width, height), self.box, self.xy, self.weights > 0, random)
        left, top, right, bottom = window.left, window.top, window.right, window.bottom
        corner = self.xy.new_tensor([left, top])
        return replace(
            self,
            image=self.image[:, top:bottom, left:right],
            box=geometry.clip(self.box - corner.repeat(2), Size(right - left, bottom - top)),
            xy=self.xy - corner,
            weights=self.weights * window.holds(self.xy),
        )


class PoseTask:
    """Batches and loss for ``train.loop``.

    Args:
        network: Crops (B, 3, h, w) to heatmaps (B, K, h/4, w/4).
        labels: The training set.
        pictures: Where its pictures are.
        crop: The network's input.
        codec: Its heatmap convention.
        skeleton: Its keypoints.
        augmentation: How to vary the crops.
        loss: Compares heatmaps with targets.
        negatives: Boxes that fit nobody, see ``negatives.find_negatives``; the network is to find
            nothing there.
        batch_size: People per batch.
        seed: Fixes order and augmentation.
        device: Where crops are made.
    """

    def __init__(  # noqa: PLR0913 - data, four facts of the model, how to vary it
        self,
        network: nn.Module,
        labels: Sequence[Labels],
        pictures: Pictures,
        *,
        crop: CropSpec,
        codec: Codec,
        skeleton: Skeleton,
        augmentation: PoseAugmentation | None = None,
        loss: PoseLoss | None = None,
        negatives: Sequence[Negative] = (),
        batch_size: int = 32,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.network = network
        self._pictures = pictures
        self._crop, self._codec, self._skeleton = crop, codec, skeleton
        self._augmentation = augmentation or PoseAugmentation()
        self._loss, self._negatives = loss or PoseLoss(), negatives
        self._batch, self._seed, self._device = batch_size, seed, device
        self._people = [
            (picture, person)
            for picture in labels
            for person in range(len(picture.boxes))
            if not picture.ignore[person] and picture.weights[person].sum() > 0
        ]
        if not self._people:
            raise InputError("no labelled person in the training data", hint="check --data")

    def __len__(self) -> int:
        return len(self._people)

    def batches(self, first: int = 0) -> Iterator[PoseBatch]:
        """Endless batches from position ``first`` on."""
        rank = distributed.rank()
        for number, chosen in shuffled(
            len(self._people), batch_size=self._batch, seed=self._seed, first=first
        ):
            people = [self._people[i] for i in rank.share(chosen)]
            yield self._make(people, (self._seed, number, rank.number))

    def _make(self, people: list[tuple[Labels, int]], seed: tuple[int, int, int]) -> PoseBatch:
        random = np.random.default_rng(seed)
        shown = self._shown(people, random)
        if self._augmentation.truncate:
            cut = random.random(len(shown)) < self._augmentation.truncate
            shown = [one.cut(random) if c else one for one, c in zip(shown, cut, strict=True)]
        images = [one.image for one in shown]
        boxes = torch.stack([one.box for one in shown])
        xy_image = torch.stack([one.xy for one in shown])
        weights = torch.stack([one.weights for one in shown])
        crop_from_image, flipped = _random_transforms(
            boxes, xy_image, weights, self._crop, self._skeleton, self._augmentation, random
        )
        xy_crop = geometry.apply(crop_from_image, xy_image.double()).float()
        mirror = list(self._skeleton.mirror)
        xy_crop = torch.where(flipped[:, None, None], xy_crop[:, mirror], xy_crop)
        weights = torch.where(flipped[:, None], weights[:, mirror], weights)
        size = self._crop.size
        inside = (xy_crop >= 0) & (xy_crop < torch.tensor([size.width, size.height]))
        pixels = self._pixels(images, crop_from_image, xy_crop, weights > 0, random)
        cells = Size(size.width // self._codec.stride, size.height // self._codec.stride)
        targets, weights = heatmap.encode(
            xy_crop.to(self._device),
            (weights * inside.all(-1)).to(self._device),
            cells,
            self._codec,
        )
        # of a keypoint without a label nobody knows whether it is there; here it is not
        weights[torch.tensor([one.nobody for one in shown], device=weights.device)] = 1
        return PoseBatch(normalise(pixels, self._crop), targets, weights)

    def _shown(self, people: list[tuple[Labels, int]], random: np.random.Generator) -> list[Shown]:
        """The people, and negatives in the place of some."""
        if not self._negatives:
            return [Shown.of(self._pictures, picture, i) for picture, i in people]
        drawn = random.random(len(people)) < self._augmentation.negative_share
        which = random.integers(len(self._negatives), size=len(people))
        return [
            Shown.negative(self._pictures, *self._negatives[k])
            if negative
            else Shown.of(self._pictures, picture, i)
            for (picture, i), negative, k in zip(people, drawn, which, strict=True)
        ]

    def _pixels(
        self,
        images: list[Tensor],
        crop_from_image: Tensor,
        xy_crop: Tensor,
        labelled: Tensor,
        random: np.random.Generator,
    ) -> Tensor:
        """(B, 3, h, w) crops, 0 to 255, with other people pasted and colours varied."""
        size, how = self._crop.size, self._augmentation
        image_from_crop = geometry.invert(crop_from_image)
        pixels = resample(
            images, torch.arange(len(images)), image_from_crop, size, device=self._device
        )
        patches = draw_patches(xy_crop, labelled, size, how.paste, random) if how.paste else []
        if patches:
            donors = torch.tensor([patch.donor for patch in patches])
            maps = torch.stack([patch.crop_from_donor(size) for patch in patches])
            maps = geometry.invert(geometry.compose(maps, crop_from_image[donors]))
            shown = resample(images, donors, maps, size, device=self._device)
            pixels = paste(pixels, patches, shown)
        return colour(pixels, how.colour, random)

    def loss(self, network: nn.Module, batch: PoseBatch) -> tuple[Tensor, dict[str, float]]:
        """A thousand times the loss, and the PCK."""
        predicted = network(batch.pixels).float()
        loss = self._loss(predicted, batch.targets, batch.weights, batch.pixels)
        # the mean square of a target is about 0.01; at scale 1 clipping and logs are readable
        return loss * 1000, {"pck": _pck(predicted.detach(), batch)}


def _pck(predicted: Tensor, batch: PoseBatch) -> float:
    """Share of labelled keypoints whose maximum lies within a tenth of the heatmap's width."""
    none = Codec(refine="none")
    found, true = heatmap.decode(predicted, none), heatmap.decode(batch.targets, none)
    near = (found.xy - true.xy).norm(dim=-1) < predicted.shape[3] / 10
    labelled = (batch.weights > 0) & (batch.targets.amax(dim=(2, 3)) > 0)
    return float((near & labelled).sum() / labelled.sum().clamp_min(1))


def _random_transforms(
    boxes: Tensor,
    xy_image: Tensor,
    weights: Tensor,
    crop: CropSpec,
    skeleton: Skeleton,
    how: PoseAugmentation,
    random: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """``crop_from_image`` (B, 2, 3) float64 and which crops (B,) are mirrored."""
    batch = len(boxes)
    boxes = _half_bodies(boxes, xy_image, weights, skeleton, how, random)
    centers, sizes = geometry.padded_region(boxes, crop.aspect, padding=crop.padding)
    size = _deviations(batch, 1, how, random) * how.scale + 1
    turned = random.random(batch) < how.rotation_share
    angle = _deviations(batch, 2, how, random) * how.rotation * turned
    shift = torch.from_numpy(random.uniform(-how.shift, how.shift, (batch, 2)))
    crop_from_image = geometry.crop_from_image(
        centers + shift * sizes,
        sizes * torch.from_numpy(size)[:, None],
        crop.size,
        rotation=torch.from_numpy(np.deg2rad(angle)),
    )
    flipped = torch.from_numpy(random.random(batch) < how.flip)
    mirrored = geometry.compose(
        geometry.mirror(crop.size.width, like=crop_from_image), crop_from_image
    )
    return torch.where(flipped[:, None, None], mirrored, crop_from_image), flipped


def _deviations(
    count: int, limit: float, how: PoseAugmentation, random: np.random.Generator
) -> np.ndarray:
    """Normal with deviation 1 and clipped at the limit, or even between -1 and 1."""
    if how.even:
        return random.uniform(-1, 1, count)
    return np.clip(random.standard_normal(count), -limit, limit)


def _half_bodies(
    boxes: Tensor,
    xy_image: Tensor,
    weights: Tensor,
    skeleton: Skeleton,
    how: PoseAugmentation,
    random: np.random.Generator,
) -> Tensor:
    """Replaces some boxes by one around the upper or lower half of the labelled keypoints.

    As in the official code (JointsDataset.py:75-115): people with more than 8 labelled keypoints,
    halves with at least 3, and a region half again as large as the keypoints' extent.
    """
    upper = torch.zeros(len(skeleton), dtype=torch.bool)
    upper[list(skeleton.upper_body)] = True
    drawn = random.random(len(boxes)) < how.half_body
    above = random.random(len(boxes)) < 0.5
    boxes = boxes.clone()
    for i in np.flatnonzero(drawn):
        labelled = weights[i] > 0
        if labelled.sum() <= 8:
            continue
        half = labelled & (upper if above[i] else ~upper)
        if half.sum() < 3:
            half = labelled & ~half
        xy = xy_image[i][half]
        low, high = xy.amin(0), xy.amax(0)
        margin = (high - low) / 10  # 1.2, and 1.25 by the padding: 1.5 in all
        boxes[i] = torch.cat([low - margin, high + margin])
    return boxes
