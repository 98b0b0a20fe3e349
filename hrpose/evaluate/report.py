"""What evaluations found: reports, and the JSON that keeps one with all that it depends on."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import torch

from hrpose import __version__
from hrpose.evaluate.truth import GroundTruth
from hrpose.media.output import atomic_output
from hrpose.pipeline import UsedModel
from hrpose.run import Unreadable
from hrpose.types import Detections, Frame, Poses
from hrpose.zoo.download import sha256_of

Results = Sequence[tuple[Frame, Poses]]

GROUND_TRUTH = "ground truth"  # in place of a detector's name
_FULL = "fully labelled pictures"
_PACKAGES = ("torchvision", "pycocotools", "numpy", "Pillow")


class AnyReport(Protocol):
    """What the reports of all tasks have in common."""

    @property
    def models(self) -> tuple[UsedModel, ...]:
        """What was evaluated."""

    @property
    def pictures(self) -> int:
        """Number of pictures."""

    @property
    def people(self) -> int:
        """Number of people, faces or samples."""

    @property
    def seconds(self) -> float:
        """Wall clock, reading included."""

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """Pictures that could not be read."""

    def tables(self) -> list[tuple[str, dict[str, float]]]:
        """Titles and numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What an evaluation of keypoints found.

    Attributes:
        keypoints: AP and its kin, percent, over all pictures.
        keypoints_complete: The same over pictures whose people are all labelled, when the data
            marks others; on the others, people found but not labelled count as false alarms.
        boxes: Person box AP and recall, percent; None with boxes that were given.
        models: What was evaluated.
        pictures: Number of pictures, unreadable ones included.
        people: Boxes that the pose network looked at, suppressed ones included; 6,352 on COCO
            val2017 with ground-truth boxes.
        seconds: Wall clock of detection and pose together, reading included.
        unreadable: Pictures that could not be read; their people count as missed.
        truth: The ground truth.
        results: What was scored, picture by picture; the frames have no pixels.
    """

    keypoints: dict[str, float]
    keypoints_complete: dict[str, float] | None
    boxes: dict[str, float] | None
    models: tuple[UsedModel, ...]
    pictures: int
    people: int
    seconds: float
    unreadable: tuple[Unreadable, ...]
    truth: GroundTruth = field(repr=False)
    results: Results = field(repr=False)

    def tables(self) -> list[tuple[str, dict[str, float]]]:
        """Titles and numbers, percent."""
        full, boxes = self.keypoints_complete, self.boxes
        tables = [("keypoints", self.keypoints)]
        tables += [(f"keypoints, {_FULL}", full)] if full else []
        return tables + ([(f"person boxes, {_FULL}", boxes)] if boxes else [])

    @property
    def counted(self) -> list[int] | None:
        """Ids of the pictures that a breakdown of errors is right for; None if that is all.

        Not those that could not be read, and with boxes that somebody found only those whose
        people are all labelled.
        """
        found = bool(self.keypoints_complete) and self.models[0].name != GROUND_TRUTH
        failed = {one.source for one in self.unreadable}
        ids = [
            picture.id
            for picture in self.truth.pictures
            if picture.name not in failed and (picture.complete or not found)
        ]
        return ids if len(ids) < len(self.truth.pictures) else None


@dataclass(frozen=True, slots=True, eq=False)
class BoxReport:
    """What an evaluation of a detector found.

    Attributes:
        boxes: Person box AP and recall, percent, over all pictures.
        boxes_complete: The same over pictures whose people are all labelled, when the data marks
            others.
        models: What was evaluated.
        pictures: Number of pictures, unreadable ones included.
        people: Number of boxes.
        seconds: Wall clock, reading included.
        unreadable: Pictures that could not be read; their people count as missed.
        truth: The ground truth.
        results: What was scored, picture by picture; the frames have no pixels.
    """

    boxes: dict[str, float]
    boxes_complete: dict[str, float] | None
    models: tuple[UsedModel, ...]
    pictures: int
    people: int
    seconds: float
    unreadable: tuple[Unreadable, ...]
    truth: GroundTruth = field(repr=False)
    results: Sequence[tuple[Frame, Detections]] = field(repr=False)

    def tables(self) -> list[tuple[str, dict[str, float]]]:
        """Titles and numbers, percent."""
        full = self.boxes_complete
        return [("person boxes", self.boxes), *([(f"person boxes, {_FULL}", full)] if full else [])]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for.

    Attributes:
        task: Name of the measure.
        settings: All that the numbers depend on, beside files and models.
        files: Files that were read, by what they are: ``data``, ``boxes`` and so on.
        images: Folders and ZIP files of the pictures.
        device: Where the networks ran; None if none did.
        started: When, with its time zone.
    """

    task: str
    settings: Mapping[str, Any]
    files: Mapping[str, Path]
    images: Sequence[Path]
    device: torch.device | None
    started: datetime


def write_report(path: Path, report: AnyReport, request: Request, *, force: bool = False) -> None:
    """Writes numbers with all that they depend on; the file appears whole or not at all.

    One JSON object: ``task``; ``numbers`` by the title of their table, as printed but with all
    digits; ``pictures``, ``people`` and ``unreadable`` (name and reason of each picture that could
    not be read); ``models``, each with the SHA-256 of its weights and how its heatmaps were read;
    ``files``, each with its name and SHA-256 (null for a folder; pictures are named only);
    ``settings``; ``device`` and ``versions``; ``started`` (UTC, ISO 8601) and ``seconds``.

    Args:
        path: The file.
        report: The numbers.
        request: What they depend on.
        force: Replace an existing file.

    Raises:
        OutputError: It cannot be written.
    """
    document = {
        "task": request.task,
        "numbers": dict(report.tables()),
        "pictures": report.pictures,
        "people": report.people,
        "unreadable": [{"source": one.source, "reason": one.reason} for one in report.unreadable],
        "models": [asdict(model) for model in report.models],
        "files": {
            kind: {"name": file.name, "sha256": sha256_of(file) if file.is_file() else None}
            for kind, file in request.files.items()
        },
        "images": [folder.name or str(folder) for folder in request.images],
        "settings": dict(request.settings),
        "device": None if request.device is None else _device(request.device),
        "versions": _versions(),
        "started": request.started.astimezone(UTC).isoformat(timespec="seconds"),
        "seconds": round(report.seconds, 3),
    }
    text = json.dumps(document, indent=2, allow_nan=False, default=str)
    with atomic_output(path, force=force) as part:
        part.write_text(text + "\n", encoding="utf-8")


def _device(device: torch.device) -> str:
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device}{name}"


def _versions() -> dict[str, str]:
    found = {"hrpose": __version__, "python": platform.python_version()}
    found["torch"] = torch.__version__  # which of its builds it is, too
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # the conda build of some has another name
            found[package] = "unknown"
    return found
