"""COCO keypoint AP and person box AP, by pycocotools (extra ``eval``).

What is done to pictures, boxes and poses before they are counted is said in ``protocol.py``.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hrpose.evaluate.protocol import Protocol
from hrpose.evaluate.results import Scored, scored_people
from hrpose.evaluate.truth import GroundTruth
from hrpose.formats.coco import PERSON
from hrpose.pipeline import padded_areas
from hrpose.similarity import oks_nms, soft_oks_nms
from hrpose.types import Detections, FloatArray, Frame, Poses

KEYPOINT_STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
BOX_STATS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100")


def distinct(poses: Poses, aspect: float, protocol: Protocol) -> Poses:
    """Suppresses poses that repeat a better one; the rest comes best first.

    Args:
        poses: People of one picture, of a skeleton with sigmas.
        aspect: Width divided by height of the network input, for the padded boxes.
        protocol: Says how.
    """
    if protocol.nms == "none" or not len(poses):
        return poses
    padded = protocol.nms_area == "padded"
    areas = padded_areas(poses, aspect) if padded else _extents(poses.keypoints)
    people = (poses.keypoints, poses.scores, areas, np.array(poses.skeleton.sigmas, np.float32))
    if protocol.nms == "soft":
        kept = soft_oks_nms(*people, threshold=protocol.oks_threshold, most=protocol.most_people)
    else:
        kept = oks_nms(*people, threshold=protocol.oks_threshold)
    return poses.take(kept)


def _extents(keypoints: FloatArray) -> FloatArray:
    areas: FloatArray = np.prod(keypoints.max(axis=1) - keypoints.min(axis=1), axis=1)
    return areas


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

    Returns:
        The ten numbers of COCO; one is left out where nobody labelled is of its size.
    """
    return score_keypoints(truth, scored_people(results, truth.ids), pictures=pictures)


def score_keypoints(
    truth: GroundTruth, scored: Scored, *, pictures: Sequence[int] | None = None
) -> dict[str, float]:
    """As :func:`keypoint_metrics`, of one table of people."""
    rows = zip(
        scored.image_ids.tolist(),
        scored.keypoints.reshape(len(scored), np.prod(scored.keypoints.shape[1:])),
        scored.areas.tolist(),
        scored.scores.tolist(),
        strict=True,
    )
    entries = [
        {"image_id": image, "keypoints": points, "area": area, "score": score}
        for image, points, area, score in rows
    ]
    return _percent(KEYPOINT_STATS, _evaluate(truth, entries, "keypoints", pictures).stats)


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

    Returns:
        The numbers of COCO and ``recall50``; one is left out where nobody labelled is of its size.
    """
    entries = [
        {
            "image_id": truth.pictures[frame.index].id,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "score": score,
        }
        for frame, found in results
        for (x1, y1, x2, y2), score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True)
    ]
    evaluation = _evaluate(truth, entries, "bbox", pictures)
    recall = evaluation.eval["recall"]  # (IoU thresholds, classes, areas, most detections)
    stats = [*evaluation.stats[: len(BOX_STATS)], recall[0, 0, 0, -1]]  # AR by size is left out
    return _percent((*BOX_STATS, "recall50"), stats)


def _percent(names: Sequence[str], stats: Iterable[float]) -> dict[str, float]:
    # -1 is pycocotools' "no such object", which is not a result of 0
    return {n: float(v) * 100 for n, v in zip(names, stats, strict=True) if v >= 0}


def _evaluate(
    truth: GroundTruth, entries: list[dict[str, Any]], kind: str, pictures: Sequence[int] | None
) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    # not by loadRes: it refuses an empty list, and takes areas from a `bbox` if there is one
    found = COCO()
    found.dataset = {
        "images": truth.coco.dataset["images"],
        "categories": truth.coco.dataset["categories"],
        "annotations": [
            {**entry, "id": i, "category_id": PERSON, "iscrowd": 0}
            for i, entry in enumerate(entries, start=1)  # an id of 0 would be "no match"
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # its tables; results are ours to print
        found.createIndex()
        evaluation = COCOeval(truth.coco, found, kind)
        evaluation.params.catIds = [PERSON]
        if pictures is not None:
            evaluation.params.imgIds = list(pictures)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation
