"""Top-1 and top-5 of a classifier, by the protocol of the published numbers.

The picture is resized, its shorter side to 256 px, and the middle 224 x 224 px are classified once,
not mirrored (HRNet-Image-Classification tools/valid.py). EXIF is ignored, as it was in training.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from hrpose.crop import CropSpec, normalise
from hrpose.device import MicroBatches, choose_device, choose_dtype
from hrpose.errors import BadAnnotation, HrposeError, InputError, UsageError
from hrpose.media.ahead import read_ahead
from hrpose.media.source import pictures
from hrpose.media.store import Pictures
from hrpose.models.folding import fold_batch_norms
from hrpose.options import Options
from hrpose.pipeline import UsedModel
from hrpose.run import Unreadable
from hrpose.zoo.load import LoadedModel, load

TOP = (1, 5)
AHEAD = 32  # prepared pictures that wait for the network; 0.6 MB each


@dataclass(frozen=True, slots=True)
class ClassifyReport:
    """What an evaluation of a classifier found.

    Attributes:
        top: Accuracies and errors, percent, over the pictures that could be read.
        models: What was evaluated.
        pictures: Number of pictures, unreadable ones included.
        people: Pictures that count.
        seconds: Wall clock, reading included.
        unreadable: Pictures that could not be read; they are left out.
    """

    top: dict[str, float]
    models: tuple[UsedModel, ...]
    pictures: int
    people: int
    seconds: float
    unreadable: tuple[Unreadable, ...]

    def tables(self) -> list[tuple[str, dict[str, float]]]:
        """Titles and numbers, percent."""
        return [(f"{self.people} pictures", self.top)]


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """Pictures and their classes.

    Attributes:
        names: File names.
        labels: Number of each one's class, from 0.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]


def evaluate_classify(
    data: Path, images: Sequence[Path], options: Options, *, weights: Path | None = None
) -> ClassifyReport:
    """Measures a classifier.

    Args:
        data: A folder with a folder of pictures a class, which are numbered in the order of their
            names, as ImageNet's are; or a text file, each line a picture's name and its number.
        images: Folders and ZIP files of the pictures of a text file; not used for a folder.
        options: The model (``pose``) and how to run it; there is no mirror test.
        weights: Weights to evaluate instead of the model's own.

    Raises:
        HrposeError: Bad data, model or device; or not one picture could be read.
    """
    folder = data.is_dir()
    labelled = _from_folder(data) if folder else _from_list(data)
    model = load(options.pose, path=weights)
    spec = model.spec
    if spec.task != "classify" or spec.crop is None:
        raise UsageError(f"{spec.name} is no classifier", hint="see `hrpose models`")
    _require_classes(labelled, spec.classes, data, folder=folder)
    source = _Source(labelled, [data] if folder else images, spec.crop)
    classifier = _Classifier(model, options)
    hits = dict.fromkeys(TOP, 0)
    started = time.perf_counter()
    bar = tqdm(source.crops(), total=len(labelled.names), unit="picture", disable=None)
    progress = iter(bar)  # once: a bar that is asked again starts a new round
    while batch := list(islice(progress, options.crop_batch)):
        truth = torch.tensor([labelled.labels[index] for index, _ in batch])
        best = classifier([crop for _, crop in batch])
        for k in TOP:
            hits[k] += int((best[:, :k] == truth[:, None]).any(dim=1).sum())
    counted = len(labelled.names) - len(source.unreadable)
    shares = {k: 100 * hits[k] / counted for k in TOP}
    return ClassifyReport(
        top={
            **{f"top{k}": share for k, share in shares.items()},
            **{f"error{k}": 100 - share for k, share in shares.items()},
        },
        models=(UsedModel("classify", spec.name, model.sha256),),
        pictures=len(labelled.names),
        people=counted,
        seconds=time.perf_counter() - started,
        unreadable=tuple(source.unreadable),
    )


def centre_crop(image: Tensor, spec: CropSpec) -> Tensor:
    """The middle of a picture, as torchvision's ``Resize`` and ``CenterCrop`` make it.

    Args:
        image: (3, H, W) uint8.
        spec: The size of the crop; its padding is the crop's share of the resized shorter side.

    Returns:
        (3, h, w) uint8.
    """
    height, width = image.shape[1:]
    short = int(min(spec.size) / spec.padding)
    # the longer side is cut to whole pixels, as torchvision does
    sides = [int(short * side / min(height, width)) for side in (height, width)]
    resized = F.interpolate(image[None], sides, mode="bilinear", antialias=True)[0]
    top, left = (
        round((side - crop) / 2)
        for side, crop in zip(sides, (spec.size.height, spec.size.width), strict=True)
    )
    return resized[:, top : top + spec.size.height, left : left + spec.size.width]


