"""Labels for training from a COCO-format JSON, and the order in which they are shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrpose.errors import BadAnnotation, InputError, UsageError
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
        source: Name of the data set it came from (``source`` of the picture's entry), or "".
    """

    name: str
    shard: str
    size: Size
    boxes: Tensor
    ignore: Tensor
    keypoints: Tensor
    weights: Tensor
    areas: Tensor
    source: str = ""


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
    pictures, people = _read(path)
    return [_labels(entry, people[entry["id"]], skeleton, path) for entry in pictures]


def _read(path: Path) -> tuple[list[dict[str, Any]], dict[Any, list[dict[str, Any]]]]:
    """The pictures of a COCO file, and the annotations of each by its id."""
    try:
        document = json.loads(path.read_bytes())
        pictures: list[dict[str, Any]] = document["images"]
        people: dict[Any, list[dict[str, Any]]] = {entry["id"]: [] for entry in pictures}
        for entry in document["annotations"]:
            if entry["image_id"] not in people:
                raise BadAnnotation(
                    f"{path}: annotation {entry.get('id')} of unknown image_id"
                    f" {entry['image_id']!r}"
                )
            people[entry["image_id"]].append(entry)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="check --data") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadAnnotation(
            f"{path}: not a COCO annotation file ({error!r})",
            hint="it needs the lists 'images' and 'annotations'",
        ) from error
    return pictures, people


def _labels(
    entry: dict[str, Any], people: list[dict[str, Any]], skeleton: Skeleton, path: Path
) -> Labels:
    points = len(skeleton)
    boxes = np.zeros((len(people), 4), np.float32)
    triples = np.zeros((len(people), points, 3), np.float32)
    scores = np.ones((len(people), points), np.float32)
    areas = np.zeros(len(people), np.float32)
    for row, person in enumerate(people):
        try:
            boxes[row] = np.reshape(person["bbox"], 4)
            areas[row] = person.get("area", boxes[row, 2] * boxes[row, 3])
            if "keypoints" in person:
                triples[row] = np.reshape(person["keypoints"], (points, 3))
            if "keypoint_scores" in person:
                scores[row] = np.reshape(person["keypoint_scores"], points)
            if not all(np.isfinite(part[row]).all() for part in (boxes, areas, triples, scores)):
                raise ValueError("a number is not finite")
        except (KeyError, ValueError, TypeError) as error:
            raise BadAnnotation(
                f"{path}: annotation {person.get('id')} of {entry.get('file_name')}: {error}",
                hint=f"bbox needs 4 numbers, keypoints {points} x 3",
            ) from error
    ignore = np.array([bool(p.get("iscrowd", 0)) for p in people], bool)
    boxes[:, 2:] += boxes[:, :2]
    try:
        name, size = entry["file_name"], Size(int(entry["width"]), int(entry["height"]))
    except (KeyError, ValueError, TypeError) as error:
        raise BadAnnotation(
            f"{path}: picture {entry['id']!r}: {error!r}",
            hint="a picture needs file_name, width and height",
        ) from error
    return Labels(
        name=name,
        shard=entry.get("shard", ""),
        size=size,
        boxes=torch.from_numpy(boxes),
        ignore=torch.from_numpy(ignore),
        keypoints=torch.from_numpy(triples[..., :2].copy()),
        weights=torch.from_numpy(scores * (triples[..., 2] > 0) * ~ignore[:, None]),
        areas=torch.from_numpy(areas),
        source=str(entry.get("source", "")),
    )


def mixed(labels: Sequence[Labels], times: Mapping[str, float], *, seed: int) -> list[Labels]:
    """Shows the pictures of some sources more or less often.

    Args:
        labels: All pictures.
        times: By source, how often a picture comes in one epoch; 2.5 is twice, and for a random
            half once more. Sources that are not named come once.
        seed: Fixes which pictures the random part takes.

    Returns:
        The pictures of one epoch, in the order of ``labels``.

    Raises:
        UsageError: No picture has such a source.
    """
    known = {picture.source for picture in labels}
    if unknown := sorted(times.keys() - known):
        raise UsageError(
            f"no picture of source {unknown[0]!r}", hint=f"sources: {', '.join(sorted(known))}"
        )
    drawn = np.random.default_rng(seed).random(len(labels))
    counts = [int(times.get(p.source, 1) + d) for p, d in zip(labels, drawn, strict=True)]
    return [picture for picture, n in zip(labels, counts, strict=True) for _ in range(n)]


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


def shuffled(
    count: int, *, batch_size: int, seed: int, first: int = 0
) -> Iterator[tuple[int, np.ndarray]]:
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
