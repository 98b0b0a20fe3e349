"""Files of labels to labels and their skeleton, whatever format each has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrpose.errors import BadAnnotation, InputError, UsageError
from hrpose.skeleton import MPII16, SKELETONS, Skeleton
from hrpose.train.mpii import is_mpii, mpii_labels
from hrpose.train.shards import Labels, coco_labels, keypoint_category, read_document
from hrpose.zoo.own import mirror_by_name, skeleton_from


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One file of labels, as JSON values: COCO or MPII."""

    path: Path
    document: Any


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """Reads files of labels.

    Raises:
        InputError: A file is missing or not JSON.
    """
    return [Source(path, read_document(path)) for path in paths]


def read_skeleton(path: Path) -> Skeleton:
    """Reads a skeleton, see ``zoo.own`` for its form.

    Raises:
        InputError: The file is missing, not JSON, or no skeleton.
    """
    try:
        return skeleton_from(json.loads(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="check --skeleton") from error
    except ValueError as error:
        raise BadAnnotation(
            f"{path}: not a skeleton: {error}",
            hint='for example {"keypoints": ["tip", "tail"], "edges": [["tip", "tail"]]}',
        ) from error


def skeleton_of(sources: Sequence[Source], usual: Skeleton) -> Skeleton:
    """The skeleton that files of labels are for.

    Args:
        sources: The files; COCO may name keypoints and limbs in its categories, or not.
        usual: That of the model: where nothing is named, or where its keypoints are.

    Raises:
        UsageError: Two files have different keypoints.
    """
    found = [(source, _skeleton(source, usual)) for source in sources]
    first = found[0][1]
    for source, skeleton in found:
        if skeleton.keypoints != first.keypoints:
            raise UsageError(
                f"{source.path}: its keypoints are not those of {sources[0].path}",
                hint="train on files of one skeleton",
            )
    return first


def _skeleton(source: Source, usual: Skeleton) -> Skeleton:
    if is_mpii(source.document):
        return MPII16
    category = keypoint_category(source.document, source.path)
    if category is None:
        return usual
    names = tuple(category["keypoints"])
    known = (usual, *SKELETONS.values())
    if fitting := next((row for row in known if row.keypoints == names), None):
        return fitting
    try:
        return Skeleton(
            name=str(category.get("name") or "custom"),
            keypoints=names,
            edges=tuple((int(a) - 1, int(b) - 1) for a, b in category.get("skeleton") or ()),
            mirror=mirror_by_name(names),
        )
    except (ValueError, TypeError) as error:
        raise BadAnnotation(
            f"{source.path}: the skeleton of its categories: {error}",
            hint="limbs are pairs of keypoints, counted from 1",
        ) from error


def labels_of(sources: Sequence[Source], skeleton: Skeleton) -> list[Labels]:
    """All labels of the files, in their order.

    Raises:
        BadAnnotation: An entry does not fit; it is named.
    """
    labels: list[Labels] = []
    for source in sources:
        named = _skeleton(source, skeleton).keypoints
        if named != skeleton.keypoints and sorted(named) == sorted(skeleton.keypoints):
            raise BadAnnotation(
                f"{source.path}: has the keypoints of {skeleton.name} in another order",
                hint="give the keypoints of --skeleton in the order of the data",
            )
        if is_mpii(source.document):
            if len(skeleton) != len(MPII16):
                raise UsageError(
                    f"{source.path}: has the {len(MPII16)} keypoints of MPII, not the"
                    f" {len(skeleton)} of {skeleton.name}",
                    hint="train MPII by itself",
                )
            labels += mpii_labels(source.document, source.path)
        else:
            labels += coco_labels(source.document, skeleton, source.path)
    return labels
