"""Labels for training from a COCO-format JSON, and the order in which they are shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrpose.errors import BadAnnotation, InputError
from hrpose.media.store import Pictures
from hrpose.skeleton import Skeleton
from hrpose.types import Size


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """One picture's labels, in stored pixels.

    Attributes:
        name: File name of the picture.
        shard: Name of the ZIP that holds it, or "" for a plain file.
        size: Width and height in pixels.
        boxes: (N, 4) float32 xyxy.
        ignore: (N,) bool; a crowd or an uncertain person, neither person nor background.
        keypoints: (N, K, 2) float32.
        weights: (N, K) float32 loss weights, 0 = not labelled.
        areas: (N,) float32 px^2.
    """

    name: str
    shard: str
    size: Size
    boxes: Tensor
    ignore: Tensor
    keypoints: Tensor
    weights: Tensor
    areas: Tensor


def read_labels(path: Path, skeleton: Skeleton) -> list[Labels]:
    """Reads a COCO ``person_keypoints`` file.

    A keypoint's weight is 0 for visibility 0, else its entry in ``keypoint_scores``, else 1.

    Args:
        path: The JSON file.
        skeleton: Says how many keypoints a person has.

    Returns:
        One entry per picture, in the order of the file; pictures without people included.

    Raises:
        BadAnnotation: The file is not JSON, or an entry does not fit; it is named.
    """
    try:
        document = json.loads(path.read_bytes())
        pictures, annotations = document["images"], document["annotations"]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="check --data") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadAnnotation(
            f"{path}: not a COCO annotation file ({error!r})",
            hint="it needs the lists 'images' and 'annotations'",
        ) from error
    people: dict[Any, list[dict[str, Any]]] = {}
    for entry in annotations:
        people.setdefault(entry.get("image_id"), []).append(entry)
    known = {entry.get("id") for entry in pictures}
    if stray := next((k for k in people if k not in known), None):
        raise BadAnnotation(f"{path}: annotation of unknown image_id {stray!r}")
    return [_labels(entry, people.get(entry["id"], []), skeleton, path) for entry in pictures]


def _labels(
    entry: dict[str, Any], people: list[dict[str, Any]], skeleton: Skeleton, path: Path
) -> Labels:
    points = len(skeleton)
    boxes = np.zeros((len(people), 4), np.float32)
    triples = np.zeros((len(people), points, 3), np.float32)
    scores = np.ones((len(people), points), np.float32)
    for row, person in enumerate(people):
        try:
            boxes[row] = person["bbox"]
            if "keypoints" in person:
                triples[row] = np.reshape(person["keypoints"], (points, 3))
            if "keypoint_scores" in person:
                scores[row] = person["keypoint_scores"]
        except (KeyError, ValueError, TypeError) as error:
            raise BadAnnotation(
                f"{path}: annotation {person.get('id')} of {entry.get('file_name')}: {error}",
                hint=f"bbox needs 4 numbers, keypoints {points} x 3",
            ) from error
    ignore = np.array([bool(p.get("iscrowd", 0)) for p in people], bool)
    boxes[:, 2:] += boxes[:, :2]
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    areas = np.array([p.get("area", a) for p, a in zip(people, areas, strict=True)], np.float32)
    return Labels(
        name=entry["file_name"],
        shard=entry.get("shard", ""),
        size=Size(int(entry["width"]), int(entry["height"])),
        boxes=torch.from_numpy(boxes),
        ignore=torch.from_numpy(ignore),
        keypoints=torch.from_numpy(triples[..., :2].copy()),
        weights=torch.from_numpy(scores * (triples[..., 2] > 0) * ~ignore[:, None]),
        areas=torch.from_numpy(areas),
    )


def read_pixels(pictures: Pictures, labels: Labels) -> Tensor:
    """Returns a labelled picture's (3, H, W) uint8 RGB pixels.

    Raises:
        InputError: It is not there, cannot be decoded, or has another size than its labels say.
    """
    image = pictures.read(labels.name, shard=labels.shard)
    if image.shape[1:] != (labels.size.height, labels.size.width):
        raise InputError(
            f"{labels.name}: is {image.shape[2]}x{image.shape[1]}, its labels are for"
            f" {labels.size.width}x{labels.size.height}",
            hint="the pictures and --data do not belong together",
        )
    return image


def shuffled(count: int, *, batch_size: int, seed: int, first: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Endless batches of indices, each epoch in a new order; every position is known beforehand.

    Args:
        count: Number of items, at least ``batch_size`` or the batch repeats items.
        batch_size: Indices per batch; an epoch's remainder is dropped.
        seed: Fixes all orders.
        first: Number of the batch to start with, so that a resumed run continues exactly.

    Yields:
        The number of the batch and its indices.
    """
    per_epoch = max(1, count // batch_size)
    number = first
    while True:
        epoch, start = divmod(number, per_epoch)
        order = np.random.default_rng((seed, epoch)).permutation(count)
        for batch in range(start, per_epoch):
            chosen = order[batch * batch_size : (batch + 1) * batch_size]
            yield number, np.resize(chosen, batch_size)
            number += 1

