from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from hrpose.errors import UsageError, WeightsError
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import ClassNet, FaceNet, PoseNet
from hrpose.zoo import files
from hrpose.zoo.download import sha256_of
from hrpose.zoo.load import add, build, load
from hrpose.zoo.specs import DEFAULT_DETECTOR, SPECS, ModelSpec, TorchvisionModel

W32, W48 = "hrnet_w32_256x192.official", "hrnet_w48_384x288.official"
FACE, CLS = "face_hrnetv2_w18_wflw_256x256.official", "cls_hrnet_w18_small_v1_224x224.official"
TINY = HRNetConfig(width=4, stem=4, planes=4, bottlenecks=1, modules=(1, 1, 1), blocks=1)
Weights = dict[str, Tensor]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("HRPOSE_HOME", str(folder))
    return folder


@pytest.fixture
def tiny(home: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """A model of a few thousand weights whose published file nobody has seen."""
    row = replace(SPECS[W32], name="tiny.test", network=TINY, file="tiny.pth", sha256=None)
    monkeypatch.setitem(SPECS, row.name, row)
    return row


def tiny_weights(keypoints: int = 17, config: HRNetConfig = TINY) -> Weights:
    return PoseNet(config, keypoints).state_dict()


def as_mmpose(weights: Weights, head: str) -> Weights:
    return {
        head + key if key.startswith("final_layer.") else f"backbone.{key}": value
        for key, value in weights.items()
    }


def golden_fill(shapes: dict[str, list[int]]) -> Weights:
    """The fill that shared/data/golden/README.md describes."""
    weights = {}
    for i, (key, shape) in enumerate(sorted(shapes.items())):
        rng = np.random.RandomState(i)
        if key.endswith("num_batches_tracked"):
            weights[key] = torch.zeros(shape, dtype=torch.int64)
            continue
        if key.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) >= 2:
            value = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
        else:
            value = 0.1 * rng.standard_normal(shape)
            if key.endswith("weight") and not key.endswith("running_mean"):
                value = 1 + value
        weights[key] = torch.from_numpy(np.asarray(value, np.float32))
    return weights


@pytest.mark.parametrize(("name", "count"), [(W32, 28_536_113), (W48, 63_595_745)])
def test_parameter_counts(name: str, count: int) -> None:
    assert sum(p.numel() for p in build(SPECS[name]).parameters()) == count


def test_golden(shared: Path, tmp_path: Path, home: Path) -> None:
    golden = json.loads((shared / "data/golden/pose_hrnet_w32_256x192.json").read_text())
    expected = np.load(shared / "data/golden/pose_hrnet_w32_256x192.npz")["output"]
    weights = golden_fill(golden["state_dict"])
    path = tmp_path / "w32"

    torch.save(weights, path)
    loaded = load(W32, path=path)
    picture = np.random.RandomState(1234).standard_normal((1, 3, 256, 192)).astype(np.float32)
    with torch.inference_mode():
        output = loaded.network(torch.from_numpy(picture)).numpy()
    assert np.abs(output - expected).max() < 1e-4 * expected.std()
    assert loaded.sha256 == sha256_of(path)

    def check(other: Any) -> None:
        own = other.network.state_dict()
        assert own.keys() == weights.keys()
        assert all(torch.equal(own[key], weights[key]) for key in weights)

    torch.save({"state_dict": as_mmpose(weights, "keypoint_head."), "meta": {}}, path)
    check(load("hrnet_w32_256x192.mmpose", path=path))
    safetensors.torch.save_file(weights, path)
    check(load(W32, path=path))
    with pytest.raises(WeightsError) as caught:
        load(W48, path=path)
    assert re.search(r"\d+ of another shape \(.*transition1", caught.value.message)
    fits = "hrnet_w32_256x192.official and hrnet_w32_384x288.official"
    assert caught.value.hint.startswith(f"it fits {fits}")


