"""The chain: frames in, frames with poses out, batched across people and frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hrpose import geometry
from hrpose.detector import BoxesFromFile, PersonDetector, WholePicture
from hrpose.device import choose_device, choose_dtype
from hrpose.errors import UsageError
from hrpose.estimator import Estimator
from hrpose.media.image import read_image
from hrpose.options import Options
from hrpose.similarity import oks_nms
from hrpose.tracker import Tracker
from hrpose.types import Codec, Detections, FloatArray, Frame, Poses
from hrpose.zoo.load import load as load_model
from hrpose.zoo.specs import ModelSpec

Detector = Callable[[Sequence[Frame]], list[Detections]]
Batch = tuple[list[Frame], list[Detections]]
Part = TypeVar("Part")

_DEFAULT = Options()
BATCH_PIXELS = 40_000_000  # a batch of frames holds at most this many pixels, or one frame


@dataclass(frozen=True, slots=True)
class UsedModel:
    """A model that took part in a result.

    Attributes:
        task: ``"pose"``, ``"face"``, ``"classify"`` or ``"detect"``.
        name: Its name in the zoo, or ``"none"`` or the file that gave the boxes.
        sha256: Of its weights file; empty when there are none.
        refine: How its heatmaps were read, see ``Codec.refine``; empty without heatmaps.
    """

    task: str
    name: str
    sha256: str = ""
    refine: str = ""


class Pipeline:
    """Frames to poses.

    Args:
        detector: A batch of frames -> their people.
        estimator: Frames and people -> poses.
        models: What to name in results.
        frame_batch: Frames that are detected together; memory grows with it.
        oks_threshold: See ``Options``.
        pose_threshold: See ``Options``; here everybody is kept unless asked.
    """

    def __init__(
        self,
        detector: Detector,
        estimator: Estimator,
        *,
        models: Sequence[UsedModel] = (),
        frame_batch: int = _DEFAULT.frame_batch,
        oks_threshold: float = _DEFAULT.oks_threshold,
        pose_threshold: float = 0.0,
    ) -> None:
        if frame_batch < 1:
            raise ValueError(f"frame_batch is {frame_batch}, expected at least 1")
        self._detector, self._estimator = detector, estimator
        self.frame_batch, self._oks_threshold = frame_batch, oks_threshold
        self._pose_threshold = pose_threshold
        self.models = tuple(models)
        self.skeleton, self.device = estimator.skeleton, estimator.device

    def __call__(self, picture: str | os.PathLike[str] | NDArray[np.uint8] | Frame) -> Poses:
        """Finds the people of one picture.

        Args:
            picture: A file, an (H, W, 3) uint8 RGB array, or a frame.

        Returns:
            The people, best first; none is fine. ``keypoints`` is (N, K, 2) float32 in pixels.

        Raises:
            BadImage: The file cannot be read.
            MemoryLimitError: The device does not hold one crop.
        """
        return next(poses for _, poses in self.run([_frame(picture)]))

    def run(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Poses]]:
        """Yields every frame with its people, in order; takes frames as it goes.

        The two stages of it, ``posed(detected(frames))``, may be run in threads of their own.

        Args:
            frames: Of any sizes; at most a batch of them is held.
        """
        return self.posed(self.detected(frames))

    def detected(self, frames: Iterable[Frame]) -> Iterator[Batch]:
        """Yields batches of frames with the people that the detector finds."""
        for batch in batches(frames, self.frame_batch):
            yield batch, self._detector(batch)

    def posed(self, found: Iterable[Batch]) -> Iterator[tuple[Frame, Poses]]:
        """Yields every frame of the batches with the poses of its people."""
        for batch, detections in found:
            poses = self._estimator(batch, detections)
            yield from zip(batch, map(self._distinct, poses), strict=True)

    def follow(
        self, frames: Iterable[Frame], tracker: Tracker, detect_every: int = 1
    ) -> Iterator[tuple[Frame, Poses]]:
        """Yields every frame with its people and their ids; detects in some frames only.

        In the frames between, people are looked for where their last pose and their motion lead.
        Somebody whose pose is lost there is out until the next detection, as is who comes in.
        ``box_scores`` are then those of the last detection. A new clip, where time goes back or
        the size changes, begins with a detection.

        Args:
            frames: Of any sizes; those between ``frame_batch`` detections are held, and at most
                ``BATCH_PIXELS`` pixels.
            tracker: Gives the ids; of this sequence only.
            detect_every: The detector runs on every so manieth frame. 1 is ``run`` with the tracker
                behind it.
        """
        if detect_every < 1:
            raise ValueError(f"detect_every is {detect_every}, expected at least 1")
        if detect_every == 1:
            yield from ((frame, tracker(poses)) for frame, poses in self.run(frames))
            return
        for frame, found in self._now_and_then(frames, detect_every):
            if found is not None:
                yield frame, tracker(self._distinct(*self._estimator([frame], [found])))
                continue
            expected, tracks = tracker.expect(frame)
            (poses,) = self._estimator([frame], [expected])
            yield frame, tracker.keep(self._distinct(replace(poses, track_ids=tracks)))

    def _now_and_then(
        self, frames: Iterable[Frame], every: int
    ) -> Iterator[tuple[Frame, Detections | None]]:
        """Frames with the people of every so manieth, None between; detected in batches."""
        waiting: list[tuple[Frame, bool]] = []
        pixels = due = 0
        before: Frame | None = None
        for frame in frames:
            if before is None or _begins(frame, before):
                due = 0
            key, before = due == 0, frame
            due = (due or every) - 1
            size = frame.size.width * frame.size.height
            if waiting and pixels + size > BATCH_PIXELS:
                yield from self._detect_keys(waiting)
                waiting, pixels = [], 0
            if key or waiting:
                waiting.append((frame, key))
                pixels += size
            else:  # nothing to wait for
                yield frame, None
            if sum(key for _, key in waiting) == self.frame_batch:
                yield from self._detect_keys(waiting)
                waiting, pixels = [], 0
        yield from self._detect_keys(waiting)

    def _detect_keys(
        self, waiting: Sequence[tuple[Frame, bool]]
    ) -> Iterator[tuple[Frame, Detections | None]]:
        keys = [frame for frame, key in waiting if key]
        found = iter(self._detector(keys) if keys else [])
        return ((frame, next(found) if key else None) for frame, key in waiting)

    def _distinct(self, poses: Poses) -> Poses:
        """Drops unsure poses, and like the official evaluation those that repeat a better one."""
        if self._pose_threshold > 0:
            poses = poses.take(np.flatnonzero(poses.scores >= self._pose_threshold))
        if self._oks_threshold >= 1 or len(poses) < 2 or not poses.skeleton.sigmas:
            return poses
        kept = oks_nms(
            poses.keypoints,
            poses.scores,
            padded_areas(poses, self._estimator.crop.aspect),
            np.array(poses.skeleton.sigmas, np.float32),
            threshold=self._oks_threshold,
        )
        return poses.take(np.sort(kept))


def padded_areas(poses: Poses, aspect: float) -> FloatArray:
    """(N,) areas in px^2 of the padded boxes, the scale of the official OKS-NMS (function.py:176).

    Args:
        poses: The people.
        aspect: Width divided by height of the network input.
    """
    _, sizes = geometry.padded_region(torch.from_numpy(poses.boxes), aspect)
    areas: FloatArray = sizes.prod(dim=-1).numpy()
    return areas


def load(options: Options = _DEFAULT, *, heatmaps: bool = False) -> Pipeline:
    """Builds the chain with the models that come in the box, or others.

    Args:
        options: Which models and how to run them.
        heatmaps: Whether poses carry heatmaps, for drawing.

    Returns:
        A pipeline; call it with a picture, or give ``run`` an iterator of frames.

    Raises:
        UsageError: No such model or device.
        WeightsError: A model's weights are not here; the message says where to get them.
    """
    device = choose_device(options.device)
    detector, found_by = load_detector(options, device)
    estimator, posed_by = build_estimator(options, device, heatmaps=heatmaps)
    if posed_by.task == "face" and found_by.sha256:
        raise UsageError(
            f"{posed_by.name} finds points of faces, and {found_by.name} finds people",
            hint="give boxes of faces as --boxes FILE, or --detector none for pictures of one face",
        )
    return Pipeline(
        detector,
        estimator,
        models=(found_by, posed_by),
        frame_batch=options.frame_batch,
        oks_threshold=options.oks_threshold,
        pose_threshold=options.pose_threshold,
    )


def build_estimator(
    options: Options, device: torch.device, *, weights: Path | None = None, heatmaps: bool = False
) -> tuple[Estimator, UsedModel]:
    """The pose stage of the options; ``weights`` replaces the model's own file."""
    model = load_model(options.pose, path=weights)
    codec = _codec(model.spec, options.refine)
    estimator = Estimator(
        model.network,
        crop=_required(model.spec.crop, model.spec),
        codec=codec,
        skeleton=_required(model.spec.skeleton, model.spec),
        device=device,
        dtype=choose_dtype(options.dtype),
        batch_size=options.crop_batch,
        flip_test=options.flip_test,
        keep_heatmaps=heatmaps,
    )
    used = UsedModel(model.spec.task, model.spec.name, model.sha256, refine=codec.refine)
    return estimator, used


