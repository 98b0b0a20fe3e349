"""Boxes that fit nobody: what a detector takes for people and is not.

A pose network that is trained on people only finds people everywhere; in crops of such boxes it
learns to find nobody, and so to tell at the end of the chain what the detector cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

import torch
from torch import Tensor

from hrpose.formats.coco import ImageId
from hrpose.train.shards import Labels
from hrpose.types import Detections

_OF_BOX = 0.2  # of a box's area may lie on a person or an ignore region
_OF_PERSON = 0.5  # of a person may lie in a box

Negative = tuple[Labels, Tensor]


def find_negatives(labels: Sequence[Labels], found: Mapping[ImageId, Detections]) -> list[Negative]:
    """Boxes that a detector found and that fit nobody.

    Args:
        labels: Pictures with all their people, of the trainer.
        found: Boxes by id or name of the picture, of ``formats.coco.read_detections``.

    Returns:
        Pictures with one box (4,) xyxy px each, as often as the picture comes in ``labels``.
        Left out are boxes of which a fifth lies on a person or an ignore region, or that hold
        half of one: they are a part of somebody, or a group.
    """
    return [
        (picture, box)
        for picture in labels
        if (boxes := _boxes_of(picture, found)) is not None
        for box in boxes[~_touches(boxes, picture.boxes)]
    ]


def _boxes_of(picture: Labels, found: Mapping[ImageId, Detections]) -> Tensor | None:
    # not by a number in its name, as `boxes_for` does: in --data that may be another's id
    keys = (picture.id, picture.name, PurePath(picture.name).name)
    return next((found[key].boxes for key in keys if key is not None and key in found), None)


def _touches(boxes: Tensor, people: Tensor) -> Tensor:
    """(N,) whether boxes (N, 4) are about one of the people (M, 4), or are empty."""
    low = torch.maximum(boxes[:, None, :2], people[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], people[None, :, 2:])
    shared = (high - low).clamp_min(0).prod(-1)
    own, theirs = ((b[:, 2:] - b[:, :2]).clamp_min(0).prod(-1) for b in (boxes, people))
    about = (shared > _OF_BOX * own[:, None]) | (shared > _OF_PERSON * theirs)
    return about.any(1) | (own <= 0)
