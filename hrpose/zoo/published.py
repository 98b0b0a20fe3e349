"""The models of others, one row each.

Hashes were read in public sources and never made up: the official W32 256x192 and W48 384x288 from
two projects that publish the sums of their downloads, mmpose's, timm's and torchvision's from their
file names, which carry the first eight digits of the SHA-256, and some from Git LFS pointers that
agree.
"""

from __future__ import annotations

from typing import Any

from hrpose.crop import CropSpec
from hrpose.models.hrnet import HRNetConfig
from hrpose.skeleton import AFLW19, COCO17, COFW29, FACE68, MPII16, WFLW98, Skeleton
from hrpose.types import Codec, Size
from hrpose.zoo.spec import Metric, ModelSpec, TorchvisionModel

COCO_TERMS = "trained on COCO, whose pictures have the terms of their Flickr authors"

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

# On MPII. Columns: width, PCKh@0.5, file. The official W48 is listed without a number.
_MPII_SIZE = Size(256, 256)
_MPII_ROWS = ((32, 90.3, "pose_hrnet_w32_256x256.pth"), (48, None, "pose_hrnet_w48_256x256.pth"))
_MMPOSE_MPII_ROWS = (
    (32, 90.0, "hrnet_w32_mpii_256x256-6c4f923f_20200812.pth"),
    (48, 90.1, "hrnet_w48_mpii_256x256-92cab7bd_20200812.pth"),
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


# HRNetV2-W18 for faces. NME is the mean distance in percent of that of the outer eye corners, for
# AFLW of the box's side. Columns: data set, keypoints, NME, of which faces, file.
_FACE_TRUNK = HRNetConfig(width=18, upsampling="bilinear")
_FACE_SIZE = Size(256, 256)
_FACE_ZOO = "the model zoo linked from https://github.com/HRNet/HRNet-Facial-Landmark-Detection"
_FACE_TERMS = "the pictures of 300W, COFW, AFLW and WFLW are for research"
_FACE_PROTOCOL = "percent of the outer eye corners' distance, AFLW of the box"
_FACE_ROWS = (
    ("wflw", WFLW98, 4.60, "WFLW test", "HR18-WFLW.pth"),
    ("300w", FACE68, 3.34, "300W full", "HR18-300W.pth"),
    ("cofw", COFW29, 3.45, "COFW test", "HR18-COFW.pth"),
    ("aflw", AFLW19, 1.57, "AFLW full", "HR18-AFLW.pth"),
)
# The same trained anew. One more column: sigma of the training targets.
_MMPOSE_FACE = "https://download.openmmlab.com/mmpose/face/hrnetv2/"
_MMPOSE_FACE_ROWS = (
    ("wflw", WFLW98, 4.06, "WFLW test", "hrnetv2_w18_wflw_256x256-2bf032a6_20210125.pth", 2.0),
    ("300w", FACE68, 3.45, "300W full", "hrnetv2_w18_300w_256x256-eea53406_20211019.pth", 1.5),
    ("cofw", COFW29, 3.48, "COFW test", "hrnetv2_w18_cofw_256x256-49243ab8_20211019.pth", 1.5),
    ("aflw", AFLW19, 1.41, "AFLW full", "hrnetv2_w18_aflw_256x256-f2bbc62b_20210125.pth", 2.0),
)

# Classification on ImageNet: name, trunk, top-1 error of the official table, file and megabytes of
# timm's copy, whose name carries the hash. The official files lie on OneDrive and Baidu only.
_CLASS_ZOO = "the table of https://github.com/HRNet/HRNet-Image-Classification"
_TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-hrnet/"
_CLASS_ROWS = (
    (
        "w18_small_v1",
        HRNetConfig(width=16, planes=32, bottlenecks=1, modules=(1, 1, 1), blocks=2),
        27.7,
        "hrnet_w18_small_v1-f460c6bc.pth",
        53,
    ),
    (
        "w18_small_v2",
        HRNetConfig(width=18, bottlenecks=2, modules=(1, 3, 2), blocks=2),
        24.9,
        "hrnet_w18_small_v2-4c50a8cb.pth",
        63,
    ),
    ("w18", HRNetConfig(18), 23.2, "hrnetv2_w18-8cb57bb9.pth", 86),
    ("w30", HRNetConfig(30), 21.8, "hrnetv2_w30-8d7f8dab.pth", 151),
    ("w32", HRNetConfig(32), 21.5, "hrnetv2_w32-90d8c5fb.pth", 165),
    ("w40", HRNetConfig(40), 21.1, "hrnetv2_w40-7cd397a4.pth", 231),
    ("w44", HRNetConfig(44), 21.1, "hrnetv2_w44-c9ac8c18.pth", 269),
    ("w48", HRNetConfig(48), 20.7, "hrnetv2_w48-abd2e6ab.pth", 310),
    ("w64", HRNetConfig(64), 20.5, "hrnetv2_w64-b47cc881.pth", 513),
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
        licence=f"MIT (the project's; none for the file alone), {COCO_TERMS}",
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
        licence=f"Apache-2.0 (the project's), {COCO_TERMS}",
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


def _mpii(tag: str, width: int, pckh: float | None, file: str, **known: Any) -> ModelSpec:
    return ModelSpec(
        name=f"hrnet_w{width}_mpii_{_MPII_SIZE.height}x{_MPII_SIZE.width}.{tag}",
        task="pose",
        network=HRNetConfig(width=width),
        file=file,
        crop=CropSpec(_MPII_SIZE),
        codec=_hrnet_codec(_MPII_SIZE),
        skeleton=MPII16,
        metric=Metric(pckh, "PCKh@0.5", "MPII valid, mirror test") if pckh else None,
        megabytes=_hrnet_megabytes(width),
        **known,
    )


def _mpii_official(width: int, pckh: float | None, file: str) -> ModelSpec:
    return _mpii(
        "official",
        width,
        pckh,
        file,
        licence="MIT (the project's; none for the file alone); MPII's own terms apply",
        source=_OFFICIAL_ZOO.replace("pose_coco", "pose_mpii"),
    )


def _mpii_mmpose(width: int, pckh: float, file: str) -> ModelSpec:
    return _mpii(
        "mmpose",
        width,
        pckh,
        file,
        licence="Apache-2.0 (the project's); MPII's own terms apply",
        source=_MMPOSE + file,
        url=_MMPOSE + file,
        sha256_prefix=file.rpartition("-")[2][:8],
    )


def _face(
    tag: str, data: str, skeleton: Skeleton, metric: Metric, file: str, **known: Any
) -> ModelSpec:
    """What the rows for faces share."""
    return ModelSpec(
        name=f"face_hrnetv2_w18_{data}_{_FACE_SIZE.height}x{_FACE_SIZE.width}.{tag}",
        task="face",
        network=_FACE_TRUNK,
        file=file,
        crop=CropSpec(_FACE_SIZE),
        skeleton=skeleton,
        metric=metric,
        megabytes=39,
        **known,
    )


def _face_official(data: str, skeleton: Skeleton, nme: float, of: str, file: str) -> ModelSpec:
    return _face(
        "official",
        data,
        skeleton,
        Metric(nme, f"NME {of}", _FACE_PROTOCOL, digits=2),
        file,
        licence=f"MIT (the project's; none for the file alone), {_FACE_TERMS}",
        source=_FACE_ZOO,
        # Training cuts coordinates in cells to whole numbers and decoding adds half a cell, so the
        # centre of cell x is input pixel 4 x + 2 (lib/utils/transforms.py, lib/core/evaluation.py).
        # The published code then cuts to whole image pixels as well, which is not repeated here.
        codec=Codec(stride=4, sigma=1.5, refine="quarter", cell_offset=2.0, mirror_shift=False),
    )


def _face_mmpose(
    data: str, skeleton: Skeleton, nme: float, of: str, file: str, sigma: float
) -> ModelSpec:
    return _face(
        "mmpose",
        data,
        skeleton,
        Metric(nme, f"NME {of}", f"{_FACE_PROTOCOL}, mirror test", digits=2),
        file,
        licence=f"Apache-2.0 (the project's), {_FACE_TERMS}",
        source=_MMPOSE_FACE + file,
        codec=Codec(stride=4, sigma=sigma, refine="quarter"),
        url=_MMPOSE_FACE + file,
        sha256_prefix=file.rpartition("-")[2][:8],
    )


def _classifier(
    name: str, trunk: HRNetConfig, error: float, file: str, megabytes: int
) -> ModelSpec:
    return ModelSpec(
        name=f"cls_hrnet_{name}_224x224.official",
        task="classify",
        network=trunk,
        file=file,
        licence="MIT (the project's), trained on ImageNet, whose pictures are for research",
        source=f"{_CLASS_ZOO}; the address is of timm's copy",
        crop=CropSpec(Size(224, 224), padding=0.875),  # the middle 224 of a shorter side of 256
        classes=1000,
        metric=Metric(error, "top-1 error", "ImageNet validation, one crop of 224 x 224"),
        url=_TIMM + file,
        sha256_prefix=file.rpartition("-")[2][:8],
        megabytes=megabytes,
    )


def _torchvision(model: TorchvisionModel, box_map: float, file: str, megabytes: int) -> ModelSpec:
    return ModelSpec(
        name=f"{model.builder}.torchvision",
        task="detect",
        network=model,
        file=file,
        licence=f"BSD-3-Clause (the project's), {COCO_TERMS}",
        source=_TORCHVISION + file,
        metric=Metric(box_map, "box mAP", "COCO val2017, mean of 80 classes"),
        url=_TORCHVISION + file,
        sha256_prefix=file.rpartition("-")[2][:8],
        megabytes=megabytes,
    )


PUBLISHED = (
    *(_official(*row) for row in _OFFICIAL_ROWS),
    *(_mmpose(*row) for row in _MMPOSE_ROWS),
    *(_mpii_official(*row) for row in _MPII_ROWS),
    *(_mpii_mmpose(*row) for row in _MMPOSE_MPII_ROWS),
    *(_torchvision(TorchvisionModel(*row[:3]), *row[3:]) for row in _TORCHVISION_ROWS),
    *(_face_official(*row) for row in _FACE_ROWS),
    *(_face_mmpose(*row) for row in _MMPOSE_FACE_ROWS),
    *(_classifier(*row) for row in _CLASS_ROWS),
)