def load_detector(
    options: Options, device: torch.device, *, weights: Path | None = None
) -> tuple[Detector, UsedModel]:
    """The detection stage of the options; ``weights`` replaces the model's own file."""
    if options.boxes is not None:
        boxes = BoxesFromFile(
            options.boxes, score_threshold=options.threshold, max_people=options.max_people
        )
        return boxes, UsedModel("detect", str(options.boxes))
    if options.detector == "none":
        return WholePicture(), UsedModel("detect", "none")
    model = load_model(options.detector, path=weights)
    if model.spec.task != "detect":
        raise UsageError(f"{model.spec.name} is no detector", hint="see `hrpose models`")
    detector = PersonDetector(
        model.network,
        device=device,
        dtype=choose_dtype(options.dtype),
        score_threshold=options.threshold,
        max_people=options.max_people,
        batch_size=options.frame_batch,
    )
    return detector, UsedModel("detect", model.spec.name, model.sha256)


def _codec(spec: ModelSpec, refine: str | None) -> Codec:
    codec = _required(spec.codec, spec)
    skeleton = _required(spec.skeleton, spec)
    if refine == "oks" and not skeleton.sigmas:
        raise UsageError(
            f"{spec.name} cannot be read by --refine oks: {skeleton.name} has no OKS constants",
            hint="use --refine dark",
        )
    if refine is None:  # `decode` would do the same, but results are to say what was done
        refine = "dark" if codec.refine == "oks" and not skeleton.sigmas else codec.refine
    return replace(codec, refine=refine)


