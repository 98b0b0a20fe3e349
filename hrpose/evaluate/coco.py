"""COCO keypoint AP and person box AP, by pycocotools (extra ``eval``).

The protocol of the published HRNet numbers (facts of the official code): boxes from the ground
truth, a detections file or our own detector; pose score = mean of the keypoint scores above 0.2
times the box score; OKS-NMS at 0.9 on padded areas; at most 20 people in a picture.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hrpose.errors import BadAnnotation, HrposeError, InputError
from hrpose.media.store import Pictures
from hrpose.types import Detections, Frame, Poses, Size

if TYPE_CHECKING:
    from pycocotools.coco import COCO

KEYPOINT_STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
BOX_STATS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100")


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a ground-truth file.

    Attributes:
        id: Its ``image_id``.
        name: File name.
        shard: Name of the ZIP that holds it, or "".
        size: Width and height that the file states.
        complete: Whether every person in it is labelled (``gt_complete``; COCO's own files say
            nothing, and are).
    """

    id: int
    name: str
    shard: str
    size: Size
    complete: bool


class GroundTruth:
    """A COCO ``person_keypoints`` file with its pictures.

    Args:
        annotations: The JSON file.
        images: Folders and ZIP files of the pictures.

    Raises:
        InputError: The file or a folder is missing.
        BadAnnotation: The file is not in COCO's form.
        HrposeError: pycocotools is not installed.
    """

    def __init__(self, annotations: Path, images: Sequence[Path]) -> None:
        self._store = Pictures(images, cache_bytes=0)
        self.coco = _load(annotations)
        self.pictures = [
            Picture(
                entry["id"],
                entry["file_name"],
                entry.get("shard", ""),
                Size(entry["width"], entry["height"]),
                entry.get("gt_complete", True),
            )
            for entry in self.coco.dataset["images"]
        ]

    @property
    def complete(self) -> list[int] | None:
        """Ids of the pictures whose people are all labelled; None if that is all of them."""
        ids = [picture.id for picture in self.pictures if picture.complete]
        return ids if len(ids) < len(self.pictures) else None

    def frames(self) -> Iterator[Frame]:
        """Yields the pictures as frames whose index is the position in ``pictures``."""
        for index, picture in enumerate(self.pictures):
            image = self._store.read(picture.name, shard=picture.shard)
            yield Frame(image, index=index, source=picture.name)

    def boxes(self, frames: Sequence[Frame]) -> list[Detections]:
        """A detector that knows the truth: the boxes of labelled people, score 1.

        Cleaned as in the official code (coco.py:162-182): cut to the picture, one pixel smaller,
        people without a labelled keypoint or without area left out.
        """
        return [self._boxes(self.pictures[frame.index]) for frame in frames]

    def _boxes(self, picture: Picture) -> Detections:
        width, height = picture.size
        rows = []
        for entry in self.coco.imgToAnns[picture.id]:
            x, y, w, h = entry["bbox"]
            x1, y1 = max(0.0, x), max(0.0, y)
            x2, y2 = min(width - 1, x1 + max(0, w - 1)), min(height - 1, y1 + max(0, h - 1))
            people = not entry.get("iscrowd") and any(entry.get("keypoints", ())[2::3])
            if people and entry["area"] > 0 and x2 >= x1 and y2 >= y1:
                rows.append((x1, y1, x2, y2))
        return Detections(torch.tensor(rows).view(-1, 4).float(), torch.ones(len(rows)))


def keypoint_metrics(
    truth: GroundTruth,
    results: Iterable[tuple[Frame, Poses]],
    *,
    pictures: Sequence[int] | None = None,
) -> dict[str, float]:
    """AP and AR over OKS thresholds 0.50 to 0.95, percent.

    Args:
        truth: The ground truth.
        results: Every picture's poses; ``Frame.index`` says which picture.
        pictures: Ids of the pictures that count; None is all.
    """
    entries = [
        {
            "image_id": truth.pictures[frame.index].id,
            "category_id": 1,
            "keypoints": np.concatenate([points, scores[:, None]], 1).ravel().tolist(),
            "score": float(score),
        }
        for frame, poses in results
        for points, scores, score in zip(
            poses.keypoints, poses.keypoint_scores, poses.scores, strict=True
        )
    ]
    evaluation = _evaluate(truth, entries, "keypoints", pictures=pictures)
    return _percent(KEYPOINT_STATS, evaluation.stats)


def box_metrics(
    truth: GroundTruth,
    results: Iterable[tuple[Frame, Detections]],
    *,
    pictures: Sequence[int] | None = None,
) -> dict[str, float]:
    """Person box AP, and recall at IoU 0.5 of at most 100 boxes a picture, percent.

    Args:
        truth: The ground truth.
        results: Every picture's detections; ``Frame.index`` says which picture.
        pictures: Ids of the pictures that count; None is all.
    """
    entries = [
        {
            "image_id": truth.pictures[frame.index].id,
            "category_id": 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for frame, found in results
        for (x1, y1, x2, y2), score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True)
    ]
    evaluation = _evaluate(truth, entries, "bbox", pictures=pictures)
    recall = evaluation.eval["recall"]  # (IoU thresholds, classes, areas, most detections)
    return {**_percent(BOX_STATS, evaluation.stats), "recall50": float(recall[0, 0, 0, -1]) * 100}


def _percent(names: Sequence[str], stats: Iterable[float]) -> dict[str, float]:
    # -1 is pycocotools' "no such object"; zip is short because box stats end with AR by size
    return {n: float(v) * 100 if v >= 0 else 0.0 for n, v in zip(names, stats, strict=False)}


def _evaluate(
    truth: GroundTruth,
    entries: list[dict[str, Any]],
    kind: str,
    *,
    pictures: Sequence[int] | None = None,
) -> Any:
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # its tables; results are ours to print
        # loadRes refuses an empty list; nobody found is a result all the same
        found = truth.coco.loadRes(entries) if entries else _empty(truth.coco)
        evaluation = COCOeval(truth.coco, found, kind)
        evaluation.params.catIds = [1]
        if pictures is not None:
            evaluation.params.imgIds = list(pictures)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _empty(truth: COCO) -> COCO:
    from pycocotools.coco import COCO

    empty = COCO()
    empty.dataset = {**truth.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _load(path: Path) -> COCO:
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise HrposeError(
            "pycocotools is not installed", hint="pip install 'hrpose[eval]'"
        ) from error
    try:
        document = json.loads(path.read_bytes())
        coco = COCO()
        coco.dataset = document
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        if not document["images"] or "annotations" not in document:
            raise KeyError("images")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="check --data") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadAnnotation(
            f"{path}: not a COCO keypoint file ({error!r})",
            hint="it needs the lists 'images', 'annotations' and 'categories'",
        ) from error
    return coco
