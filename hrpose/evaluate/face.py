"""Points of faces: normalised mean error, failure rate and area under the error curve.

The error of a face is the mean distance of its points from the truth, divided by a length of that
face; which length, and around which box the network looks, are rows of data, as published
(HRNet-Facial-Landmark-Detection lib/core/evaluation.py:48-56 and lib/datasets). Published there:
NME of all faces of a set, and the failure rate, the share of faces above 0.08 or 0.10.

The published code rounds coordinates to whole pixels at several places; that is not repeated here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from hrpose.device import choose_device
from hrpose.errors import BadAnnotation, InputError, UsageError
from hrpose.estimator import Estimator
from hrpose.evaluate.pck import BoolArray, DoubleArray, Points, relative_errors
from hrpose.formats.faces import FaceLabels, read_faces
from hrpose.media.ahead import read_ahead
from hrpose.media.output import atomic_output
from hrpose.media.store import Pictures
from hrpose.options import Options
from hrpose.pipeline import Pipeline, UsedModel, build_estimator
from hrpose.run import Unreadable
from hrpose.skeleton import Skeleton
from hrpose.types import Detections, FloatArray, Frame

LIMITS = (0.08, 0.10)
BOXES = ("published", "file", "points")
AHEAD = 8  # decoded pictures that wait for the network


@dataclass(frozen=True, slots=True)
class FaceProtocol:
    """How faces of one set of points are measured.

    Attributes:
        ends: The two points whose distance is 1; None takes the size of the box.
        boxes: ``"points"``: the box of the labelled points, out to whole pixels; ``"file"``: the
            box that the labels give.
    """

    ends: tuple[int, int] | None = None
    boxes: str = "file"

    @property
    def unit(self) -> str:
        """What errors are divided by."""
        if self.ends is None:
            return "the size of the box"
        return f"the distance of points {self.ends[0]} and {self.ends[1]}"


FACE_PROTOCOLS: dict[str, FaceProtocol] = {
    "face68": FaceProtocol((36, 45), boxes="points"),  # 300W: outer corners of the eyes
    "wflw98": FaceProtocol((60, 72), boxes="points"),  # the same
    "cofw29": FaceProtocol((8, 9), boxes="points"),  # the same
    "aflw19": FaceProtocol(None, boxes="file"),
}
"""By the name of the skeleton; another skeleton has the default."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceReport:
    """What an evaluation of faces found.

    Attributes:
        faces: NME, failure rates and areas, percent, over all faces that could be read.
        subsets: The same over each subset that the labels name.
        unit: What errors are divided by.
        errors: (N,) error of each face of the labels as a share, -1 where not read.
        models: What was evaluated.
        pictures: Number of pictures, unreadable ones included.
        people: Faces that count.
        seconds: Wall clock, reading included.
        unreadable: Pictures that could not be read; their faces are left out.
    """

    faces: dict[str, float]
    subsets: dict[str, dict[str, float]]
    unit: str
    errors: DoubleArray = field(repr=False)
    models: tuple[UsedModel, ...]
    pictures: int
    people: int
    seconds: float
    unreadable: tuple[Unreadable, ...]

    def tables(self) -> list[tuple[str, dict[str, float]]]:
        """Titles and numbers, percent."""
        return [
            (f"all {self.people} faces, in units of {self.unit}", self.faces),
            *self.subsets.items(),
        ]


def face_metrics(
    predicted: Points, truth: Points, normaliser: Points, *, labelled: BoolArray | None = None
) -> dict[str, float]:
    """NME, failure rates and areas under the curve of errors, percent.

    Args:
        predicted: (N, K, 2) px.
        truth: (N, K, 2) px, in the same frame of reference.
        normaliser: (N,) px, the length that is 1 for each face.
        labelled: (N, K) points that count, at least one a face; None is all.

    Returns:
        ``NME``; ``FR@0.08`` and ``FR@0.10``, the share of faces with a greater error; ``AUC@0.08``
        and ``AUC@0.10``, the area under the share of faces with at most an error, from 0 to there,
        as a share of the greatest possible.

    Raises:
        ValueError: The shapes do not fit, or there is no face.
    """
    return _summary(_errors(predicted, truth, normaliser, labelled))