@pytest.mark.parametrize("name", [FACE, CLS])
def test_golden_of_other_tasks(shared: Path, tmp_path: Path, name: str) -> None:
    document = json.loads((shared / f"data/golden/{SPECS[name].arch}.json").read_text())
    expected = np.load(shared / f"data/golden/{SPECS[name].arch}.npz")["output"]
    weights = golden_fill(document["state_dict"])
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}}, path)
    loaded = load(name, path=path)
    picture = np.random.RandomState(1234).standard_normal(document["input"]).astype(np.float32)
    with torch.inference_mode():
        output = loaded.network(torch.from_numpy(picture)).numpy()
    assert np.abs(output - expected).max() < 1e-4 * expected.std()
    with pytest.raises(WeightsError) as caught:
        load(W32, path=path)
    assert caught.value.hint.startswith(f"it fits {name}")


@pytest.mark.parametrize(
    ("version", "first", "last"),
    [("0.x", "keypoint_head.final_layer.", "keypoint_head.final_layer.3."),
     ("1.x", "head.conv_layers.", "head.final_layer.")],
)  # fmt: skip
def test_face_checkpoints_of_mmpose(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, first: str, last: str
) -> None:
    row = replace(
        SPECS["face_hrnetv2_w18_aflw_256x256.mmpose"], name="tiny.face", network=TINY,
        url=None, sha256_prefix=None,
    )  # fmt: skip
    monkeypatch.setitem(SPECS, row.name, row)
    weights = FaceNet(TINY, 19).state_dict()
    theirs = {}
    for key, value in weights.items():
        name = f"backbone.{key}"
        if key.startswith("head.3."):
            name = last + key.removeprefix("head.3.")
        elif key.startswith("head."):
            name = first + key.removeprefix("head.")
        theirs[name] = value
    path = tmp_path / "x.pth"
    torch.save({"state_dict": theirs, "meta": {}}, path)
    imported = add(path, row.name)
    assert imported.path == home / "tiny.face.safetensors"
    own = load(row.name).network.state_dict()
    assert all(torch.equal(own[key], weights[key]) for key in weights)


def test_classifier_is_imported(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(
        SPECS[CLS], name="tiny.cls", network=TINY, classes=7, url=None, sha256_prefix=None
    )
    monkeypatch.setitem(SPECS, row.name, row)
    path = tmp_path / "x.pth"
    torch.save(ClassNet(TINY, 7).state_dict(), path)
    add(path, row.name)
    assert load(row.name).network(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize("wrap", [dict, lambda w: {"state_dict": w}, lambda w: {"model": w}])
@pytest.mark.parametrize("form", ["official", "parallel", "mmpose 0", "mmpose 1", "2019"])
def test_forms_of_checkpoints(tiny: ModelSpec, tmp_path: Path, wrap: Any, form: str) -> None:
    weights = tiny_weights()
    theirs = {
        "parallel": {f"module.{key}": value for key, value in weights.items()},
        "mmpose 0": as_mmpose(weights, "keypoint_head."),
        "mmpose 1": as_mmpose(weights, "head."),
    }.get(form, weights)
    path = tmp_path / "x.pth"
    torch.save(wrap(theirs), path, _use_new_zipfile_serialization=form != "2019")
    network = load(tiny.name, path=path).network
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())


def test_network_is_ready_for_inference(tiny: ModelSpec, tmp_path: Path) -> None:
    weights = {k: v.half() if v.is_floating_point() else v for k, v in tiny_weights().items()}
    safetensors.torch.save_file(weights, tmp_path / "half.safetensors")
    loaded = load("tiny", path=tmp_path / "half.safetensors")
    assert not any(module.training for module in loaded.network.modules())
    for value in loaded.network.parameters():
        assert (value.dtype, value.device.type, value.requires_grad) == (
            torch.float32,
            "cpu",
            False,
        )
    assert loaded.network(torch.zeros(2, 3, 64, 32)).shape == (2, 17, 16, 8)
    assert loaded.spec is tiny


def spoilt(change: str) -> Weights:
    weights = tiny_weights()
    if change == "missing":
        del weights["bn1.weight"], weights["conv2.weight"]
    elif change == "unexpected":
        weights.update({f"extra{i}": torch.ones(1) for i in range(5)})
    elif change == "shape":
        weights["conv1.weight"] = torch.ones(1, 2)
    elif change == "kind":
        weights["conv1.weight"] = weights["conv1.weight"].to(torch.int32)
    elif change == "complex":
        weights["conv1.weight"] = weights["conv1.weight"].to(torch.complex64)
    elif change == "sparse":
        weights["conv1.weight"] = weights["conv1.weight"].to_sparse()
    elif change == "nan":
        weights["final_layer.bias"][3] = torch.nan
    elif change == "infinite":
        weights["bn1.running_var"][0] = torch.inf
    return weights


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("missing", r"2 missing \((bn1\.weight, conv2\.weight|conv2\.weight, bn1\.weight)\)$"),
        ("unexpected", r"5 unexpected \(extra0, extra1, extra2, \.\.\.\)$"),
        ("shape", r"1 of another shape \(conv1\.weight \(1, 2\) instead of \(4, 3, 3, 3\)\)$"),
        ("kind", r"1 of another kind \(conv1\.weight torch\.int32"),
        ("complex", r"1 of another kind \(conv1\.weight torch\.complex64"),
        ("sparse", r"1 of another kind \(conv1\.weight torch\.float32 torch\.sparse_coo"),
        ("nan", r"not finite: final_layer\.bias$"),
        ("infinite", r"not finite: bn1\.running_var$"),
    ],
)
def test_spoilt_weights(tiny: ModelSpec, tmp_path: Path, change: str, said: str) -> None:
    path = tmp_path / "x.pth"
    torch.save(spoilt(change), path)
    with pytest.raises(WeightsError, match=said) as caught:
        load(tiny.name, path=path)
    assert str(path) in caught.value.message


