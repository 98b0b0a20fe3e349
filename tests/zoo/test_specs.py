from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch
from torchvision.models import get_model_builder, get_weight

from hrpose.crop import CropSpec
from hrpose.errors import UsageError
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import NETWORKS
from hrpose.skeleton import COCO17, MPII16
from hrpose.types import Codec, Size
from hrpose.zoo.specs import (
    DEFAULT_DETECTOR,
    DEFAULT_POSE,
    SPECS,
    Metric,
    ModelSpec,
    TorchvisionModel,
    find_spec,
)

ROWS = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


@ROWS
def test_row(spec: ModelSpec) -> None:
    assert re.fullmatch(r"[a-z0-9_]+\.[a-z]+", spec.name)
    assert re.fullmatch(r"[\w.-]+\.(pth|safetensors)", spec.file)
    assert spec.licence
    assert spec.source
    assert re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{8}|", spec.expected_hash)
    assert spec.expected_hash.startswith(spec.sha256_prefix or "")
    if spec.url:
        assert urlsplit(spec.url).scheme == "https"
        assert spec.url.endswith(f"/{spec.file}")
    if spec.crop:
        assert spec.arch.endswith(f"_{spec.crop.size.height}x{spec.crop.size.width}")


def test_files_are_distinct() -> None:
    assert len({spec.file for spec in SPECS.values()}) == len(SPECS)


def test_defaults_are_embedded() -> None:
    tasks = [SPECS[name].task for name in (DEFAULT_POSE, DEFAULT_DETECTOR)]
    assert tasks == ["pose", "detect"]
    assert SPECS[DEFAULT_POSE].embedded
    assert SPECS[DEFAULT_DETECTOR].embedded
    read = {s.codec.refine for s in SPECS.values() if s.embedded and s.codec}
    assert read == {"oks"}  # what the cards' numbers are measured with


@pytest.mark.parametrize(
    ("name", "width", "sigma", "ap"),
    [
        ("hrnet_w32_256x192.official", 32, 2.0, 74.4),
        ("hrnet_w32_384x288.official", 32, 3.0, 75.8),
        ("hrnet_w48_256x192.official", 48, 2.0, 75.1),
        ("hrnet_w48_384x288.official", 48, 3.0, 76.3),
        ("hrnet_w32_256x192.mmpose", 32, 2.0, 74.6),
        ("hrnet_w32_384x288.mmpose", 32, 3.0, 76.0),
        ("hrnet_w48_256x192.mmpose", 48, 2.0, 75.6),
        ("hrnet_w48_384x288.mmpose", 48, 3.0, 76.7),
    ],
)
def test_published_pose_models(name: str, width: int, sigma: float, ap: float) -> None:
    spec = SPECS[name]
    assert spec.network == HRNetConfig(width=width)
    assert spec.codec
    assert (spec.codec.sigma, spec.codec.refine, spec.codec.mirror_shift) == (
        sigma,
        "quarter",
        True,
    )
    assert spec.codec.cell_offset == 0.0
    assert spec.metric
    assert spec.metric.value == ap


@pytest.mark.parametrize(
    ("name", "width", "pckh"),
    [
        ("hrnet_w32_mpii_256x256.official", 32, 90.3),
        ("hrnet_w48_mpii_256x256.official", 48, None),
        ("hrnet_w32_mpii_256x256.mmpose", 32, 90.0),
        ("hrnet_w48_mpii_256x256.mmpose", 48, 90.1),
    ],
)
def test_published_models_of_mpii(name: str, width: int, pckh: float | None) -> None:
    spec = SPECS[name]
    assert spec.network == HRNetConfig(width=width)
    assert spec.skeleton is MPII16
    assert spec.crop == CropSpec(Size(256, 256))
    assert spec.codec == Codec(stride=4, sigma=2.0, refine="quarter", mirror_shift=True)
    assert (spec.metric.value if spec.metric else None) == pckh


# Facts B4; the files' names and sigmas from mmpose's configurations.
@pytest.mark.parametrize(
    ("data", "points", "official", "mmpose", "sigma"),
    [
        ("wflw", 98, 4.60, 4.06, 2.0),
        ("300w", 68, 3.34, 3.45, 1.5),
        ("cofw", 29, 3.45, 3.48, 1.5),
        ("aflw", 19, 1.57, 1.41, 2.0),
    ],
)
def test_published_face_models(
    data: str, points: int, official: float, mmpose: float, sigma: float
) -> None:
    for tag, nme, codec in (
        (
            "official",
            official,
            Codec(sigma=1.5, refine="quarter", cell_offset=2.0, mirror_shift=False),
        ),
        ("mmpose", mmpose, Codec(sigma=sigma, refine="quarter", mirror_shift=True)),
    ):
        spec = SPECS[f"face_hrnetv2_w18_{data}_256x256.{tag}"]
        assert (spec.task, spec.outputs, spec.codec) == ("face", points, codec)
        assert spec.network == HRNetConfig(18, upsampling="bilinear")
        assert spec.crop == CropSpec(Size(256, 256), padding=1.25)
        assert spec.metric
        assert (spec.metric.value, spec.metric.shown) == (nme, f"{nme:.2f}")


