"""Every model that hrpose knows, one row each, named ``arch.tag``.

Hashes were read in public sources and never made up: the official W32 256x192 and W48 384x288 from
two projects that publish the sums of their downloads, mmpose's and torchvision's from their file
names, which carry the first eight digits of the SHA-256, and from Git LFS pointers that agree.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from hrpose.crop import CropSpec
from hrpose.errors import UsageError
from hrpose.models.hrnet import HRNetConfig
from hrpose.options import DEFAULT_DETECTOR, DEFAULT_POSE
from hrpose.skeleton import COCO17, Skeleton
from hrpose.types import Codec, Size


@dataclass(frozen=True, slots=True)
class Metric:
    """A published result.

    Attributes:
        value: In percent.
        name: What was measured.
        protocol: On which data and how; numbers of different protocols do not compare.
    """

    value: float
    name: str
    protocol: str

    def __str__(self) -> str:
        return f"{self.value:.1f} {self.name}, {self.protocol}"


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


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One checkpoint and all that is needed to use it.

    Attributes:
        name: ``arch.tag``; the tag tells whose weights these are.
        task: ``"pose"`` or ``"detect"``.
        network: The pose network's trunk, the trunk of hrpose's person detector, or a detector of
            torchvision.
        file: Name of the file in the cache, or in ``weights/`` for an embedded model.
        licence: Of the weights as published; the data's terms where they are known.
        source: Where a person gets the file.
        crop: Input size, padding, mean and std; None for a detector.
        codec: How heatmaps are read; None for a detector.
        skeleton: The keypoints; None for a detector.
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
    metric: Metric | None = None
    url: str | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None
    megabytes: int = 0
    embedded: bool = False

    def __post_init__(self) -> None:
        if self.task not in ("pose", "detect"):
            raise ValueError(f"{self.name}: task is {self.task!r}, expected pose or detect")
        parts = (self.crop, self.codec, self.skeleton)
        if any((part is None) == (self.task == "pose") for part in parts):
            raise ValueError(f"{self.name}: a pose model has crop, codec and skeleton, others none")
        if self.url and not self.expected_hash:
            raise ValueError(f"{self.name}: has a URL and no hash to check a download by")

    @property
    def arch(self) -> str:
        return self.name.partition(".")[0]

    @property
    def expected_hash(self) -> str:
        """The SHA-256 as far as it is known: all 64 digits, the first few, or an empty string."""
        return self.sha256 or self.sha256_prefix or ""


# One trunk for both embedded networks, so that either can start from the other's weights.
_THIN = HRNetConfig(width=16, stem=32, planes=16, bottlenecks=1, modules=(1, 2, 1), blocks=2)
_COCO_TERMS = "trained on COCO, whose pictures have the terms of their Flickr authors"

_EMBEDDED = (
    ModelSpec(
        name=DEFAULT_POSE,
        task="pose",
        network=_THIN,
        file="hrnet_w16thin_256x192.safetensors",
        licence="see the model card in weights/",
        source="comes with hrpose",
        crop=CropSpec(Size(192, 256)),
        codec=Codec(
            stride=4,
            sigma=2.0,
            refine="dark",
            cell_offset=1.5,
            mirror_shift=False,
            exact_target=True,
        ),
        skeleton=COCO17,
        sha256="e8e1bd37bcf38f1fe27001a95618c107019827d5ac03a4ee28816dea0c773b1d",
        embedded=True,
    ),
    ModelSpec(
        name=DEFAULT_DETECTOR,
        task="detect",
        network=_THIN,
        file="fasterrcnn_hrnetv2p_w16thin.safetensors",
        licence="see the model card in weights/",
        source="comes with hrpose",
        sha256="2e8be7bc957a8114a3e2fc03adb9987c5fb04570cbec4d070bba3bf8d457b841",
        embedded=True,
    ),
)

_VAL2017 = "COCO val2017, person detector of AP 56.4, mirror test"
_OFFICIAL_ZOO = (
    "the model zoo linked from https://github.com/leoxiaobin/deep-high-resolution-net.pytorch"
    " (folder pytorch/pose_coco)"
)
# Columns: width, input size, AP, SHA-256. The zoo lies on Google Drive and OneDrive, which give
# no address that stays.
_OFFICIAL_ROWS = (
    (32, Size(192, 256), 74.4, "19bc083708bb8d873211e50d85d56344c10290c6e8b564c813fdde09645c4c1c"),
    (32, Size(288, 384), 75.8, None),
    (48, Size(192, 256), 75.1, None),
    (48, Size(288, 384), 76.3, "95e0fec3194826d5e3f806ea89be68bbb84517b114c3a32b3058c56610b5ef61"),
)

# Columns: width, input size, AP, file, SHA-256. The release of 2020, not the retrain of 2022
# (AP 74.9, 76.1, 75.6, 76.7): this one holds tensors and strings only, as a loader that refuses
# pickled objects needs.
_MMPOSE = "https://download.openmmlab.com/mmpose/top_down/hrnet/"
_MMPOSE_ROWS = (
    (32, Size(192, 256), 74.6, "hrnet_w32_coco_256x192-c78dce93_20200708.pth", None),
    (32, Size(288, 384), 76.0, "hrnet_w32_coco_384x288-d9f0d786_20200708.pth", None),
    (
        48,
        Size(192, 256),
        75.6,
        "hrnet_w48_coco_256x192-b9e0b3ab_20200708.pth",
        "b9e0b3ab0439cb68e166c7543e59d2587cd8d7e9acf5ea62a8378eeb82fb50e5",
    ),
    (48, Size(288, 384), 76.7, "hrnet_w48_coco_384x288-314c8528_20200708.pth", None),
)

# Columns: builder, weights, epsilon of frozen norms, box mAP, file, megabytes.
_TORCHVISION = "https://download.pytorch.org/models/"
_TORCHVISION_ROWS = (
    (
        "fasterrcnn_resnet50_fpn",
        "FasterRCNN_ResNet50_FPN_Weights.COCO_V1",
        0.0,
        37.0,
        "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        168,
    ),
    (
        "fasterrcnn_resnet50_fpn_v2",
        "FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
        None,
        46.7,
        "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
        175,
    ),
    (
        "fasterrcnn_mobilenet_v3_large_fpn",
        "FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1",
        1e-5,
        32.8,
        "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth",
        78,
    ),
    (
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1",
        1e-5,
        22.8,
        "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
        78,
    ),
)


def _hrnet_arch(width: int, size: Size) -> str:
    return f"hrnet_w{width}_{size.height}x{size.width}"


def _hrnet_codec(size: Size) -> Codec:
    return Codec(stride=4, sigma=2.0 if size.height == 256 else 3.0, refine="quarter")


def _hrnet_megabytes(width: int) -> int:
    return {32: 115, 48: 255}[width]


def _official(width: int, size: Size, ap: float, sha256: str | None) -> ModelSpec:
    return ModelSpec(
        name=f"{_hrnet_arch(width, size)}.official",
        task="pose",
        network=HRNetConfig(width=width),
        file=f"pose_{_hrnet_arch(width, size)}.pth",
        licence=f"MIT (the project's; none for the file alone), {_COCO_TERMS}",
        source=_OFFICIAL_ZOO,
        crop=CropSpec(size),
        codec=_hrnet_codec(size),
        skeleton=COCO17,
        metric=Metric(ap, "keypoint AP", _VAL2017),
        sha256=sha256,
        megabytes=_hrnet_megabytes(width),
    )


def _mmpose(width: int, size: Size, ap: float, file: str, sha256: str | None) -> ModelSpec:
    return ModelSpec(
        name=f"{_hrnet_arch(width, size)}.mmpose",
        task="pose",
        network=HRNetConfig(width=width),
        file=file,
        licence=f"Apache-2.0 (the project's), {_COCO_TERMS}",
        source=_MMPOSE + file,
        crop=CropSpec(size),
        # mmpose decides about the quarter offset per axis, hrpose like the official code for both
        codec=_hrnet_codec(size),
        skeleton=COCO17,
        metric=Metric(ap, "keypoint AP", _VAL2017),
        url=_MMPOSE + file,
        sha256=sha256,
        sha256_prefix=file.rpartition("-")[2][:8],
        megabytes=_hrnet_megabytes(width),
    )


def _torchvision(model: TorchvisionModel, box_map: float, file: str, megabytes: int) -> ModelSpec:
    return ModelSpec(
        name=f"{model.builder}.torchvision",
        task="detect",
        network=model,
        file=file,
        licence=f"BSD-3-Clause (the project's), {_COCO_TERMS}",
        source=_TORCHVISION + file,
        metric=Metric(box_map, "box mAP", "COCO val2017, mean of 80 classes"),
        url=_TORCHVISION + file,
        sha256_prefix=file.rpartition("-")[2][:8],
        megabytes=megabytes,
    )


SPECS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        *_EMBEDDED,
        *(_official(*row) for row in _OFFICIAL_ROWS),
        *(_mmpose(*row) for row in _MMPOSE_ROWS),
        *(_torchvision(TorchvisionModel(*row[:3]), *row[3:]) for row in _TORCHVISION_ROWS),
    )
}


def find_spec(name: str) -> ModelSpec:
    """Finds a model by its name.

    Args:
        name: ``arch.tag``, or ``arch`` alone where only one model has it.

    Raises:
        UsageError: No such model, or several; names the closest.
    """
    if name in SPECS:
        return SPECS[name]
    same_arch = [spec for spec in SPECS.values() if spec.arch == name]
    if len(same_arch) == 1:
        return same_arch[0]
    if same_arch:
        names = " or ".join(spec.name for spec in same_arch)
        raise UsageError(f"several models are called {name!r}", hint=f"use {names}")
    close = difflib.get_close_matches(name, SPECS, n=3, cutoff=0.4)
    known = f"did you mean {' or '.join(close)}? " if close else ""
    raise UsageError(f"unknown model {name!r}", hint=f"{known}'hrpose models' lists all")
