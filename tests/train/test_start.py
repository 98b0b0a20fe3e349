"""Where weights go: heads of other keypoints are left new, everything else must fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hrpose.crop import CropSpec
from hrpose.errors import UsageError, WeightsError
from hrpose.models.detection import DetectorConfig, person_detector
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import ClassNet, FaceNet, PoseNet, initialise
from hrpose.options import DEFAULT_POSE
from hrpose.skeleton import COCO17, MPII16, Skeleton
from hrpose.train.export import export
from hrpose.train.start import Start, grown, read_start, start, start_detector, start_pose
from hrpose.types import Codec, Size
from hrpose.zoo.own import description

TINY = HRNetConfig(width=4, stem=8, planes=4, bottlenecks=1, modules=(1, 1, 1), blocks=1)
STAR = Skeleton("star", ("a", "b", "c"), (), (0, 1, 2))
RENAMED = replace(COCO17, keypoints=tuple(f"p{i}" for i in range(17)), name="points")


def begin(network: torch.nn.Module, skeleton: Skeleton | None = COCO17) -> Start:
    return Start("old.pth", network.state_dict(), skeleton)


def fresh(skeleton: Skeleton) -> PoseNet:
    network = PoseNet(TINY, len(skeleton))
    initialise(network, seed=5)
    return network


def changed(before: dict[str, Tensor], network: torch.nn.Module) -> set[str]:
    return {n for n, v in network.state_dict().items() if not torch.equal(v, before[n])}


def copied(network: PoseNet) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_the_same_keypoints_take_all_weights() -> None:
    old, new = PoseNet(TINY, 17), fresh(COCO17)
    for skeleton in (COCO17, None):
        assert start_pose(new, begin(old, skeleton), COCO17) == ""
        assert not changed(old.state_dict(), new)


@pytest.mark.parametrize("skeleton", [STAR, MPII16, RENAMED], ids=lambda s: s.name)
def test_other_keypoints_get_a_new_head(skeleton: Skeleton) -> None:
    old, new = PoseNet(TINY, 17), fresh(skeleton)
    before = copied(new)
    told = start_pose(new, begin(old), skeleton)
    count = len(old.state_dict()) - 2
    assert told == (
        f"old.pth: its head for the 17 keypoints of coco17 is replaced by a new one for the"
        f" {len(skeleton)} keypoints of {skeleton.name}, the other {count} weights are kept"
    )
    assert torch.equal(new.final_layer.weight, before["final_layer.weight"])
    kept = {n: v for n, v in new.state_dict().items() if not n.startswith("final_layer.")}
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in kept.items())


def test_a_head_of_unknown_keypoints_is_judged_by_its_shape() -> None:
    old, new = PoseNet(TINY, 17), fresh(STAR)
    assert "its head is replaced" in start_pose(new, begin(old, None), STAR)
    assert start_pose(fresh(RENAMED), begin(old, None), RENAMED) == ""


@pytest.mark.parametrize("kind", [ClassNet, FaceNet])
def test_a_network_with_another_head_gives_its_trunk(kind: type[torch.nn.Module]) -> None:
    old, new = kind(TINY, 10), fresh(COCO17)  # type: ignore[call-arg]
    assert "replaced" in start_pose(new, begin(old, None), COCO17)
    name = "stage4.0.branches.3.0.conv1.weight"
    assert torch.equal(new.state_dict()[name], old.state_dict()[name])


def test_a_face_network_gets_a_new_last_layer_only() -> None:
    old, new = FaceNet(TINY, 98), FaceNet(TINY, 3)
    assert "replaced" in start_pose(new, begin(old), STAR)
    same = old.state_dict()
    assert torch.equal(new.state_dict()["head.0.weight"], same["head.0.weight"])


@pytest.mark.parametrize(
    "other",
    [
        PoseNet(replace(TINY, width=8), 17),
        PoseNet(replace(TINY, blocks=2), 17),
        PoseNet(replace(TINY, modules=(1, 2, 1)), 17),
        torch.nn.Linear(2, 2),
    ],
    ids=["wider", "deeper", "more modules", "another"],
)
def test_another_trunk_is_refused(other: torch.nn.Module) -> None:
    for skeleton in (COCO17, STAR):
        with pytest.raises(WeightsError, match=r"old\.pth: \d+ weights do not fit"):
            start_pose(fresh(skeleton), begin(other), skeleton)


def test_start_wants_all_weights() -> None:
    old, new = PoseNet(TINY, 17), fresh(COCO17)
    start(new, begin(old))
    assert not changed(old.state_dict(), new)
    with pytest.raises(WeightsError, match=r"final_layer\.weight"):
        start(new, begin(PoseNet(TINY, 3)))


def test_what_files_know_of_their_keypoints(tmp_path: Path) -> None:
    network = PoseNet(TINY, 3)
    about = {"model": DEFAULT_POSE, **description(CropSpec(Size(64, 64)), Codec(), STAR)}
    export(network, tmp_path / "own.safetensors", about=about)
    assert read_start(str(tmp_path / "own.safetensors")).skeleton == STAR
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    torch.save({"average": network.state_dict(), "step": 3}, tmp_path / "checkpoint.pt")
    for name in ("other.pth", "checkpoint.pt"):
        found = read_start(str(tmp_path / name))
        assert found.skeleton is None
        assert found.weights.keys() == network.state_dict().keys()
    embedded = read_start(DEFAULT_POSE)
    assert embedded.skeleton == COCO17
    with pytest.raises(UsageError, match="unknown model"):
        read_start("w999")


def settled(network: torch.nn.Module) -> torch.nn.Module:
    """With batch norms as they are after training: statistics of their own, none of them 0 or 1."""
    random = torch.Generator().manual_seed(9)
    for name, value in network.state_dict().items():
        if value.ndim == 1 and value.is_floating_point():
            least = 0.5 if name.endswith("running_var") else -0.5
            value.uniform_(least, least + 1, generator=random)
    return network.eval()


@torch.no_grad()
def test_a_grown_network_computes_what_the_narrower_one_did() -> None:
    old = settled(PoseNet(TINY, 17))
    new = PoseNet(replace(TINY, width=7, stem=12, planes=5), 17)
    initialise(new, seed=5)
    assert start_pose(new, grown(new, begin(old)), COCO17) == ""
    crops = torch.randn(2, 3, 64, 96)
    assert old(crops).std() > 0.1
    torch.testing.assert_close(new.eval()(crops), old(crops), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_grown_layers_that_read_all_maps_read_the_same_ones() -> None:
    wider = replace(TINY, width=7, stem=12, planes=5)
    old, new = settled(FaceNet(TINY, 17)), FaceNet(wider, 17)
    initialise(new, seed=5)
    assert start_pose(new, grown(new, begin(old)), COCO17) == ""
    crops = torch.randn(2, 3, 64, 96)
    assert old(crops).std() > 0.1
    torch.testing.assert_close(new.eval()(crops), old(crops), rtol=1e-4, atol=1e-5)

    narrow = settled(person_detector(DetectorConfig(trunk=TINY)))
    wide = person_detector(DetectorConfig(trunk=wider))
    start_detector(wide, begin(narrow), grow=True)
    maps, want = wide.eval().backbone(crops), narrow.backbone(crops)
    assert want["8"].std() > 0.1
    torch.testing.assert_close(maps, want, rtol=1e-4, atol=1e-5)


def test_all_new_channels_learn_and_only_they_are_new() -> None:
    old, new = PoseNet(TINY, 17), PoseNet(replace(TINY, width=6), 17)
    initialise(new, seed=5)
    start_pose(new, grown(new, begin(old)), COCO17)
    optimizer = torch.optim.SGD(new.parameters(), lr=0.1)
    before = {name: value.clone() for name, value in new.named_parameters()}
    for _ in range(2):  # the first step opens the ways from the new channels to the heatmaps
        optimizer.zero_grad()
        new(torch.randn(2, 3, 64, 64)).square().mean().backward()
        optimizer.step()
    weight = "stage4.0.branches.2.0.conv1.weight"
    assert torch.equal(before[weight][:16, :16], old.state_dict()[weight])
    assert not before[weight][:16, 16:].any()
    assert all((value.detach() != before[name]).any() for name, value in new.named_parameters())


def test_a_grown_network_may_get_a_new_head() -> None:
    old, new = PoseNet(TINY, 17), PoseNet(replace(TINY, width=6), 3)
    assert "its head for the 17 keypoints" in start_pose(new, grown(new, begin(old)), STAR)
    more = PoseNet(replace(TINY, width=6), 21)
    points = Skeleton("points", tuple(f"p{i}" for i in range(21)), (), tuple(range(21)))
    before = copied(more)
    assert "its head is replaced" in start_pose(more, grown(more, begin(old, None)), points)
    assert torch.equal(more.final_layer.weight, before["final_layer.weight"])


@pytest.mark.parametrize("other", [replace(TINY, width=8), replace(TINY, blocks=2)])
def test_nothing_grows_out_of_a_wider_or_deeper_network(other: HRNetConfig) -> None:
    new = PoseNet(TINY, 17)
    with pytest.raises(WeightsError, match=r"old\.pth: \d+ weights do not fit"):
        start_pose(new, grown(new, begin(PoseNet(other, 17))), COCO17)
