"""Training the person detector: mosaics of pictures, their boxes, Faster R-CNN's own losses.

A canvas is cut into tiles, and each tile shows a part of one picture: one affine resample a
tile, and the boxes go through the same map. Box coordinates count from the edge of the first
pixel, as COCO's and torchvision's do; ``crop.resample`` counts from its centre.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpose import geometry
from hrpose.crop import resample
from hrpose.errors import InputError
from hrpose.media.store import Pictures
from hrpose.models.detection import IGNORE, PERSON
from hrpose.train import distributed
from hrpose.train.augment import colour
from hrpose.train.settings import DetectionAugmentation
from hrpose.train.shards import Labels, read_pixels, shuffled
from hrpose.types import Size

TYPICAL_PICTURE = 200 * 200  # px


@dataclass(frozen=True, slots=True, eq=False)
class DetectionBatch:
    """Canvases with their people.

    Attributes:
        pixels: (B, 3, h, w) float32 RGB, 0 to 1.
        boxes: Per canvas (N, 4) float32 xyxy px, inside the canvas, with positive sides.
        labels: Per canvas (N,) int64, ``PERSON`` or ``IGNORE``.
    """

    pixels: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]


@dataclass(frozen=True, slots=True)
class Tile:
    """Part of a canvas, in whole pixels."""

    left: int
    top: int
    size: Size


class DetectionTask:
    """Batches and loss for ``train.loop``.

    Args:
        network: A torchvision detector whose transform leaves training pictures as they are and
            that knows ``IGNORE``; see ``models.detection``.
        labels: The training set.
        pictures: Where its pictures are.
        canvas: Size of the training pictures; sides are multiples of 32.
        augmentation: How to vary them.
        batch_size: Canvases per batch.
        seed: Fixes order and augmentation.
        device: Where canvases are made.
    """

    def __init__(  # noqa: PLR0913 - as for PoseTask
        self,
        network: nn.Module,
        labels: Sequence[Labels],
        pictures: Pictures,
        *,
        canvas: Size = Size(384, 384),  # noqa: B008 (immutable)
        augmentation: DetectionAugmentation | None = None,
        batch_size: int = 16,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        if canvas.width % 32 or canvas.height % 32:
            raise ValueError(f"canvas is {canvas}, expected multiples of 32")
        if all(picture.ignore.all() for picture in labels):
            raise InputError("no labelled person in the training data", hint="check --data")
        self.network = network
        self._pictures = pictures
        self._canvas = canvas
        self._augmentation = augmentation or DetectionAugmentation()
        self._batch, self._seed, self._device = batch_size, seed, device
        self._shown = [p for p in labels for _ in range(_times(p.size, self._augmentation))]

    def __len__(self) -> int:
        return len(self._shown)

    def batches(self, first: int = 0) -> Iterator[DetectionBatch]:
        """Endless batches from position ``first`` on.

        An epoch shows every picture as one of the canvas's tiles; the others are drawn.
        """
        rank = distributed.rank()
        for number, chosen in shuffled(
            len(self._shown), batch_size=self._batch, seed=self._seed, first=first
        ):
            random = np.random.default_rng((self._seed, number, rank.number))
            canvases = [self._mosaic(self._shown[i], random) for i in rank.share(chosen)]
            yield DetectionBatch(
                pixels=torch.stack([pixels for pixels, _, _ in canvases]) / 255,
                boxes=[boxes.to(self._device) for _, boxes, _ in canvases],
                labels=[labels.to(self._device) for _, _, labels in canvases],
            )

    def loss(self, network: nn.Module, batch: DetectionBatch) -> tuple[Tensor, dict[str, float]]:
        """Sum of the four losses of Faster R-CNN, and each of them."""
        targets = [
            {"boxes": boxes, "labels": labels}
            for boxes, labels in zip(batch.boxes, batch.labels, strict=True)
        ]
        losses: dict[str, Tensor] = network(list(batch.pixels), targets)
        figures = {name.removeprefix("loss_"): value.item() for name, value in losses.items()}
        return torch.stack(list(losses.values())).sum(), figures

    def _mosaic(self, first: Labels, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One canvas: pixels (3, h, w) 0 to 255, boxes and labels."""
        how = self._augmentation
        count = int(random.choice(how.tiles))
        tiles = split_canvas(self._canvas, count, random, least=how.split)
        drawn = random.integers(len(self._shown), size=len(tiles) - 1)
        chosen = [first, *(self._shown[i] for i in drawn)]
        # largest picture into the largest tile, so that few are enlarged much
        chosen.sort(key=lambda p: p.size.width * p.size.height, reverse=True)
        tiles.sort(key=lambda t: t.size.width * t.size.height, reverse=True)
        pixels = torch.empty(3, self._canvas.height, self._canvas.width, device=self._device)
        boxes, labels = [], []
        for tile, picture in zip(tiles, chosen, strict=True):
            tile_from_image = _random_map(picture.size, tile.size, how, random)
            shown = _show(
                read_pixels(self._pictures, picture), tile_from_image, tile.size, self._device
            )
            rows = slice(tile.top, tile.top + tile.size.height)
            columns = slice(tile.left, tile.left + tile.size.width)
            pixels[:, rows, columns] = colour(shown, how.colour, random)[0]
            kept, label = move_boxes(picture, tile_from_image, tile.size, how)
            boxes.append(kept + kept.new_tensor([tile.left, tile.top] * 2))
            labels.append(label)
        return pixels, torch.cat(boxes), torch.cat(labels)