def evaluate_face(
    data: Path,
    images: Sequence[Path],
    options: Options,
    *,
    boxes: str = "published",
    weights: Path | None = None,
    results: Path | None = None,
) -> FaceReport:
    """Measures a model of face points.

    Args:
        data: Labels in one of the forms of ``formats/faces.py``.
        images: Folders and ZIP files of the pictures.
        options: The model (``pose``) and how to run it. The official numbers are without
            ``flip_test``, mmpose's with it.
        boxes: Where the network looks: ``"published"`` as in the published evaluations of this set
            of points, ``"points"`` around the labelled points, ``"file"`` in the labels' own boxes.
        weights: Weights to evaluate instead of the model's own.
        results: JSON file for the points and the error of every face; replaced if it exists.

    Raises:
        ValueError: Another ``boxes``.
        HrposeError: Bad data, models or device.
    """
    if boxes not in BOXES:
        raise ValueError(f"boxes is {boxes!r}, expected one of {BOXES}")
    labels = read_faces(data)
    estimator, model = build_estimator(options, choose_device(options.device), weights=weights)
    skeleton = estimator.skeleton
    protocol = FACE_PROTOCOLS.get(skeleton.name, FaceProtocol())
    _require_same_points(labels, skeleton, data, model)
    unit = _units(labels, protocol, data)
    rule = protocol.boxes if boxes == "published" else boxes
    faces = _Faces(labels, labels.tight if rule == "points" else labels.boxes, images)
    started = time.perf_counter()
    found = _find(faces, estimator, options)
    seconds = time.perf_counter() - started
    read = faces.read
    errors = np.full(len(labels), -1.0)
    errors[read] = _errors(
        found[read, :, :2], labels.points[read], unit[read], labels.labelled[read]
    )
    if results is not None:
        _write(results, labels, found, errors, skeleton=skeleton, model=model)
    return FaceReport(
        faces=_summary(errors[read]),
        subsets=_by_subset(labels, read, errors),
        unit=protocol.unit,
        errors=errors,
        models=(UsedModel("detect", f"boxes of the {rule}"), model),
        pictures=len(faces.rows),
        people=int(read.sum()),
        seconds=seconds,
        unreadable=faces.unreadable,
    )


def _by_subset(
    labels: FaceLabels, read: BoolArray, errors: DoubleArray
) -> dict[str, dict[str, float]]:
    """Numbers of each subset that has faces which could be read, by a title that counts them."""
    subsets = {name: chosen & read for name, chosen in labels.subsets.items()}
    return {
        f"{name}, {rows.sum()} of them": _summary(errors[rows])
        for name, rows in subsets.items()
        if rows.any()
    }


class _Faces:
    """The pictures, and a detector that gives the boxes of the labels.

    Args:
        labels: N faces.
        boxes: (N, 4) xyxy px.
        images: Folders and ZIP files of the pictures.
    """

    def __init__(self, labels: FaceLabels, boxes: DoubleArray, images: Sequence[Path]) -> None:
        # as the official code reads them: labels are of the stored pixels
        self._store = Pictures(images, cache_bytes=0, upright=False)
        self._labels, self._boxes = labels, torch.from_numpy(boxes).float()
        rows: dict[tuple[str, str], list[int]] = {}
        for row, key in enumerate(zip(labels.names, labels.shards, strict=True)):
            rows.setdefault(key, []).append(row)
        self._keys, self.rows = list(rows), list(rows.values())
        self._lost: dict[int, Unreadable] = {}

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """Pictures that :meth:`frames` left out."""
        return tuple(self._lost.values())

    @property
    def read(self) -> BoolArray:
        """(N,) faces of the pictures that could be read; known after :meth:`frames`."""
        read = np.ones(len(self._labels), np.bool_)
        for index in self._lost:
            read[self.rows[index]] = False
        return read

    def frames(self) -> Iterator[Frame]:
        """Yields the pictures that can be read; ``Frame.index`` is the position in ``rows``."""
        every = range(len(self.rows))
        for index, reading in zip(every, read_ahead(every, self._read, ahead=AHEAD), strict=True):
            if isinstance(reading, Unreadable):
                self._lost[index] = reading
            else:
                yield reading
        if len(self._lost) == len(self.rows):
            raise self._lost[0].error

    def _read(self, index: int) -> Frame | Unreadable:
        (name, shard), size = self._keys[index], self._labels.sizes[self.rows[index][0]]
        try:
            frame = Frame(self._store.read(name, shard=shard), index=index, source=name)
            if size is not None and frame.size != size:
                raise InputError(
                    f"{name}: is {frame.size.width}x{frame.size.height}, its labels are for"
                    f" {size.width}x{size.height}",
                    hint="--images and --data do not belong together",
                )
        except InputError as error:
            return Unreadable(name, error)
        return frame

    def boxes(self, frames: Sequence[Frame]) -> list[Detections]:
        """The faces of each frame, in the order of the labels."""
        found = [self._boxes[self.rows[frame.index]] for frame in frames]
        return [Detections(boxes, torch.ones(len(boxes))) for boxes in found]


