"""Frames to boxes of people: a network, boxes from a file, or the whole picture.

Every detector is called with a batch of frames and returns one ``Detections`` per frame; which
other frames are in the batch changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from hrpose import geometry
from hrpose.device import MicroBatches
from hrpose.formats.coco import boxes_for, read_detections
from hrpose.models.detection import PERSON
from hrpose.models.folding import fold_batch_norms
from hrpose.options import Options
from hrpose.types import Detections, Frame, Size

_DEFAULT = Options()
MIN_SHORT_SIDE = 8  # px at the network's input; nobody is found in less

_LOG = logging.getLogger(__name__)


class PersonDetector:
    """People found by a torchvision detector: its own Faster R-CNN models, and ours.

    Args:
        network: The detector; changed in place: folded, moved.
        device: Where it runs.
        dtype: Precision of the backbone, on CUDA only: elsewhere half precision is slower (CPU) or
            not covered by autocast. Proposals, boxes and scores are float32 always, since
            torchvision would round anchors to the precision of the features (4 px at x = 600 in
            bfloat16).
        score_threshold: 0 to 1; raising it drops doubtful people. torchvision's networks give
            no scores below 0.05, ours none below 0.01.
        max_people: Most people of a frame, best first. torchvision's own limit is 100 objects of
            all classes.
        batch_size: Most frames per forward; halved when memory runs out.
    """

    def __init__(
        self,
        network: GeneralizedRCNN,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        score_threshold: float = _DEFAULT.threshold,
        max_people: int = _DEFAULT.max_people,
        batch_size: int = _DEFAULT.frame_batch,
    ) -> None:
        _check_limits(score_threshold, max_people)
        network = fold_batch_norms(network.eval().requires_grad_(False))
        self._network = network.to(device, memory_format=torch.channels_last)
        self._device, self._dtype = torch.device(device), dtype
        self._threshold, self._most = score_threshold, max_people
        self._batches = MicroBatches(batch_size, what="frames")

    def __call__(self, frames: Sequence[Frame]) -> list[Detections]:
        """Finds the people of each frame.

        A frame so narrow that less than 8 px would remain of it at the network's input has no
        people, and a warning is logged.

        Args:
            frames: Frames of any sizes.

        Returns:
            One per frame, in order; boxes inside the frame.

        Raises:
            MemoryLimitError: The device does not hold one frame.
        """
        found = [_nobody() for _ in frames]
        for size, members in _by_size(frames).items():
            if not self._fits(size):
                names = ", ".join(frames[i].source for i in members)
                _LOG.warning("%dx%d px is too narrow to find people in: %s", *size, names)
                continue
            batches = self._batches.run([frames[i] for i in members], self._detect)
            for i, people in zip(members, (p for batch in batches for p in batch), strict=True):
                found[i] = people
        return found

    def _fits(self, size: Size) -> bool:
        least, most = self._network.transform.min_size[-1], self._network.transform.max_size
        scale = min(least / min(size), most / max(size))  # as torchvision's transform
        return bool(min(size) * scale >= MIN_SHORT_SIDE)

    def _detect(self, frames: Sequence[Frame]) -> list[Detections]:
        images = [frame.image.to(self._device).float() / 255 for frame in frames]
        return [
            self._people(output, frame.size)
            for output, frame in zip(self._forward(images), frames, strict=True)
        ]

    @torch.inference_mode()
    def _forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        """``GeneralizedRCNN.forward``, part by part.

        So that autocast covers the backbone alone, and the scales of the maps come out right.
        """
        network = self._network
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        batch, _ = network.transform(images)
        half = self._device.type == "cuda" and self._dtype != torch.float32
        with torch.autocast(self._device.type, dtype=self._dtype, enabled=half):
            features = network.backbone(batch.tensors)
        features = {name: maps.float() for name, maps in features.items()}
        proposals, _ = network.rpn(batch, features)
        self._set_scales(features, batch.tensors)
        outputs, _ = network.roi_heads(features, proposals, batch.image_sizes)
        results: list[dict[str, Tensor]] = network.transform.postprocess(
            outputs, batch.image_sizes, sizes
        )
        return results

    def _set_scales(self, features: dict[str, Tensor], padded: Tensor) -> None:
        """Lets the RoI pooling find the strides of its maps, once, from the padded size.

        By itself it takes the size before padding, of the first picture it ever sees: a panorama
        that is 40 px high and padded to 64 would spoil all later pictures.
        """
        pool = self._network.roi_heads.box_roi_pool
        if pool.scales is None:
            height, width = padded.shape[2:]
            pool(features, [padded.new_zeros(1, 4)] * len(padded), [(height, width)])

    def _people(self, output: dict[str, Tensor], size: Size) -> Detections:
        boxes, scores = output["boxes"].float().cpu(), output["scores"].float().cpu()
        kept = (output["labels"].cpu() == PERSON) & boxes.isfinite().all(dim=1)
        boxes = geometry.clip(boxes[kept], size)
        return _best(boxes, scores[kept], self._threshold, self._most)


class WholePicture:
    """One person per frame, who fills it, with score 1."""

    def __call__(self, frames: Sequence[Frame]) -> list[Detections]:
        """One box of the frame's size per frame."""
        return [
            Detections(boxes=torch.tensor([[0.0, 0.0, *map(float, f.size)]]), scores=torch.ones(1))
            for f in frames
        ]


class BoxesFromFile:
    """People from a COCO file of detections or of ground truth.

    A picture is found by its name or the number in it (``formats.coco.boxes_for``), a frame of a
    video by its index. One that is not in the file has no people: result lists leave out pictures
    in which nothing was found.

    Args:
        path: The JSON file.
        score_threshold: 0 to 1; raising it drops doubtful people.
        max_people: Most people of a frame, best first.

    Raises:
        InputError: The file cannot be read.
        BadAnnotation: It has another format.
    """

    def __init__(
        self, path: Path, *, score_threshold: float = 0.0, max_people: int = _DEFAULT.max_people
    ) -> None:
        _check_limits(score_threshold, max_people)
        self._found = {
            name: _best(people.boxes, people.scores, score_threshold, max_people)
            for name, people in read_detections(path).items()
        }

    def __call__(self, frames: Sequence[Frame]) -> list[Detections]:
        """The boxes of each frame, as they are in the file, best first."""
        found = (self._of(frame) for frame in frames)
        return [_nobody() if people is None else people for people in found]

    def _of(self, frame: Frame) -> Detections | None:
        if frame.time is None:
            return boxes_for(self._found, frame.source)
        return self._found.get(frame.index)


def _check_limits(threshold: float, most: int) -> None:
    if not 0 <= threshold <= 1:
        raise ValueError(f"score_threshold is {threshold}, expected 0 to 1")
    if most < 1:
        raise ValueError(f"max_people is {most}, expected at least 1")


def _best(boxes: Tensor, scores: Tensor, threshold: float, most: int) -> Detections:
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] >= threshold][:most]  # a NaN score is not above any threshold
    return Detections(boxes=boxes[order], scores=scores[order])


def _nobody() -> Detections:
    return Detections(boxes=torch.zeros(0, 4), scores=torch.zeros(0))


def _by_size(frames: Sequence[Frame]) -> dict[Size, list[int]]:
    """Positions of the frames of each size.

    torchvision pads a batch to its largest picture, and what is padded changes the features
    near the border: only equal sizes may share a batch.
    """
    groups: dict[Size, list[int]] = {}
    for i, frame in enumerate(frames):
        groups.setdefault(frame.size, []).append(i)
    return groups
