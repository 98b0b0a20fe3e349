"""The detector's network: size, shared trunk, and what ignore regions do."""

from __future__ import annotations

import copy

import pytest
import torch
from torchvision.models.detection import FasterRCNN

from hrpose.models.detection import (
    IGNORE,
    PERSON,
    TRUNK,
    DetectorConfig,
    load_trunk,
    person_detector,
)
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import PoseNet

CONFIG = DetectorConfig()


@pytest.fixture(scope="module")
def network() -> FasterRCNN:
    return person_detector(CONFIG)


def boxes(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).view(-1, 4)


def test_size_on_disk(network: FasterRCNN) -> None:
    assert sum(v.numel() * 2 for v in network.state_dict().values()) < 8e6  # fp16


def test_starts_from_a_pose_network() -> None:
    network, pose = person_detector(CONFIG), PoseNet(CONFIG.trunk, 17)
    stays = load_trunk(network, pose.state_dict())
    assert stays
    assert all(name.startswith("stage4.0.fuse_layers.") for name in stays)
    assert not any(name.startswith("stage4.0.fuse_layers.0.") for name in stays)
    state, given = network.state_dict(), pose.state_dict()
    taken = {k for k in given if not k.startswith("final_layer.")}
    counters = {k for k in state if k.endswith("num_batches_tracked")}
    own = {k.removeprefix(TRUNK) for k in state.keys() - counters if k.startswith(TRUNK)}
    assert own - taken == set(stays)
    assert taken
    for name in taken:
        assert torch.equal(state[TRUNK + name], given[name])


def test_refuses_another_trunk(network: FasterRCNN) -> None:
    other = PoseNet(HRNetConfig(width=18, modules=(1, 1, 1), blocks=1), 17)
    with pytest.raises(ValueError, match=r"first 'conv1\.weight'"):
        load_trunk(network, other.state_dict())


def test_anchors_in_an_ignore_region_are_not_background(network: FasterRCNN) -> None:
    anchors = boxes((10, 10, 30, 60), (10, 10, 31, 60), (200, 10, 220, 60), (35, 10, 75, 60))
    target = {
        "boxes": boxes((0, 0, 50, 100), (10, 10, 30, 60)),
        "labels": torch.tensor([IGNORE, PERSON]),
    }
    region = {"boxes": target["boxes"][:1], "labels": target["labels"][:1]}
    empty = {"boxes": boxes(), "labels": torch.zeros(0, dtype=torch.int64)}
    labels, matched = network.rpn.assign_targets_to_anchors([anchors] * 3, [target, region, empty])
    # a labelled person in the region; the region alone; the last anchor is 15 of 40 px inside
    assert [row.tolist() for row in labels] == [[1, 1, 0, 0], [-1, -1, 0, 0], [0, 0, 0, 0]]
    assert torch.equal(matched[0][0], target["boxes"][1])


def test_proposals_in_an_ignore_region_are_not_background(network: FasterRCNN) -> None:
    people = boxes((0, 0, 50, 100), (10, 10, 30, 60), (200, 0, 240, 90))
    kinds = torch.tensor([IGNORE, PERSON, PERSON])
    proposals = boxes(
        (0, 0, 50, 100), (10, 10, 31, 60), (20, 50, 50, 99), (201, 0, 240, 90), (300, 0, 340, 90)
    )
    matched, labels = network.roi_heads.assign_targets_to_proposals(
        [proposals, proposals], [people, people[:1]], [kinds, kinds[:1]]
    )
    assert labels[0].tolist() == [-1, 1, -1, 1, 0]
    assert matched[0][[1, 3]].tolist() == [1, 2]  # into all targets, not into the people alone
    assert labels[1].tolist() == [-1, -1, -1, 0, 0]


def test_training_learns_from_every_part_and_keeps_the_size() -> None:
    network = person_detector(CONFIG).train()
    seen = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    people = {"boxes": boxes((10, 10, 50, 90)), "labels": torch.tensor([PERSON])}
    region = {"boxes": people["boxes"], "labels": torch.tensor([IGNORE])}
    empty = {"boxes": boxes(), "labels": torch.zeros(0, dtype=torch.int64)}
    losses = network(list(torch.rand(3, 3, 96, 128)), [people, region, empty])
    assert seen == [(3, 3, 96, 128)]
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    still = {n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    # blocks start as identities, so the convolutions inside get no gradient in the first step;
    # the coarsest map has no part in the box head, and may have no sampled anchor
    assert not {n for n in still if not n.startswith((TRUNK, "backbone.pyramid.fpn_convs.3"))}


def test_inference_resizes_and_a_copy_is_the_same(network: FasterRCNN) -> None:
    seen = []
    twin = copy.deepcopy(network).eval()
    handle = twin.backbone.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape))
    image = torch.rand(3, 60, 75)
    with torch.inference_mode():
        mine, yours = network.eval()([image])[0], twin([image])[0]
    handle.remove()
    assert seen == [(1, 3, 480, 608)]  # 480 x 600, padded to multiples of 32
    assert len(mine["boxes"])
    assert all(torch.equal(mine[k], yours[k]) for k in ("boxes", "scores", "labels"))