def split_canvas(
    canvas: Size, count: int, random: np.random.Generator, *, least: float
) -> list[Tile]:
    """Cuts a canvas into ``count`` tiles: always the largest one, across its longer side."""
    tiles = [Tile(0, 0, canvas)]
    while len(tiles) < count:
        tile = max(tiles, key=lambda t: t.size.width * t.size.height)
        tiles.remove(tile)
        share = random.uniform(least, 1 - least)
        width, height = tile.size
        if width >= height:
            cut = max(1, round(width * share))
            tiles.append(Tile(tile.left, tile.top, Size(cut, height)))
            tiles.append(Tile(tile.left + cut, tile.top, Size(width - cut, height)))
        else:
            cut = max(1, round(height * share))
            tiles.append(Tile(tile.left, tile.top, Size(width, cut)))
            tiles.append(Tile(tile.left, tile.top + cut, Size(width, height - cut)))
    return tiles


def move_boxes(
    picture: Labels, tile_from_image: Tensor, tile: Size, how: DetectionAugmentation
) -> tuple[Tensor, Tensor]:
    """Boxes of a picture in a tile that shows part of it.

    Args:
        picture: Its labels.
        tile_from_image: (2, 3), no rotation, coordinates from pixel edges.
        tile: Size of the tile.
        how: When a cut person becomes an ignore region.

    Returns:
        (N, 4) float32 boxes cut to the tile, in tile pixels, and (N,) ``PERSON`` or ``IGNORE``;
        what lies outside is left out.
    """
    corners = geometry.apply(tile_from_image, picture.boxes.double().view(-1, 2, 2))
    whole = torch.cat([corners.amin(1), corners.amax(1)], 1).float()  # mirroring swaps corners
    boxes = geometry.clip(whole, tile)
    sides = boxes[:, 2:] - boxes[:, :2]
    visible = sides.prod(1) / (whole[:, 2:] - whole[:, :2]).prod(1).clamp_min(1e-6)
    ignore = picture.ignore | (visible < how.min_visible) | (sides.amin(1) < how.min_side)
    labels = torch.where(ignore, IGNORE, PERSON)
    kept = sides.amin(1) > 0.5
    return boxes[kept], labels[kept]


def _times(size: Size, how: DetectionAugmentation) -> int:
    return min(how.repeat, max(1, round(size.width * size.height / TYPICAL_PICTURE)))


def _random_map(
    picture: Size, tile: Size, how: DetectionAugmentation, random: np.random.Generator
) -> Tensor:
    """``tile_from_image`` (2, 3) float64 from pixel edge to pixel edge."""
    cover = max(tile.width / picture.width, tile.height / picture.height)
    zoom = np.exp(random.uniform(*np.log(how.zoom)))
    stretch = np.exp(random.uniform(-how.stretch, how.stretch) / 2)
    scale = min(cover * zoom, how.max_scale) * np.array([stretch, 1 / stretch])
    room = np.array(tile) - scale * np.array(picture)  # negative where the picture is larger
    shift = room * random.random(2)
    if random.random() < how.flip:
        scale[0], shift[0] = -scale[0], tile.width - shift[0]
    return torch.tensor([[scale[0], 0.0, shift[0]], [0.0, scale[1], shift[1]]], dtype=torch.float64)


def _show(image: Tensor, tile_from_image: Tensor, tile: Size, device: torch.device | str) -> Tensor:
    """(1, 3, h, w) part of an image, 0 to 255."""
    tile_from_image = tile_from_image.clone()
    # bilinear taps skip pixels below half size; real small people do not look aliased
    while tile_from_image[:, :2].abs().amax() < 0.5 and min(image.shape[1:]) >= 2:
        image = F.avg_pool2d(image.float(), 2).round().to(torch.uint8)
        tile_from_image[:, :2] *= 2
    centres = tile_from_image.clone()
    centres[:, 2] += tile_from_image[:, :2].sum(1) / 2 - 0.5
    which = torch.zeros(1, dtype=torch.int64)
    return resample([image], which, geometry.invert(centres)[None], tile, device=device)