def test_file_without_weights(tiny: ModelSpec, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match=r"x\.pth holds no table of weights"):
        load(tiny.name, path=path)


@pytest.mark.parametrize(
    ("weights", "hint"),
    [
        (lambda: tiny_weights(), "it fits tiny.test"),
        (lambda: as_mmpose(tiny_weights(), "head."), "it fits tiny.test"),
        (lambda: tiny_weights(16), "it looks like an HRNet of width 4 with 16 keypoints"),
        (
            lambda: tiny_weights(17, replace(TINY, width=6)),
            "it looks like an HRNet of width 6 with 17 keypoints",
        ),
        (
            lambda: {k: v for k, v in tiny_weights().items() if "final" not in k},
            "it looks like an HRNet of width 4 with no keypoint head",
        ),
        (
            lambda: FaceNet(TINY, 21).state_dict(),
            "it looks like an HRNet of width 4 with 21 keypoints",
        ),
        (
            lambda: ClassNet(TINY, 7).state_dict(),
            "it looks like an HRNet of width 4 with 7 classes",
        ),
        (
            lambda: {"deconv_layers.0.weight": torch.ones(1)},
            "it looks like SimpleBaseline (pose_resnet), which hrpose does not have",
        ),
        (lambda: nn.Linear(2, 2).state_dict(), "it looks like no model that hrpose knows"),
    ],
)
def test_other_architectures(tiny: ModelSpec, tmp_path: Path, weights: Any, hint: str) -> None:
    path = tmp_path / "x.pth"
    torch.save(weights(), path)
    with pytest.raises(WeightsError, match="does not fit") as caught:
        load(W32, path=path)
    assert caught.value.hint == hint


