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
from hrpose.formats.coco import ImageId
from hrpose.media.store import Pictures
from hrpose.skeleton import Skeleton
from hrpose.types import Size


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """One picture's labels, in stored pixels.

    Attributes:
        name: File name of the picture.
        shard: Name of the ZIP that holds it, or "" for a plain file.
        size: Width and height in pixels; (0, 0) where the labels do not say.
        boxes: (N, 4) float32 xyxy.
        ignore: (N,) bool; a crowd or an uncertain person, neither person nor background.
        keypoints: (N, K, 2) float32.
        weights: (N, K) float32 loss weights, 0 = not labelled.
        areas: (N,) float32 px^2.
        source: Name of the data set it came from: ``source`` of the picture's entry, or else the
            name of the file of labels without its suffix.
        id: The picture's id in the file of labels; None where it has none.
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
    id: ImageId | None = None


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
    return coco_labels(read_document(path), skeleton, path)


def read_document(path: Path) -> Any:
    """The values of a JSON file.

    Raises:
        InputError: It cannot be read.
        BadAnnotation: It is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="check --data") from error
    except (ValueError, RecursionError) as error:
        raise _no_coco(path, error) from error


def keypoint_category(document: Any, path: Path) -> Mapping[str, Any] | None:
    """The first category of a COCO document that names its keypoints, or None.

    Raises:
        BadAnnotation: Its keypoints are no list of names.
    """
    try:
        categories = [c for c in document.get("categories") or () if c.get("keypoints")]
    except (AttributeError, TypeError) as error:
        raise _no_coco(path, error) from error
    if not categories:
        return None
    names = categories[0]["keypoints"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadAnnotation(f"{path}: the keypoints of a category are no list of names")
    found: Mapping[str, Any] = categories[0]
    return found


def coco_labels(document: Any, skeleton: Skeleton, path: Path) -> list[Labels]:
    """As :func:`read_labels`, from the values of a file; ``path`` is named in errors.

    Of several categories those count that have the first one's keypoints, or, where none has
    keypoints, the one named person.
    """
    pictures, people = _grouped(document, path)
    return [_labels(entry, people[entry["id"]], skeleton, path) for entry in pictures]


def _no_coco(path: Path, error: Exception) -> BadAnnotation:
    return BadAnnotation(
        f"{path}: not a COCO annotation file ({error!r})",
        hint="it needs the lists 'images' and 'annotations'",
    )


def _grouped(
    document: Any, path: Path
) -> tuple[list[dict[str, Any]], dict[Any, list[dict[str, Any]]]]:
    """The pictures of a COCO document, and the annotations of each by its id."""
    try:
        pictures: list[dict[str, Any]] = document["images"]
        people: dict[Any, list[dict[str, Any]]] = {entry["id"]: [] for entry in pictures}
        wanted = _wanted(document, path)
        for entry in document["annotations"]:
            if entry["image_id"] not in people:
                raise BadAnnotation(
                    f"{path}: annotation {entry.get('id')} of unknown image_id"
                    f" {entry['image_id']!r}"
                )
            if wanted is None or entry.get("category_id", wanted[0]) in wanted:
                people[entry["image_id"]].append(entry)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_coco(path, error) from error
    if len(people) < len(pictures):
        ids = [entry["id"] for entry in pictures]
        twice = next(i for i in people if ids.count(i) > 1)
        raise BadAnnotation(f"{path}: two pictures have the id {twice!r}")
    return pictures, people


def _wanted(document: Mapping[str, Any], path: Path) -> list[Any] | None:
    """Ids of the categories to read; None for all."""
    categories = document.get("categories") or []
    named = keypoint_category(document, path)
    if named is not None:
        return [c["id"] for c in categories if c.get("keypoints") == named["keypoints"]]
    people = [c["id"] for c in categories if c.get("name") == "person"]
    return people or None


def _labels(
    entry: dict[str, Any], people: list[dict[str, Any]], skeleton: Skeleton, path: Path
) -> Labels:
    size = _size(entry, path)
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
        except (KeyError, ValueError, TypeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise _misfit(path, entry, person, reason, points) from error
    for row, reason in _implausible(boxes, areas, triples, scores, size):
        raise _misfit(path, entry, people[row], reason, points)
    ignore = np.array([bool(p.get("iscrowd", 0)) for p in people], bool)
    boxes[:, 2:] += boxes[:, :2]
    return Labels(
        name=entry["file_name"],
        shard=entry.get("shard", ""),
        size=size,
        boxes=torch.from_numpy(boxes),
        ignore=torch.from_numpy(ignore),
        keypoints=torch.from_numpy(triples[..., :2].copy()),
        weights=torch.from_numpy(scores * (triples[..., 2] > 0) * ~ignore[:, None]),
        areas=torch.from_numpy(areas),
        source=str(entry.get("source") or path.stem),
        id=entry["id"],
    )


def _size(entry: Mapping[str, Any], path: Path) -> Size:
    try:
        size = Size(int(entry["width"]), int(entry["height"]))
        if not isinstance(entry["file_name"], str) or not entry["file_name"]:
            raise ValueError(f"file_name is {entry['file_name']!r}")
        if min(size) < 1:
            raise ValueError(f"is {size.width}x{size.height}")
    except (KeyError, ValueError, TypeError) as error:
        raise BadAnnotation(
            f"{path}: picture {entry['id']!r}: {error!r}",
            hint="a picture needs file_name, width and height",
        ) from error
    return size


def _misfit(
    path: Path, entry: Mapping[str, Any], person: Mapping[str, Any], reason: str, points: int
) -> BadAnnotation:
    return BadAnnotation(
        f"{path}: annotation {person.get('id')} of {entry['file_name']}: {reason}",
        hint=f"bbox needs 4 numbers, keypoints {points} x 3",
    )


def _implausible(
    boxes: np.ndarray, areas: np.ndarray, triples: np.ndarray, scores: np.ndarray, size: Size
) -> Iterator[tuple[int, str]]:
    """Yields rows whose numbers cannot be a person's, and why.

    Args:
        boxes: (N, 4) x, y, width, height.
        areas: (N,) px^2.
        triples: (N, K, 3) x, y, visibility.
        scores: (N, K).
        size: Of the picture.
    """
    if not len(boxes):
        return
    xy, seen = triples[..., :2], triples[..., 2]
    low, sides = boxes[:, :2], boxes[:, 2:]
    labelled = seen > 0
    with np.errstate(invalid="ignore"):  # infinite numbers are told first
        high = low + sides
        near = ((xy >= (low - sides)[:, None]) & (xy <= (high + sides)[:, None])).all(2)
    numbers = np.concatenate([boxes, areas[:, None], triples.reshape(len(boxes), -1), scores], 1)
    problems = (
        (~np.isfinite(numbers).all(1), "a number is not finite"),
        ((sides < 0).any(1) | (areas < 0), "the bbox or its area is negative"),
        (
            (high < 0).any(1) | (low > size).any(1),
            f"the bbox lies outside the picture of {size.width}x{size.height}",
        ),
        (((seen != 0) & (seen != 1) & (seen != 2)).any(1), "a visibility is not 0, 1 or 2"),
        ((scores < 0).any(1), "a keypoint score is negative"),
        (
            labelled.any(1) & (sides > 0).all(1) & ~(near & labelled).any(1),
            "no keypoint lies near the bbox; are they in other units?",
        ),
    )
    for rows, reason in problems:
        for row in np.flatnonzero(rows):
            yield int(row), reason


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
    width, height = labels.size
    if any(labels.size) and image.shape[1:] != (height, width):
        turned = image.shape[1:] == (width, height)
        raise InputError(
            f"{labels.name}: is {image.shape[2]}x{image.shape[1]}, its labels are for"
            f" {width}x{height}",
            hint="try --ignore-exif: its labels may be for the picture as it is stored"
            if turned
            else "the pictures and --data do not belong together",
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