# README of HRNet-Image-Classification, top-1 error.
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("w18_small_v1", 27.7),
        ("w18_small_v2", 24.9),
        ("w18", 23.2),
        ("w30", 21.8),
        ("w32", 21.5),
        ("w40", 21.1),
        ("w44", 21.1),
        ("w48", 20.7),
        ("w64", 20.5),
    ],
)
def test_published_classifiers(name: str, error: float) -> None:
    spec = SPECS[f"cls_hrnet_{name}_224x224.official"]
    assert (spec.task, spec.outputs, spec.codec, spec.skeleton) == ("classify", 1000, None, None)
    assert spec.crop == CropSpec(Size(224, 224), padding=224 / 256)
    assert isinstance(spec.network, HRNetConfig)
    assert spec.network.width == (16 if name.endswith("v1") else int(name[1:3]))
    assert spec.metric
    assert (spec.metric.value, spec.metric.name) == (error, "top-1 error")


@pytest.mark.parametrize(
    "spec",
    [s for s in SPECS.values() if s.task != "detect" and not s.embedded],
    ids=lambda s: s.name,
)
def test_files_are_as_large_as_their_weights(spec: ModelSpec) -> None:
    assert spec.megabytes == pytest.approx(_megabytes(spec.task, spec.network, spec.outputs), 0.02)


@cache
def _megabytes(task: str, network: HRNetConfig, outputs: int) -> float:
    with torch.device("meta"):
        state = NETWORKS[task](network, outputs).state_dict()
    return sum(v.numel() * v.element_size() for v in state.values()) / 1e6


@pytest.mark.parametrize(
    "spec", [s for s in SPECS.values() if s.name.endswith(".torchvision")], ids=lambda s: s.arch
)
def test_torchvision_rows_agree_with_its_own_tables(spec: ModelSpec) -> None:
    assert isinstance(spec.network, TorchvisionModel)
    weights = get_weight(spec.network.weights)
    assert get_model_builder(spec.network.builder).__name__ == spec.network.builder == spec.arch
    assert spec.url == weights.url
    assert spec.metric
    assert weights.meta["_metrics"]["COCO-val2017"]["box_map"] == spec.metric.value
    assert spec.megabytes == round(weights.meta["_file_size"] * 2**20 / 1e6)
    assert weights.meta["categories"][1] == "person"


def test_names() -> None:
    assert find_spec("hrnet_w32_256x192.mmpose").name == "hrnet_w32_256x192.mmpose"
    assert find_spec("fasterrcnn_resnet50_fpn").name == "fasterrcnn_resnet50_fpn.torchvision"
    with pytest.raises(UsageError, match="several") as several:
        find_spec("hrnet_w32_256x192")
    assert "hrnet_w32_256x192.official or hrnet_w32_256x192.mmpose" in several.value.hint
    with pytest.raises(UsageError, match=r"unknown model 'hrnet_w32_256x192\.offical'") as unknown:
        find_spec("hrnet_w32_256x192.offical")
    assert "did you mean hrnet_w32_256x192.official" in unknown.value.hint
    with pytest.raises(UsageError) as strange:
        find_spec("zzzz")
    assert strange.value.hint == "'hrpose models' lists all"


def test_a_url_needs_a_hash() -> None:
    with pytest.raises(ValueError, match="hash"):
        ModelSpec(
            name="a.b",
            task="detect",
            network=HRNetConfig(16),
            file="a.pth",
            licence="x",
            source="x",
            url="https://example.org/a.pth",
        )


KEYPOINTS = {"crop": CropSpec(Size(64, 64)), "codec": Codec(), "skeleton": COCO17}


@pytest.mark.parametrize(
    ("task", "parts", "said"),
    [
        ("track", {}, "expected pose or face or classify or detect"),
        ("pose", {}, "has no parts; of the task pose expected codec, crop, skeleton"),
        ("face", {"crop": KEYPOINTS["crop"]}, "has crop; of the task face expected codec, crop"),
        ("classify", KEYPOINTS, "expected classes, crop"),
        ("classify", {"crop": KEYPOINTS["crop"]}, "expected classes, crop"),
        ("detect", KEYPOINTS, "expected none"),
    ],
)
def test_task_and_parts_belong_together(task: str, parts: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.b: .*{said}"):
        ModelSpec("a.b", task, HRNetConfig(16), "a.pth", "x", "x", **parts)


@pytest.mark.parametrize(("digits", "text"), [(1, "4.6 NME, all"), (2, "4.60 NME, all")])
def test_metrics_have_the_published_digits(digits: int, text: str) -> None:
    assert str(Metric(4.6, "NME", "all", digits=digits)) == text