def _required(part: Part | None, spec: ModelSpec) -> Part:
    if part is None:
        raise UsageError(f"{spec.name} is no pose model", hint="see `hrpose models`")
    return part


def _begins(frame: Frame, before: Frame) -> bool:
    """Whether a frame is the first of another clip, or of the same one again."""
    if frame.size != before.size:
        return True
    return frame.time is not None and before.time is not None and frame.time < before.time


def _frame(picture: str | os.PathLike[str] | NDArray[np.uint8] | Frame) -> Frame:
    if isinstance(picture, Frame):
        return picture
    if isinstance(picture, np.ndarray):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(
                f"picture is {picture.shape} {picture.dtype}, expected (H, W, 3) uint8 RGB"
            )
        # a copy: the array may be read-only, as Pillow's are, or have negative strides
        return Frame(torch.from_numpy(np.array(picture, order="C")).permute(2, 0, 1))
    return read_image(os.fspath(picture))


def batches(frames: Iterable[Frame], most: int) -> Iterator[list[Frame]]:
    """Batches of at most ``most`` frames and ``BATCH_PIXELS`` pixels, as soon as they are full."""
    batch: list[Frame] = []
    pixels = 0
    for frame in frames:
        size = frame.size.width * frame.size.height
        if batch and pixels + size > BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
        batch.append(frame)
        pixels += size
        if len(batch) == most:  # at once: a camera may be slow to give the next
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch
