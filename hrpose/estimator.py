"""Frames and detections to poses: crop, network, mirror test, decode, back to image pixels.

All people of a batch of frames go through the network together, in micro-batches of the device;
one tensor per micro-batch returns to the host, and the heatmaps where somebody wants to see them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hrpose import geometry, heatmap
from hrpose.crop import CropSpec, crop_people
from hrpose.device import MicroBatches
from hrpose.errors import HrposeError
from hrpose.models.folding import fold_batch_norms
from hrpose.options import CROP_BATCH
from hrpose.skeleton import Skeleton
from hrpose.types import Codec, Crops, Detections, FloatArray, Frame, Heatmaps, IntArray, Poses


@dataclass(frozen=True, slots=True)
class _Found:
    """What returns to the host: (B, K, 3) x, y in image pixels and score; and heatmaps."""

    triples: FloatArray
    heatmaps: Heatmaps | None

    def take(self, people: IntArray) -> _Found:
        maps = self.heatmaps
        return _Found(self.triples[people], None if maps is None else maps.take(people))


class Estimator:
    """Keypoints of detected people.

    Args:
        network: Crops (B, 3, h, w) to heatmaps (B, K, h/s, w/s); changed in place: folded, moved.
        crop: The network's input.
        codec: Its heatmap convention.
        skeleton: Its keypoints.
        device: Where crops, network and decoding run.
        dtype: Precision of the network; decoding is float32 always.
        batch_size: Most crops per forward; halved when memory runs out.
        flip_test: Whether each crop is seen mirrored as well and the heatmaps averaged, as in
            the published evaluations; about twice the time.
        keep_heatmaps: Whether poses carry heatmaps, for drawing; they change no keypoint.
    """

    def __init__(  # noqa: PLR0913 - four facts of the model, five of the run
        self,
        network: nn.Module,
        *,
        crop: CropSpec,
        codec: Codec,
        skeleton: Skeleton,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        batch_size: int = CROP_BATCH,
        flip_test: bool = False,
        keep_heatmaps: bool = False,
    ) -> None:
        network = fold_batch_norms(network.eval().requires_grad_(False))
        self._network = network.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.crop, self._codec, self.skeleton = crop, codec, skeleton
        self.device, self._dtype, self._flip_test = torch.device(device), dtype, flip_test
        self._keep_heatmaps = keep_heatmaps
        self._batches = MicroBatches(batch_size, what="crops")

    def __call__(self, frames: Sequence[Frame], detections: Sequence[Detections]) -> list[Poses]:
        """Estimates the poses of all people of a batch of frames.

        Args:
            frames: Frames of any sizes.
            detections: One per frame; none in a frame is fine.

        Returns:
            One per frame, people in the order of its detections.

        Raises:
            MemoryLimitError: The device does not hold one crop.
            HrposeError: The network gave a value that is not a number.
        """
        if len(frames) != len(detections):
            raise ValueError(f"{len(frames)} frames with {len(detections)} detections")
        counts = [len(d) for d in detections]

        def step(batch: Sequence[int]) -> _Found:
            people = slice(batch[0], batch[-1] + 1)
            crops = crop_people(
                frames,
                detections,
                self.crop,
                people=people,
                device=self.device,
                dtype=self._dtype,
            )
            return self._find(crops)

        everybody = self._joined(list(self._batches.run(range(sum(counts)), step)))
        ends = np.cumsum(counts, dtype=np.int64)
        parts = np.split(np.arange(sum(counts)), ends)[: len(frames)]  # behind the last is nobody
        return [
            self._poses(frame, boxes, everybody.take(part))
            for frame, boxes, part in zip(frames, detections, parts, strict=True)
        ]

    def _joined(self, parts: Sequence[_Found]) -> _Found:
        """The micro-batches as one; there may be none."""
        nobody = np.zeros((0, len(self.skeleton), 3), np.float32)
        triples = np.concatenate([nobody, *(part.triples for part in parts)])
        if not np.isfinite(triples).all():
            raise HrposeError(
                "the pose network gave values that are not numbers",
                hint="use --dtype float32, or check the weights",
            )
        if not self._keep_heatmaps:
            return _Found(triples, None)
        maps = [part.heatmaps for part in parts if part.heatmaps is not None] or [self._blank()]
        values = np.concatenate([part.values for part in maps])
        return _Found(
            triples, Heatmaps(values, np.concatenate([part.image_from_cells for part in maps]))
        )

    def _blank(self) -> Heatmaps:
        """The heatmaps of nobody."""
        cells = (side // self._codec.stride for side in reversed(self.crop.size))
        values = np.zeros((0, len(self.skeleton), *cells), np.float16)
        return Heatmaps(values, np.zeros((0, 2, 3), np.float32))

    @torch.inference_mode()
    def _find(self, crops: Crops) -> _Found:
        heatmaps = self._network(crops.pixels)
        if self._flip_test:
            mirrored = self._network(crops.pixels.flip(3))
            heatmaps = heatmap.merge_mirrored(
                heatmaps, mirrored, self.skeleton.mirror, shift=self._codec.mirror_shift
            )
        peaks = heatmap.decode(heatmaps, self._codec, self.skeleton.sigmas)
        xy_crop = heatmap.crop_from_cells(peaks.xy, self._codec)
        xy_image = geometry.apply(crops.image_from_crop, xy_crop)
        triples = torch.cat([xy_image, peaks.scores[..., None]], dim=-1).cpu().numpy()
        if not self._keep_heatmaps:
            return _Found(triples, None)
        values = heatmaps.to(torch.float16).cpu().numpy()
        return _Found(triples, Heatmaps(values, self._image_from_cells(crops).cpu().numpy()))

    def _image_from_cells(self, crops: Crops) -> Tensor:
        """(B, 2, 3) affine maps from heatmap cells to image pixels."""
        corners = torch.eye(3, 2, device=crops.image_from_crop.device).roll(1, 0)  # 0, x, y
        at = heatmap.crop_from_cells(corners, self._codec)
        origin, *ends = geometry.apply(crops.image_from_crop, at.expand(len(crops), 3, 2)).unbind(1)
        return torch.stack([*(end - origin for end in ends), origin], dim=-1)

    def _poses(self, frame: Frame, boxes: Detections, found: _Found) -> Poses:
        return Poses(
            keypoints=np.ascontiguousarray(found.triples[..., :2]),
            keypoint_scores=np.clip(found.triples[..., 2], 0, None),
            boxes=boxes.boxes.float().cpu().numpy(),
            box_scores=boxes.scores.float().cpu().numpy(),
            track_ids=np.full(len(boxes), -1, np.int64),
            size=frame.size,
            skeleton=self.skeleton,
            frame=frame.index,
            time=frame.time,
            source=frame.source,
            damaged=frame.damaged,
            heatmaps=found.heatmaps,
        )
