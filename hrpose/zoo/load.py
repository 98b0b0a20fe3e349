"""From a model's name to a network with its weights.

A file is distrusted until its bytes have the expected hash, its weights have exactly the names and
shapes of the network, and every number is finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_weight
from torchvision.ops import FrozenBatchNorm2d

from hrpose.errors import UsageError, WeightsError
from hrpose.models.detection import DetectorConfig, person_detector, trunk_weights
from hrpose.models.hrnet import HRNet, HRNetConfig, config_of
from hrpose.models.networks import NETWORKS
from hrpose.zoo import files
from hrpose.zoo.checkpoint import check_readable, read_checkpoint
from hrpose.zoo.convert import rename, task_of, unwrap
from hrpose.zoo.download import locked, sha256_of
from hrpose.zoo.own import find_model
from hrpose.zoo.specs import SPECS, ModelSpec, Network, TorchvisionModel, find_spec

SHOWN = 3


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A network with its weights.

    Attributes:
        spec: What is known about it.
        network: On the CPU, float32, in eval mode, without gradients. A network for poses or faces
            maps (B, 3, h, w) to (B, K, h/4, w/4), a classifier to (B, classes); a detector is
            torchvision's ``FasterRCNN``.
        sha256: Of the file that was read, 64 hexadecimal digits.
    """

    spec: ModelSpec
    network: nn.Module
    sha256: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A checkpoint of the user's that became a model of the cache.

    Attributes:
        path: The file that was made.
        published: Whether the user's file is the published one, or None if that one's hash is
            not known.
    """

    path: Path
    published: bool | None


def load(name: str, *, path: Path | None = None) -> LoadedModel:
    """Loads a model.

    Args:
        name: ``arch.tag``, or ``arch`` alone where that is unambiguous; or a file that
            ``hrpose train`` has written.
        path: A checkpoint to read instead of the model's own file.

    Returns:
        The network, ready for inference.

    Raises:
        UsageError: There is no such model.
        WeightsError: Its weights are missing, damaged, or another network's.
    """
    spec, own_file = find_model(name)
    path = path or own_file
    expected = ""
    if path is None:
        path = files.locate(spec)
        expected = files.expected_hash(spec, path)
    check_readable(path)
    found = sha256_of(path)
    if not found.startswith(expected):
        raise WeightsError(
            f"{path} is damaged or another file: its SHA-256 is {found}, expected {expected}",
            hint=f"remove it and get {spec.name} again",
        )
    return LoadedModel(spec, _network_from(path, spec), found)


def add(file: Path, name: str) -> Imported:
    """Imports a checkpoint that the user has: checks that it fits, and copies it to the cache.

    Args:
        file: A ``.safetensors`` or ``.pth`` file.
        name: The model that it is to be.

    Returns:
        Where the copy is, and whether the file was the published one.

    Raises:
        UsageError: There is no such model, or it comes with hrpose.
        WeightsError: The file is damaged, another network's, or known as another model.
    """
    spec = find_spec(name)
    if spec.embedded:
        raise UsageError(f"{spec.name} comes with hrpose", hint="import the file as another model")
    check_readable(file)
    source = sha256_of(file)
    for other in SPECS.values():
        if other is not spec and other.expected_hash and source.startswith(other.expected_hash):
            raise WeightsError(
                f"{file} is the published file of {other.name}", hint=f"use --as {other.name}"
            )
    network = _network_from(file, spec)
    files.make_home()
    target = files.imported(spec)
    try:
        with locked(target):
            _keep(network, target, metadata={"model": spec.name, "source_sha256": source})
    except OSError as error:
        raise WeightsError(f"cannot write {target}: {error.strerror or error}") from error
    known = spec.expected_hash
    return Imported(target, source.startswith(known) if known else None)


def _keep(network: nn.Module, target: Path, *, metadata: dict[str, str]) -> None:
    part = target.with_name(target.name + ".part")
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    safetensors.torch.save_file(state, part, metadata=metadata)
    files.settle_imported(part, target, sha256=sha256_of(part))


def _network_from(path: Path, spec: ModelSpec) -> nn.Module:
    loaded = read_checkpoint(path)
    try:
        weights = unwrap(loaded)
        own = rename(weights, spec.task)
    except WeightsError as error:
        raise WeightsError(f"{path} {error.message}") from error
    network = build(_with_own_trunk(spec, own))
    own = _without_unused(own, network)
    expected = network.state_dict()
    if misfit := _misfit(own, expected):
        raise WeightsError(f"{path} does not fit {spec.name}: {misfit}", hint=lookalike(weights))
    if bad := [name for name, value in own.items() if not torch.isfinite(value).all()]:
        raise WeightsError(f"{path} has weights that are not finite: {_shown(bad)}")
    exact = {name: value.to(expected[name].dtype).contiguous() for name, value in own.items()}
    network.load_state_dict(exact, assign=True)
    return network.eval().requires_grad_(False)


def _with_own_trunk(spec: ModelSpec, weights: Mapping[str, Tensor]) -> ModelSpec:
    """The row of a detector of hrpose's with the trunk that a user has given it."""
    if spec.task != "detect" or not isinstance(spec.network, HRNetConfig):
        return spec
    trunk = trunk_weights(weights)
    try:
        config = config_of(trunk)
    except ValueError:
        return spec
    with torch.device("meta"):  # a few weights may promise a network that fits no memory
        expected = HRNet(config).state_dict()
    return spec if _misfit(trunk, expected) else replace(spec, network=config)


