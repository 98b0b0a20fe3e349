"""The form of a row: what is known about one checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from hrpose.crop import CropSpec
from hrpose.models.hrnet import HRNetConfig
from hrpose.skeleton import Skeleton
from hrpose.types import Codec


@dataclass(frozen=True, slots=True)
class Metric:
    """A published result.

    Attributes:
        value: In percent.
        name: What was measured.
        protocol: On which data and how; numbers of different protocols do not compare.
        digits: Published digits after the point.
    """

    value: float
    name: str
    protocol: str
    digits: int = 1

    @property
    def shown(self) -> str:
        """The value as its publisher wrote it."""
        return f"{self.value:.{self.digits}f}"

    def __str__(self) -> str:
        return f"{self.shown} {self.name}, {self.protocol}"


@dataclass(frozen=True, slots=True)
class TorchvisionModel:
    """A detector that torchvision builds, named in text so that torchvision is not imported here.

    Attributes:
        builder: Name for ``torchvision.models.get_model``.
        weights: Name for ``torchvision.models.get_weight``.
        frozen_eps: Epsilon of the frozen batch norms that the weights were trained with, or None
            for ordinary batch norms. Torchvision picks the same, but only while it downloads.
    """

    builder: str
    weights: str
    frozen_eps: float | None


Network = HRNetConfig | TorchvisionModel

TASKS: dict[str, set[str]] = {
    "pose": {"crop", "codec", "skeleton"},
    "face": {"crop", "codec", "skeleton"},
    "classify": {"crop", "classes"},
    "detect": set(),
}
"""For each task the parts of a row that only some tasks have."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One checkpoint and all that is needed to use it.

    Attributes:
        name: ``arch.tag``; the tag tells whose weights these are.
        task: ``"pose"``, ``"face"``, ``"classify"`` or ``"detect"``.
        network: The network's trunk, the trunk of hrpose's person detector, or a detector of
            torchvision.
        file: Name of the file in the cache, or in ``weights/`` for an embedded model.
        licence: Of the weights as published; the data's terms where they are known.
        source: Where a person gets the file.
        crop: Input size, padding, mean and std; None for a detector. A classifier sees the middle
            of the picture: its box is the largest square there.
        codec: How heatmaps are read; None without keypoints.
        skeleton: The keypoints; None without.
        classes: Number of classes of a classifier, else 0.
        metric: The published result, if there is one.
        url: https address of the file, or None if nobody offers a direct one.
        sha256: Of the file, 64 hexadecimal digits, or None if not known.
        sha256_prefix: Its first digits, where the publisher gives only these.
        megabytes: Size of the file in units of 10^6 bytes, rounded; 0 = not known.
        embedded: Whether the file comes with hrpose.
    """

    name: str
    task: str
    network: Network
    file: str
    licence: str
    source: str
    crop: CropSpec | None = None
    codec: Codec | None = None
    skeleton: Skeleton | None = None
    classes: int = 0
    metric: Metric | None = None
    url: str | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None
    megabytes: int = 0
    embedded: bool = False

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"{self.name}: task is {self.task!r}, expected {' or '.join(TASKS)}")
        parts = {
            "crop": self.crop,
            "codec": self.codec,
            "skeleton": self.skeleton,
            "classes": self.classes or None,
        }
        if (got := {name for name, part in parts.items() if part is not None}) != TASKS[self.task]:
            raise ValueError(
                f"{self.name}: has {', '.join(sorted(got)) or 'no parts'}; of the task {self.task}"
                f" expected {', '.join(sorted(TASKS[self.task])) or 'none'}"
            )
        if self.url and not self.expected_hash:
            raise ValueError(f"{self.name}: has a URL and no hash to check a download by")

    @property
    def arch(self) -> str:
        return self.name.partition(".")[0]

    @property
    def outputs(self) -> int:
        """Number of keypoints, or of classes."""
        return self.classes if self.skeleton is None else len(self.skeleton)

    @property
    def expected_hash(self) -> str:
        """The SHA-256 as far as it is known: all 64 digits, the first few, or an empty string."""
        return self.sha256 or self.sha256_prefix or ""