def _find(faces: _Faces, estimator: Estimator, options: Options) -> FloatArray:
    """(N, K, 3) x, y in image pixels and score, in the order of the labels."""
    total = sum(map(len, faces.rows))
    found = np.zeros((total, len(estimator.skeleton), 3), np.float32)
    # 1: faces of the data are never dropped for being alike. Most pictures hold one face.
    pipeline = Pipeline(faces.boxes, estimator, frame_batch=options.crop_batch, oks_threshold=1.0)
    results = pipeline.run(faces.frames())
    for frame, poses in tqdm(results, total=len(faces.rows), unit="picture", disable=None):
        rows = faces.rows[frame.index]
        found[rows, :, :2], found[rows, :, 2] = poses.keypoints, poses.keypoint_scores
    return found


def _require_same_points(
    labels: FaceLabels, skeleton: Skeleton, data: Path, model: UsedModel
) -> None:
    count = labels.points.shape[1]
    if count != len(skeleton):
        raise UsageError(
            f"{model.name} finds {len(skeleton)} points ({skeleton.name}), {data} labels {count}",
            hint="take a model of these faces, see `hrpose models`",
        )


def _units(labels: FaceLabels, protocol: FaceProtocol, data: Path) -> DoubleArray:
    """(N,) px, the length of each face that is 1."""
    if protocol.ends is None:
        units = labels.box_sizes
    else:
        ends = labels.points[:, protocol.ends]
        known = labels.labelled[:, protocol.ends].all(axis=1)
        units = np.where(known, np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1), 0)
    if len(bad := np.flatnonzero(units <= 0)):
        raise BadAnnotation(
            f"{data}: face {bad[0]} ({labels.names[bad[0]]}) has no size to divide its error by",
            hint=f"errors are in units of {protocol.unit}",
        )
    return units


def _errors(
    predicted: Points, truth: Points, normaliser: Points, labelled: BoolArray | None
) -> DoubleArray:
    """(N,) mean error of each face, as a share of its length."""
    errors = relative_errors(predicted, truth, normaliser)
    if labelled is None:
        labelled = np.ones(errors.shape, np.bool_)
    if labelled.shape != errors.shape or not labelled.any(axis=1).all():
        raise ValueError(f"labelled {labelled.shape}, expected {errors.shape} with one a face")
    means: DoubleArray = np.mean(errors, axis=1, where=labelled)
    return means


def _summary(errors: DoubleArray) -> dict[str, float]:
    if not len(errors):
        raise ValueError("no face")
    return {
        "NME": 100 * float(errors.mean()),
        **{f"FR@{limit:.2f}": 100 * float((errors > limit).mean()) for limit in LIMITS},
        # the curve is a step at each error, so its area is a mean
        **{f"AUC@{t:.2f}": 100 * float(np.clip(1 - errors / t, 0, 1).mean()) for t in LIMITS},
    }


def _write(
    path: Path,
    labels: FaceLabels,
    found: FloatArray,
    errors: DoubleArray,
    *,
    skeleton: Skeleton,
    model: UsedModel,
) -> None:
    rows = [
        {
            "file": name,
            "error": round(error, 6),
            "points": points[:, :2].round(3).tolist(),
            "scores": points[:, 2].round(4).tolist(),
        }
        for name, error, points in zip(
            labels.names, errors.tolist(), found.astype(np.float64), strict=True
        )
        if error >= 0
    ]
    document = {"model": model.name, "sha256": model.sha256, "skeleton": skeleton.name}
    with atomic_output(path, force=True) as part:
        part.write_text(json.dumps({**document, "faces": rows}) + "\n", encoding="utf-8")
