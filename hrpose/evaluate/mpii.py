"""PCKh on MPII by the published protocol (mpii.py of the official HRNet code).

People's regions come with the data, and published numbers are with the mirror test. The column
Mean@0.1 of the published tables was taken at 0.11, an index off by one in the official code
(leoxiaobin/deep-high-resolution-net.pytorch issue 167), and is so here; mmpose's PCKh@0.1 is at
0.10.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from hrpose.device import choose_device
from hrpose.errors import BadAnnotation, InputError, UsageError
from hrpose.estimator import Estimator
from hrpose.evaluate.pck import COUNTED, area, by_group, curve, relative_errors
from hrpose.evaluate.report import GROUND_TRUTH
from hrpose.formats.mpii import MpiiLabels, MpiiPeople, read_mpii, read_mpii_truth
from hrpose.media.ahead import read_ahead
from hrpose.media.store import Pictures
from hrpose.options import Options
from hrpose.pipeline import Pipeline, UsedModel, build_estimator
from hrpose.run import Unreadable
from hrpose.skeleton import MPII16, Skeleton
from hrpose.types import Detections, FloatArray, Frame

AHEAD = 8  # decoded pictures that wait for the network
PUBLISHED_FINE = 0.11  # the threshold behind the published column Mean@0.1
THRESHOLDS = np.arange(51) * 0.01  # 0 to 0.5, of the curve and its area


@dataclass(frozen=True, slots=True)
class PckhReport:
    """What an evaluation on MPII found.

    Attributes:
        pckh: The published columns, percent: the groups at 0.5, Mean at 0.5, and Mean@0.1 (which
            is at 0.11). A group that the model lacks is left out.
        means: The mean at thresholds 0.1 to 0.5, and AUC, the area under the curve.
        curve: The mean, percent, at the 51 thresholds 0, 0.01, ... 0.5.
        joints: Joints that the means are over; 14 for a model of MPII's own joints.
        models: What was evaluated.
        pictures: Number of pictures.
        people: Number of people.
        seconds: Wall clock, reading included.
        unreadable: Pictures that could not be read; the joints of their people count as wrong.
    """

    pckh: dict[str, float]
    means: dict[str, float]
    curve: tuple[float, ...]
    joints: tuple[str, ...]
    models: tuple[UsedModel, ...]
    pictures: int
    people: int
    seconds: float
    unreadable: tuple[Unreadable, ...]

    def tables(self) -> list[tuple[str, dict[str, float]]]:
        """Titles and columns, percent."""
        counted = int(COUNTED.sum())
        fewer = f" over {len(self.joints)} of {counted} joints, so of no published protocol"
        title = "PCKh@0.5" + (fewer if len(self.joints) < counted else "")
        return [
            (f"{title} (Mean@0.1 is at {PUBLISHED_FINE}, as published)", self.pckh),
            ("PCKh mean by threshold, and the area under it from 0 to 0.5", self.means),
        ]


def evaluate_pckh(
    data: Path,
    images: Sequence[Path],
    options: Options,
    *,
    weights: Path | None = None,
    truth: Path | None = None,
) -> PckhReport:
    """PCKh of a model on MPII, or on data of its form.

    A model of other joints is measured on those that have the same name: of COCO's 17 shoulders,
    elbows, wrists, hips, knees and ankles. No published number compares with that.

    Args:
        data: ``valid.json`` of the official code's annotations.
        images: Folders and ZIP files of the pictures.
        options: The pose model and how to run it; published numbers are with ``flip_test``.
        weights: Weights to evaluate instead of the model's own.
        truth: ``gt_valid.mat``; None takes joints and head sizes of ``data``.

    Raises:
        HrposeError: Bad data, models or device, or not one picture can be read.
    """
    people = read_mpii(data)
    labels = _labels(people, data, truth)
    estimator, pose = build_estimator(options, choose_device(options.device), weights=weights)
    ours, theirs = _shared(estimator.skeleton)
    known = np.isin(np.arange(len(MPII16)), ours)
    visible = labels.labelled & known
    if not visible[:, COUNTED].any():
        raise BadAnnotation(
            f"{truth or data}: nobody has a joint labelled", hint="test.json has no labels"
        )
    regions = _Regions(people, images, padding=estimator.crop.padding)
    started = time.perf_counter()
    predicted = np.zeros(labels.joints.shape, np.float32)
    predicted[:, ours] = _predict(regions, estimator, options)[:, theirs]
    seconds = time.perf_counter() - started
    errors = relative_errors(predicted, labels.joints, labels.head_sizes)
    means = curve(errors[:, COUNTED], visible[:, COUNTED], THRESHOLDS)
    fine = by_group(errors, visible, PUBLISHED_FINE)["Mean"]
    return PckhReport(
        pckh={**by_group(errors, visible, 0.5), "Mean@0.1": fine},
        means={**{f"{k / 10}": float(means[10 * k]) for k in range(1, 6)}, "AUC": area(means)},
        curve=tuple(means.tolist()),
        joints=tuple(np.array(MPII16.keypoints)[known & COUNTED].tolist()),
        models=(UsedModel("detect", GROUND_TRUTH), pose),
        pictures=len(regions.names),
        people=len(people),
        seconds=seconds,
        unreadable=tuple(regions.unreadable),
    )


class _Regions:
    """The pictures, and a detector that gives the regions of the data.

    Args:
        people: Whom to look at.
        images: Folders and ZIP files of the pictures.
        padding: The model's enlargement of boxes, taken off here since regions include it.
    """

    def __init__(self, people: MpiiPeople, images: Sequence[Path], *, padding: float) -> None:
        self._store = Pictures(images, cache_bytes=0, upright=False)
        self._boxes = boxes_of(people, padding=padding)
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(people.images):
            rows.setdefault(name, []).append(row)
        self.names, self.rows = list(rows), list(rows.values())
        self.unreadable: list[Unreadable] = []

    def frames(self) -> Iterator[Frame]:
        """Yields the pictures as frames whose index is the position in ``names``.

        One that cannot be read is left out and goes to ``unreadable``.

        Raises:
            InputError: Not one could be read.
        """
        for reading in read_ahead(range(len(self.names)), self._read, ahead=AHEAD):
            if isinstance(reading, Unreadable):
                self.unreadable.append(reading)
            else:
                yield reading
        if len(self.unreadable) == len(self.names):
            raise self.unreadable[0].error

    def _read(self, index: int) -> Frame | Unreadable:
        name = self.names[index]
        try:
            return Frame(self._store.read(name), index=index, source=name)
        except InputError as error:
            return Unreadable(name, error)

    def boxes(self, frames: Sequence[Frame]) -> list[Detections]:
        """The people of each frame, in the order of the data."""
        found = [self._boxes[self.rows[frame.index]] for frame in frames]
        return [Detections(boxes, torch.ones(len(boxes))) for boxes in found]


def boxes_of(people: MpiiPeople, *, padding: float) -> torch.Tensor:
    """Boxes whose crops are the regions of the data.

    A network whose input is not square sees a region of the same width, as in the official code,
    where only the width sets the scale.

    Args:
        people: N people.
        padding: By how much the crop will enlarge a box.

    Returns:
        (N, 4) float32 xyxy image pixels.
    """
    half = people.sides[:, None] / padding / 2
    boxes = np.concatenate([people.centers - half, people.centers + half], axis=1)
    return torch.from_numpy(boxes).float()


def _predict(regions: _Regions, estimator: Estimator, options: Options) -> FloatArray:
    """(N, K, 2) joints of the model, image px, in the order of the data.

    Infinite for people of pictures that could not be read.
    """
    people = sum(map(len, regions.rows))
    found = np.full((people, len(estimator.skeleton), 2), np.inf, np.float32)
    # 1: people of the data are never dropped for being alike
    pipeline = Pipeline(
        regions.boxes, estimator, frame_batch=options.frame_batch, oks_threshold=1.0
    )
    results = pipeline.run(regions.frames())
    for frame, poses in tqdm(results, total=len(regions.names), unit="picture"):
        found[regions.rows[frame.index]] = poses.keypoints
    return found


def _labels(people: MpiiPeople, data: Path, truth: Path | None) -> MpiiLabels:
    if truth is None:
        unknown = np.flatnonzero(
            people.labels.labelled.any(axis=1) & (people.labels.head_sizes == 0)
        )
        if len(unknown):
            raise InputError(
                f"{data}: no head size - at $[{unknown[0]}]",
                hint="give gt_valid.mat as --truth, or add 'head_size' or 'headbox'",
            )
        return people.labels
    labels = read_mpii_truth(truth)
    hint = "gt_valid.mat goes with valid.json, person by person"
    if len(labels) != len(people):
        raise BadAnnotation(
            f"{truth}: {len(labels)} people, but {len(people)} in {data}", hint=hint
        )
    if _of_others(people.labels, labels):
        raise BadAnnotation(f"{truth}: most joints are far from those of {data}", hint=hint)
    return labels


def _of_others(some: MpiiLabels, truth: MpiiLabels) -> bool:
    """Whether most joints that both have labelled lie half a head or more apart."""
    both = some.labelled & truth.labelled
    errors = relative_errors(some.joints, truth.joints, truth.head_sizes)[both]
    return bool(len(errors) and np.median(errors) > 0.5)


def _shared(skeleton: Skeleton) -> tuple[list[int], list[int]]:
    """Indices of the joints of the same name, in ``mpii16`` and in the skeleton."""
    ours = [i for i, name in enumerate(MPII16.keypoints) if name in skeleton.keypoints]
    if not COUNTED[ours].any():
        raise UsageError(
            f"a model of {skeleton.name} has no joint of {MPII16.name}",
            hint="take a model of people's joints, see `hrpose models`",
        )
    return ours, [skeleton.keypoints.index(MPII16.keypoints[i]) for i in ours]
