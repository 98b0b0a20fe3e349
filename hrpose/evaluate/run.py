"""An evaluation from files to numbers, through the pipeline that everything else uses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from hrpose.detector import BoxesFromFile
from hrpose.device import choose_device
from hrpose.evaluate.coco import GroundTruth, box_metrics, keypoint_metrics
from hrpose.pipeline import Detector, Options, Pipeline, UsedModel, build_estimator, load_detector
from hrpose.types import Detections, Frame


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found.

    Attributes:
        keypoints: AP and its kin, percent, over all pictures.
        keypoints_complete: The same over pictures whose people are all labelled, when the data
            marks others; on the others, people found but not labelled count as false alarms.
        boxes: Person box AP and recall, percent; None with boxes that were given.
        pictures: Number of pictures.
        people: Number of poses.
        seconds: Wall clock of detection and pose together, reading included.
        models: What was evaluated.
    """

    keypoints: dict[str, float]
    keypoints_complete: dict[str, float] | None
    boxes: dict[str, float] | None
    pictures: int
    people: int
    seconds: float
    models: tuple[UsedModel, ...]


@dataclass(slots=True)
class _Recorder:
    """A detector that remembers what it found."""

    detector: Detector
    seen: list[tuple[Frame, Detections]] = field(default_factory=list)

    def __call__(self, frames: Sequence[Frame]) -> list[Detections]:
        found = self.detector(frames)
        # without the pixels: memory must not grow with the number of pictures
        bare = [replace(frame, image=frame.image[:, :0, :0]) for frame in frames]
        self.seen.extend(zip(bare, found, strict=True))
        return found


def evaluate_keypoints(
    data: Path,
    images: Sequence[Path],
    options: Options,
    *,
    boxes: str = "gt",
    weights: Path | None = None,
    detector_weights: Path | None = None,
) -> Report:
    """COCO keypoint AP of a model, and box AP of its detector.

    Args:
        data: COCO ``person_keypoints`` file.
        images: Folders and ZIP files of the pictures.
        options: Models and how to run them.
        boxes: ``"gt"`` for ground-truth boxes, ``"detector"`` for the detector of the options, or
            a COCO detections file.
        weights: Weights to evaluate instead of the pose model's own.
        detector_weights: The same for the detector.

    Raises:
        HrposeError: Bad data, models or device.
    """
    truth = GroundTruth(data, images)
    device = choose_device(options.device)
    detector, used = _boxes_from(truth, boxes, options, detector_weights)
    estimator, pose = build_estimator(options, device, weights=weights)
    recorder = _Recorder(detector)
    pipeline = Pipeline(
        recorder, estimator, frame_batch=options.frame_batch, oks_threshold=options.oks_threshold
    )
    started = time.perf_counter()
    results = [
        (replace(frame, image=frame.image[:, :0, :0]), poses)
        for frame, poses in tqdm(
            pipeline.run(truth.frames()), total=len(truth.pictures), unit="picture"
        )
    ]
    seconds = time.perf_counter() - started
    complete = truth.complete
    return Report(
        keypoints=keypoint_metrics(truth, results),
        keypoints_complete=keypoint_metrics(truth, results, pictures=complete)
        if complete
        else None,
        boxes=box_metrics(truth, recorder.seen, pictures=complete) if boxes == "detector" else None,
        pictures=len(truth.pictures),
        people=sum(len(poses) for _, poses in results),
        seconds=seconds,
        models=(used, pose),
    )


def _boxes_from(
    truth: GroundTruth, boxes: str, options: Options, weights: Path | None
) -> tuple[Detector, UsedModel]:
    if boxes == "gt":
        return truth.boxes, UsedModel("detect", "ground truth")
    if boxes == "detector":
        return load_detector(options, choose_device(options.device), weights=weights)
    path = Path(boxes)
    given = BoxesFromFile(path, score_threshold=options.threshold, max_people=options.max_people)
    return given, UsedModel("detect", path.name)