def build(spec: ModelSpec) -> nn.Module:
    """Makes a model's network without its weights.

    An HRNet comes on the meta device, so that no time goes into numbers which the checkpoint
    replaces; a detector does not, since torchvision's anchors are tensors outside its state.
    """
    if isinstance(spec.network, TorchvisionModel):
        return _build_torchvision(spec.network)
    if spec.task == "detect":
        detector: nn.Module = person_detector(DetectorConfig(trunk=spec.network))
        return detector
    with torch.device("meta"):
        return NETWORKS[spec.task](spec.network, spec.outputs)


def _build_torchvision(model: TorchvisionModel) -> nn.Module:
    classes = len(get_weight(model.weights).meta["categories"])
    network: nn.Module = get_model(
        model.builder, weights=None, weights_backbone=None, num_classes=classes
    )
    if model.frozen_eps is not None:
        _freeze_norms(network, model.frozen_eps)
    return network


def _freeze_norms(module: nn.Module, eps: float) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, eps=eps))
        else:
            _freeze_norms(child, eps)


def _without_unused(weights: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Leaves out counters that a file may have of training with norms that are frozen here."""
    frozen = {name for name, m in network.named_modules() if isinstance(m, FrozenBatchNorm2d)}
    counters = {f"{name}.num_batches_tracked" for name in frozen}
    return {name: value for name, value in weights.items() if name not in counters}


def _misfit(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """What keeps weights from being those of a network, or an empty string."""
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    both = [name for name in expected if name in weights]
    shapes = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in both
        if weights[name].shape != expected[name].shape
    ]
    kinds = [
        f"{name} {weights[name].dtype} {weights[name].layout}"
        for name in both
        if weights[name].is_floating_point() != expected[name].is_floating_point()
        or weights[name].is_complex()
        or weights[name].layout != torch.strided
    ]
    found = ((missing, "missing"), (unexpected, "unexpected"), (shapes, "of another shape"))
    return "; ".join(
        f"{len(names)} {what} ({_shown(names)})"
        for names, what in (*found, (kinds, "of another kind"))
        if names
    )


def _shown(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def lookalike(weights: Mapping[str, Tensor]) -> str:
    """Says in a sentence which model has weights of these names and shapes."""
    fitting = [spec.name for group in _kin(weights) if _fits(weights, group[0]) for spec in group]
    if fitting:
        return f"it fits {' and '.join(fitting)}"
    try:
        own = rename(weights, task_of(weights))
    except WeightsError:
        own = dict(weights)
    if any(name.startswith("deconv_layers.") for name in own):
        return "it looks like SimpleBaseline (pose_resnet), which hrpose does not have"
    branch = own.get(_FINEST)
    if branch is None or branch.ndim != 4:
        return "it looks like no model that hrpose knows"
    return f"it looks like an HRNet of width {len(branch)} with {_head(own)}"


_FINEST = "stage2.0.branches.0.0.conv1.weight"
# The weight that makes the answer, for each task with one; its length is the number of answers.
_OUTPUTS = {
    "pose": ("final_layer.weight", "keypoints"),
    "face": ("head.3.weight", "keypoints"),
    "classify": ("classifier.weight", "classes"),
}


def _head(weights: Mapping[str, Tensor]) -> str:
    found = ((weights[name], what) for name, what in _OUTPUTS.values() if name in weights)
    return next((f"{len(value)} {what}" for value, what in found), "no keypoint head")


def _kin(weights: Mapping[str, Tensor]) -> list[list[ModelSpec]]:
    """Models of the task that weights are for, those of one network together."""
    task = task_of(weights)
    groups: dict[tuple[Network, int], list[ModelSpec]] = {}
    for spec in SPECS.values():
        if spec.task == task:
            groups.setdefault((spec.network, spec.outputs), []).append(spec)
    return list(groups.values())


def _fits(weights: Mapping[str, Tensor], spec: ModelSpec) -> bool:
    try:
        own = rename(weights, spec.task)
    except WeightsError:
        return False
    if spec.task in _OUTPUTS and isinstance(spec.network, HRNetConfig):  # most need not be built
        head, finest = own.get(_OUTPUTS[spec.task][0]), own.get(_FINEST)
        if head is None or finest is None or head.shape[:1] != (spec.outputs,):
            return False
        if finest.shape[:1] != (spec.network.width,):
            return False
    network = build(spec)
    return not _misfit(_without_unused(own, network), network.state_dict())