class _Classifier:
    """A batch of crops to the best classes of each."""

    def __init__(self, model: LoadedModel, options: Options) -> None:
        assert model.spec.crop is not None
        self._spec, self._device = model.spec.crop, choose_device(options.device)
        self._dtype = choose_dtype(options.dtype)
        network = fold_batch_norms(model.network)
        self._network: nn.Module = network.to(
            self._device, self._dtype, memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        self._batches = MicroBatches(options.crop_batch, what="pictures")

    def __call__(self, crops: Sequence[Tensor]) -> Tensor:
        """(3, h, w) uint8 crops -> (B, 5 or fewer) class numbers, best first, on the host."""
        return torch.cat(list(self._batches.run(crops, self._best)))

    @torch.inference_mode()
    def _best(self, crops: Sequence[Tensor]) -> Tensor:
        pixels = torch.stack(list(crops)).to(self._device).float()
        scores = self._network(normalise(pixels, self._spec).to(self._dtype)).float()
        if not scores.isfinite().all():
            raise HrposeError(
                "the classifier gave values that are not numbers",
                hint="use --dtype float32, or check the weights",
            )
        best: Tensor = scores.topk(min(max(TOP), scores.shape[1]), dim=1).indices.cpu()
        return best


class _Source:
    """The pictures, cropped; ``unreadable`` are those that :meth:`crops` left out."""

    def __init__(self, labelled: LabelledPictures, images: Sequence[Path], spec: CropSpec) -> None:
        self._names, self._spec = labelled.names, spec
        self._store = Pictures(images, cache_bytes=0, upright=False)
        self.unreadable: list[Unreadable] = []

    def crops(self) -> Iterator[tuple[int, Tensor]]:
        """Yields the position and the crop of every picture that can be read."""
        for reading in read_ahead(range(len(self._names)), self._read, ahead=AHEAD):
            if isinstance(reading, Unreadable):
                self.unreadable.append(reading)
            else:
                yield reading
        if len(self.unreadable) == len(self._names):
            raise self.unreadable[0].error

    def _read(self, index: int) -> tuple[int, Tensor] | Unreadable:
        name = self._names[index]
        try:
            return index, centre_crop(self._store.read(name), self._spec)
        except InputError as error:
            return Unreadable(name, error)


def _from_folder(folder: Path) -> LabelledPictures:
    found = [path.relative_to(folder) for path in pictures(folder)]
    classes = sorted({path.parts[0] for path in found if len(path.parts) > 1})
    if not classes:
        raise BadAnnotation(
            f"{folder}: no folders of pictures", hint="expected one folder of pictures a class"
        )
    loose = [path for path in found if len(path.parts) == 1]
    if loose:
        raise BadAnnotation(
            f"{folder}: {loose[0]} is in no class", hint="expected one folder of pictures a class"
        )
    number = {name: i for i, name in enumerate(classes)}
    return LabelledPictures(
        names=tuple(PurePath(path).as_posix() for path in found),
        labels=tuple(number[path.parts[0]] for path in found),
    )


def _from_list(path: Path) -> LabelledPictures:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", hint="check --data") from error
    except UnicodeDecodeError as error:
        raise BadAnnotation(f"{path}: not a text file", hint=_LINES) from error
    names, labels = [], []
    for i, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name.strip() or not label.isdecimal():
            raise BadAnnotation(f"{path}: no name and number in line {i}", hint=_LINES)
        names.append(name.strip())
        labels.append(int(label))
    if not names:
        raise BadAnnotation(f"{path}: no pictures", hint=_LINES)
    return LabelledPictures(tuple(names), tuple(labels))


_LINES = "expected a name and the number of its class, from 0, on each line"


def _require_classes(labelled: LabelledPictures, classes: int, data: Path, *, folder: bool) -> None:
    count = max(labelled.labels) + 1
    if count > classes or (folder and count != classes):
        raise UsageError(
            f"{data} has {count} classes, the model {classes}",
            hint="a text file of names and class numbers may hold fewer"
            if folder
            else "numbers count from 0",
        )