def test_changed_file_is_refused(tiny: ModelSpec, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(tiny_weights(), path)
    imported = add(path, tiny.name)
    assert imported.published is None
    assert load(tiny.name).sha256 == sha256_of(imported.path)
    body = bytearray(imported.path.read_bytes())
    body[-1] ^= 1
    imported.path.write_bytes(body)
    with pytest.raises(
        WeightsError, match=r"damaged or another file: its SHA-256 is \w+"
    ) as caught:
        load(tiny.name)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("right", [True, False])
def test_published_file_is_told_from_others(
    tiny: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    path = tmp_path / "x.pth"
    torch.save(tiny_weights(), path)
    known = replace(tiny, sha256_prefix=sha256_of(path)[:8] if right else "00000000")
    monkeypatch.setitem(SPECS, tiny.name, known)
    assert add(path, tiny.name).published is right
    # put by hand under the published name, it must be the published file
    files.imported(tiny).unlink()
    path.rename(files.home() / tiny.file)
    if right:
        assert load(tiny.name).spec is known
    else:
        with pytest.raises(WeightsError, match="damaged or another file"):
            load(tiny.name)


def test_file_known_as_another_model(
    tiny: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pth"
    torch.save(tiny_weights(), path)
    twin = replace(tiny, name="tiny.twin", sha256=sha256_of(path))
    monkeypatch.setitem(SPECS, twin.name, twin)
    with pytest.raises(WeightsError, match=r"is the published file of tiny\.twin"):
        add(path, tiny.name)


def test_import_that_fails_leaves_nothing(tiny: ModelSpec, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(tiny_weights(16), path)
    with pytest.raises(WeightsError):
        add(path, tiny.name)
    assert not home.exists()
    with pytest.raises(UsageError, match="comes with hrpose"):
        add(path, DEFAULT_DETECTOR)


def test_embedded_detector_network(tmp_path: Path) -> None:
    reference = build(SPECS[DEFAULT_DETECTOR])
    path = tmp_path / "d.safetensors"
    half = {k: v.half() if v.is_floating_point() else v for k, v in reference.state_dict().items()}
    safetensors.torch.save_file(half, path)
    network = load(DEFAULT_DETECTOR, path=path).network
    (found,) = network([torch.rand(3, 80, 60)])
    assert found["boxes"].shape == (len(found["scores"]), 4)


def test_a_detector_is_not_built_for_a_promise(tmp_path: Path) -> None:
    weights = build(SPECS[DEFAULT_DETECTOR]).state_dict()
    first = "backbone.trunk.stage2.0.branches.0.0.conv1.weight"
    weights[first] = torch.zeros(1_000_000, 1, 1, 1)  # with all it needs: 600 TB
    path = tmp_path / "d.safetensors"
    safetensors.torch.save_file(weights, path)
    with pytest.raises(WeightsError, match=r"1 of another shape \(backbone\.trunk\.stage2"):
        load(DEFAULT_DETECTOR, path=path)


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.embedded])
def test_embedded_weights(name: str) -> None:
    spec = SPECS[name]
    loaded = load(name)
    assert spec.sha256 == loaded.sha256, "write the hash of the embedded file into its row"
    file = files.locate(spec)
    card = file.with_suffix(".md").read_text()
    assert f"`{spec.file}`, kernels in float16, {file.stat().st_size:,} bytes |" in card
    assert f"| SHA-256 | `{spec.sha256}` |" in card


def old_torchvision_names(weights: Weights) -> Weights:
    renamed = {}
    for key, value in weights.items():
        key = re.sub(r"((?:inner|layer)_blocks\.\d)\.0\.", r"\1.", key)
        renamed[re.sub(r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv.", key)] = value
    return renamed


@pytest.mark.parametrize(
    "name", ["fasterrcnn_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn"]
)
def test_torchvision_detectors_are_built_as_torchvision_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SPECS[f"{name}.torchvision"].network
    assert isinstance(model, TorchvisionModel)
    enum = torchvision.models.get_weight(model.weights)
    plain = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    theirs = old_torchvision_names(plain.state_dict())
    monkeypatch.setattr(type(enum), "get_state_dict", lambda *_, **__: dict(theirs))
    reference = torchvision.models.get_model(name, weights=enum).eval()
    path = tmp_path / "x.pth"
    torch.save(theirs, path)
    network = load(name, path=path).network
    picture = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        ours, expected = network.backbone(picture), reference.backbone(picture)
    assert all(torch.equal(ours[level], expected[level]) for level in expected)
    assert str(network.transform) == str(reference.transform)
    assert network.roi_heads.box_predictor.cls_score.out_features == 91
