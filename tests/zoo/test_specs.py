from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from torchvision.models import get_model_builder, get_weight

from hrpose.errors import UsageError
from hrpose.models.hrnet import HRNetConfig
from hrpose.zoo.specs import (
    DEFAULT_DETECTOR,
    DEFAULT_POSE,
    SPECS,
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


@pytest.mark.parametrize("task", ["pose", "track"])
def test_task_and_parts_belong_together(task: str) -> None:
    with pytest.raises(ValueError, match=r"a\.b: "):
        ModelSpec("a.b", task, HRNetConfig(16), "a.pth", "x", "x")
