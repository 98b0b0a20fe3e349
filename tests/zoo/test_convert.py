from __future__ import annotations

import pytest
import torch

from hrpose.errors import WeightsError
from hrpose.zoo.convert import rename, task_of, unwrap

WEIGHTS = {"conv1.weight": torch.ones(2), "final_layer.bias": torch.zeros(1)}


@pytest.mark.parametrize(
    "loaded",
    [
        WEIGHTS,
        {"state_dict": WEIGHTS, "epoch": 3, "meta": {"a": 1}},
        {"model": WEIGHTS, "optimizer": {}},
        {"model": {"state_dict": WEIGHTS}},
    ],
    ids=["bare", "state_dict", "model", "both"],
)
def test_unwrap(loaded: object) -> None:
    assert unwrap(loaded) is WEIGHTS


@pytest.mark.parametrize(
    ("loaded", "reason"),
    [
        ([1, 2], "no table"),
        (torch.ones(1), "no table"),
        ({}, "no table"),
        ({"state_dict": {}}, "no table"),
        ({**WEIGHTS, "epoch": 3}, "other things than weights: epoch"),
        ({3: torch.ones(1)}, "other things"),
    ],
    ids=["list", "tensor", "empty", "empty inside", "mixed", "numbers as names"],
)
def test_unwrap_refuses(loaded: object, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        unwrap(loaded)


@pytest.mark.parametrize(
    ("task", "theirs", "ours"),
    [
        ("pose", "stage2.0.fuse_layers.0.1.0.weight", "stage2.0.fuse_layers.0.1.0.weight"),
        ("pose", "backbone.conv1.weight", "conv1.weight"),
        ("pose", "keypoint_head.final_layer.bias", "final_layer.bias"),
        ("pose", "head.final_layer.weight", "final_layer.weight"),
        ("pose", "module.final_layer.weight", "final_layer.weight"),
        ("pose", "module.backbone.conv1.weight", "conv1.weight"),
        ("pose", "ema.conv1.weight", "ema.conv1.weight"),
        ("pose", "head.other.weight", "head.other.weight"),
        ("face", "head.3.bias", "head.3.bias"),
        ("face", "module.head.0.weight", "head.0.weight"),
        ("face", "backbone.stage4.2.fuse_layers.1.2.0.weight", "stage4.2.fuse_layers.1.2.0.weight"),
        ("face", "keypoint_head.final_layer.3.weight", "head.3.weight"),
        ("face", "head.conv_layers.1.running_mean", "head.1.running_mean"),
        ("face", "head.final_layer.bias", "head.3.bias"),
        ("classify", "classifier.weight", "classifier.weight"),
        ("classify", "module.incre_modules.0.0.conv1.weight", "incre_modules.0.0.conv1.weight"),
        ("classify", "final_layer.0.weight", "final_layer.0.weight"),
        ("detect", "backbone.body.conv1.weight", "backbone.body.conv1.weight"),
        ("detect", "module.rpn.head.cls_logits.bias", "rpn.head.cls_logits.bias"),
        ("detect", "rpn.head.conv.bias", "rpn.head.conv.0.0.bias"),
        ("detect", "rpn.head.conv.0.0.bias", "rpn.head.conv.0.0.bias"),
        ("detect", "backbone.fpn.layer_blocks.3.weight", "backbone.fpn.layer_blocks.3.0.weight"),
        ("detect", "backbone.fpn.inner_blocks.0.0.bias", "backbone.fpn.inner_blocks.0.0.bias"),
    ],
)
def test_names(task: str, theirs: str, ours: str) -> None:
    value = torch.ones(1)
    assert rename({theirs: value}, task) == {ours: value}


def test_two_weights_of_one_name() -> None:
    with pytest.raises(WeightsError, match=r"two weights for conv1\.weight"):
        rename({"conv1.weight": torch.ones(1), "backbone.conv1.weight": torch.ones(1)}, "pose")


@pytest.mark.parametrize(
    ("names", "task"),
    [
        (["conv1.weight", "final_layer.weight"], "pose"),
        (["backbone.conv1.weight", "keypoint_head.final_layer.weight"], "pose"),
        (["backbone.conv1.weight", "keypoint_head.final_layer.3.weight"], "face"),
        (["backbone.conv1.weight", "head.final_layer.weight"], "pose"),
        (["head.final_layer.weight", "head.conv_layers.0.weight"], "face"),
        (["module.conv1.weight", "module.head.3.weight"], "face"),
        (["module.classifier.weight", "module.final_layer.0.weight"], "classify"),
        (["backbone.conv1.weight", "roi_heads.box_head.fc6.weight"], "detect"),
        (["something.else"], "pose"),
    ],
)
def test_task_of(names: list[str], task: str) -> None:
    assert task_of(dict.fromkeys(names, torch.ones(1))) == task
