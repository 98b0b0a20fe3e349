"""An evaluation on COCO from files to numbers, through the pipeline that everything else uses."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from tqdm import tqdm

from hrpose.device import choose_device
from hrpose.errors import UsageError
from hrpose.estimator import Estimator
from hrpose.evaluate.coco import box_metrics, distinct, keypoint_metrics, score_keypoints
from hrpose.evaluate.protocol import OFFICIAL, Protocol
from hrpose.evaluate.report import GROUND_TRUTH, BoxReport, Report
from hrpose.evaluate.results import Scored, read_results
from hrpose.evaluate.truth import FileBoxes, GroundTruth
from hrpose.options import Options
from hrpose.pipeline import Detector, Pipeline, UsedModel, batches, build_estimator, load_detector
from hrpose.skeleton import COCO17
from hrpose.types import Detections, Frame, Poses

Item = TypeVar("Item")

_NO_PIXELS = torch.empty(3, 0, 0, dtype=torch.uint8)


@dataclass(slots=True)
class _Recorder:
    """A detector that remembers what it found."""

    detector: Detector
    seen: list[tuple[Frame, Detections]] = field(default_factory=list)

    def __call__(self, frames: Sequence[Frame]) -> list[Detections]:
        found = self.detector(frames)
        self.seen.extend(zip(map(_bare, frames), found, strict=True))
        return found


def evaluate_keypoints(
    data: Path,
    images: Sequence[Path],
    options: Options,
    *,
    boxes: str = "gt",
    protocol: Protocol = OFFICIAL,
    weights: Path | None = None,
    detector_weights: Path | None = None,
) -> Report:
    """COCO keypoint AP of a model, and box AP of its detector.

    Args:
        data: COCO ``person_keypoints`` file.
        images: Folders and ZIP files of the pictures.
        options: Models and how to run them. Thresholds, mirror test and suppression are the
            protocol's, whatever the options say.
        boxes: ``"gt"`` for ground-truth boxes, ``"detector"`` for the detector of the options, or
            a COCO detections file.
        protocol: How results are made and counted; the default is that of the published numbers.
        weights: Weights to evaluate instead of the pose model's own.
        detector_weights: The same for the detector.

    Raises:
        HrposeError: Bad data, models or device.
    """
    options = _by(protocol, options)
    truth = GroundTruth(data, images, protocol=protocol)
    truth.require_keypoints()
    detector, used = _boxes_from(truth, boxes, options, protocol, detector_weights)
    estimator, pose = build_estimator(options, choose_device(options.device), weights=weights)
    if estimator.skeleton.keypoints != COCO17.keypoints:
        raise UsageError(
            f"{pose.name} finds {estimator.skeleton.name}, and these are COCO's keypoints",
            hint="--task names the other measures",
        )
    recorder = _Recorder(detector)
    started = time.perf_counter()
    results = list(_estimated(truth, recorder, estimator, options, protocol))
    seconds = time.perf_counter() - started
    complete = truth.complete
    return Report(
        keypoints=keypoint_metrics(truth, results),
        keypoints_complete=keypoint_metrics(truth, results, pictures=complete)
        if complete
        else None,
        boxes=box_metrics(truth, recorder.seen, pictures=complete) if boxes == "detector" else None,
        models=(used, pose),
        pictures=len(truth.pictures),
        people=sum(len(found) for _, found in recorder.seen),
        seconds=seconds,
        unreadable=tuple(truth.unreadable),
        truth=truth,
        results=results,
    )


def evaluate_boxes(
    data: Path,
    images: Sequence[Path],
    options: Options,
    *,
    boxes: str = "detector",
    protocol: Protocol = OFFICIAL,
    weights: Path | None = None,
) -> BoxReport:
    """Person box AP and recall of a detector, or of a file of detections; no pose network runs.

    Args:
        data: COCO file with people: ``person_keypoints`` or ``instances``.
        images: Folders and ZIP files of the pictures; boxes of a file need none.
        options: The detector and how to run it; the least score is the protocol's.
        boxes: ``"detector"``, or a COCO detections file.
        protocol: Says which boxes count.
        weights: Weights to evaluate instead of the detector's own.

    Raises:
        HrposeError: Bad data, models or device.
    """
    options = _by(protocol, options)
    truth = GroundTruth(data, images, protocol=protocol)
    if boxes == "gt":
        raise UsageError("ground-truth boxes measured by themselves", hint="--boxes detector")
    detector, used = _boxes_from(truth, boxes, options, protocol, weights)
    started = time.perf_counter()
    frames = truth.frames() if boxes == "detector" else map(_empty, range(len(truth.pictures)))
    found = list(_detected(_progress(frames, truth), detector, options))
    seconds = time.perf_counter() - started
    complete = truth.complete
    return BoxReport(
        boxes=box_metrics(truth, found),
        boxes_complete=box_metrics(truth, found, pictures=complete) if complete else None,
        models=(used,),
        pictures=len(truth.pictures),
        people=sum(len(people) for _, people in found),
        seconds=seconds,
        unreadable=tuple(truth.unreadable),
        truth=truth,
        results=found,
    )


def evaluate_results(
    data: Path, results: Path, *, images: Sequence[Path] = (), protocol: Protocol = OFFICIAL
) -> Report:
    """COCO keypoint AP of a results file; it is scored as it is, no model runs.

    Args:
        data: COCO ``person_keypoints`` file.
        results: List of COCO keypoint results.
        images: Pictures, for whoever wants to look at the results.
        protocol: Says how these pictures are read.

    Raises:
        HrposeError: Bad data or results.
    """
    started = time.perf_counter()
    truth = GroundTruth(data, images, protocol=protocol)
    truth.require_keypoints()
    scored = read_results(results, frozenset(truth.ids))
    complete = truth.complete
    full = score_keypoints(truth, scored, pictures=complete) if complete else None
    return Report(
        keypoints=score_keypoints(truth, scored),
        keypoints_complete=full,
        boxes=None,
        models=(UsedModel("pose", results.name),),
        pictures=len(truth.pictures),
        people=len(scored),
        seconds=time.perf_counter() - started,
        unreadable=(),
        truth=truth,
        results=list(_poses_of(scored, truth)),
    )


def _by(protocol: Protocol, options: Options) -> Options:
    """The options, with what the protocol decides. Suppression comes after the pipeline."""
    return replace(
        options,
        flip_test=protocol.flip_test,
        threshold=protocol.box_threshold,
        pose_threshold=0.0,
        oks_threshold=1.0,
        boxes=None,
    )


def _boxes_from(
    truth: GroundTruth, boxes: str, options: Options, protocol: Protocol, weights: Path | None
) -> tuple[Detector, UsedModel]:
    if boxes == "gt":
        return truth.boxes, UsedModel("detect", GROUND_TRUTH)
    if boxes == "detector":
        return load_detector(options, choose_device(options.device), weights=weights)
    path = Path(boxes)
    return FileBoxes(path, truth, protocol=protocol), UsedModel("detect", path.name)


def _estimated(
    truth: GroundTruth,
    detector: Detector,
    estimator: Estimator,
    options: Options,
    protocol: Protocol,
) -> Iterator[tuple[Frame, Poses]]:
    pipeline = Pipeline(
        detector, estimator, frame_batch=options.frame_batch, oks_threshold=options.oks_threshold
    )
    aspect = estimator.crop.aspect
    for frame, poses in _progress(pipeline.run(truth.frames()), truth):
        yield _bare(frame), distinct(poses, aspect, protocol)


def _detected(
    frames: Iterable[Frame], detector: Detector, options: Options
) -> Iterator[tuple[Frame, Detections]]:
    for batch in batches(frames, options.frame_batch):
        yield from zip(map(_bare, batch), detector(batch), strict=True)


def _progress(items: Iterable[Item], truth: GroundTruth) -> Iterable[Item]:
    shown: Iterable[Item] = tqdm(items, total=len(truth.pictures), unit="picture", disable=None)
    return shown


def _bare(frame: Frame) -> Frame:
    """Without the pixels: memory must not grow with the number of pictures.

    A slice of the image would not do, it keeps the whole picture alive.
    """
    return replace(frame, image=_NO_PIXELS)


def _empty(index: int) -> Frame:
    return Frame(_NO_PIXELS, index=index)


def _poses_of(scored: Scored, truth: GroundTruth) -> Iterator[tuple[Frame, Poses]]:
    """Results of a file as poses; keypoint scores are 1, so that the poses' own are the file's."""
    order = np.argsort(scored.image_ids, kind="stable")
    ids = scored.image_ids[order]
    for index, picture in enumerate(truth.pictures):
        low, high = np.searchsorted(ids, [picture.id, picture.id + 1])
        rows = order[low:high]
        xy = scored.keypoints[rows, :, :2].astype(np.float32)
        yield (
            _empty(index),
            Poses(
                keypoints=xy,
                keypoint_scores=np.ones(xy.shape[:2], np.float32),
                boxes=np.concatenate([xy.min(axis=1), xy.max(axis=1)], axis=1),
                box_scores=scored.scores[rows].astype(np.float32),
                track_ids=np.full(len(rows), -1, np.int64),
                size=picture.size,
                skeleton=COCO17,
                frame=index,
                source=picture.name,
            ),
        )
