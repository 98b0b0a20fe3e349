"""Labels for training from MPII as the HRNet repository has it: one JSON object per person.

``formats.mpii`` reads the same files for evaluation with msgspec, which training does without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrpose.errors import BadAnnotation
from hrpose.skeleton import MPII16
from hrpose.train.shards import Labels
from hrpose.types import Size

_UNIT = 200  # px of a scale of 1, the person's height
_LOWERED = 15  # px times scale; the official code moves the centre "to avoid cropping limbs"
_PADDING = 1.25  # that the crop adds again


def is_mpii(document: object) -> bool:
    """Whether a JSON document has the form of MPII's ``train.json``."""
    return (
        isinstance(document, list)
        and bool(document)
        and all(isinstance(person, dict) and "joints_vis" in person for person in document[:1])
    )


def mpii_labels(document: Sequence[Mapping[str, Any]], path: Path) -> list[Labels]:
    """The labels of MPII, one entry per picture.

    The file has centres and heights instead of boxes, and does not say how large pictures are. A
    person's box is the square that becomes the official region (mpii.py:52-65) by the crop's
    padding of 1.25. Pixels count from 1 there and from 0 here.

    Args:
        document: People with ``image``, ``center``, ``scale``, ``joints`` and ``joints_vis``.
        path: Named in errors.

    Raises:
        BadAnnotation: An entry does not fit; it is named by its position.
    """
    people: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for number, person in enumerate(document):
        try:
            name = person["image"]
            if not isinstance(name, str) or not name:
                raise ValueError(f"image is {name!r}")
            people.setdefault(name, []).append(_person(person))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise BadAnnotation(
                f"{path}: person {number}: {reason}",
                hint="MPII has image, center, scale, 16 joints and joints_vis",
            ) from error
    return [_labels(name, rows, path) for name, rows in people.items()]


def _person(person: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(4,) xyxy box and (16, 3) joints with their visibility."""
    centre = np.array(person["center"], float).reshape(2)
    scale = float(person["scale"])
    joints = np.array(person["joints"], float).reshape(len(MPII16), 2)
    seen = np.array(person["joints_vis"], float).reshape(len(MPII16), 1)
    if not all(np.isfinite(part).all() for part in (centre, scale, joints, seen)):
        raise ValueError("a number is not finite")
    if scale <= 0:
        raise ValueError(f"scale is {scale}, expected more than 0")
    side = scale * _UNIT
    if centre[0] == -1:  # official: such a centre is left alone, and its scale too
        side /= _PADDING
    else:
        centre[1] += _LOWERED * scale
    centre -= 1
    return np.concatenate([centre - side / 2, centre + side / 2]), np.hstack([joints - 1, seen])


def _labels(name: str, rows: list[tuple[np.ndarray, np.ndarray]], path: Path) -> Labels:
    boxes = np.stack([box for box, _ in rows]).astype(np.float32)
    joints = np.stack([joints for _, joints in rows]).astype(np.float32)
    return Labels(
        name=name,
        shard="",
        size=Size(0, 0),
        boxes=torch.from_numpy(boxes),
        ignore=torch.zeros(len(rows), dtype=torch.bool),
        keypoints=torch.from_numpy(joints[..., :2].copy()),
        weights=torch.from_numpy((joints[..., 2] > 0).astype(np.float32)),
        areas=torch.from_numpy((boxes[:, 2:] - boxes[:, :2]).prod(1)),
        source=path.stem,
    )
