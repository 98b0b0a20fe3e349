"""Weights to start a training from, and what of a network they leave new."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from hrpose.errors import WeightsError
from hrpose.models.detection import load_trunk, trunk_weights
from hrpose.models.hrnet import HRNetConfig, config_of
from hrpose.skeleton import Skeleton
from hrpose.zoo.checkpoint import read_checkpoint
from hrpose.zoo.convert import rename, task_of, unwrap
from hrpose.zoo.files import locate
from hrpose.zoo.own import read_header, spec_of
from hrpose.zoo.specs import find_spec

_SAME = "start from weights of the same network"

# Parts of published HRNets that a pose network does not have: heads, and the paths to coarse maps
# at the end of stage 4. Any other weight without a place means that the networks differ.
_OF_OTHER_HEADS = re.compile(
    r"(incre_modules|downsamp_modules|final_layer|classifier|head)\."
    r"|stage4\.\d+\.fuse_layers\.[123]\."
)
# Layers that read the trunk's four maps concatenated: of the V2p pyramid, and of the V2 head.
_READS_ALL_MAPS = re.compile(r"(^backbone\.pyramid\.reduction_conv|^head\.0)\.weight$")


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Weights by the names of hrpose's networks.

    Attributes:
        name: The file or model they came from, as the user gave it.
        weights: The weights.
        skeleton: What their heatmaps are of, or None where that is not known.
    """

    name: str
    weights: Mapping[str, Tensor]
    skeleton: Skeleton | None

    @property
    def of_detector(self) -> bool:
        """Whether they are of a detector; else a pose network's, or another HRNet's."""
        return bool(trunk_weights(self.weights))

    def trunk(self) -> HRNetConfig:
        """The numbers of the HRNet in them.

        Raises:
            WeightsError: There is none.
        """
        try:
            return config_of(trunk_weights(self.weights) or self.weights)
        except ValueError as error:
            raise WeightsError(
                f"{self.name}: {error}", hint="start from a pose model, or a detector of hrpose's"
            ) from error


def read_start(init: str) -> Start:
    """Reads weights of a file, of one of our checkpoints (their average), or of a model by name.

    Args:
        init: File or name.

    Raises:
        UsageError: Neither a file nor a model.
        WeightsError: The file holds no weights.
    """
    path, skeleton = Path(init), None
    if path.exists():  # a file goes before a model, as its name is more exact
        about = read_header(path)
        skeleton = spec_of(path).skeleton if "model" in about else None
    else:
        spec = find_spec(init)
        path, skeleton = locate(spec), spec.skeleton
    loaded = read_checkpoint(path)
    if isinstance(loaded, Mapping) and "average" in loaded:
        loaded = loaded["average"]
    weights = unwrap(loaded)
    return Start(init, rename(weights, task_of(weights)), skeleton)


def grown(network: nn.Module, begin: Start) -> Start:
    """Weights of a narrower network in the first channels of a wider one.

    The wider network then computes what the narrower one did: it keeps its own weights for the
    channels that are new, but nothing reads those yet, as their weights in the old channels are 0.
    Unlike the copies of old channels of Net2Net (Chen et al. 2016), new ones differ from the start.

    Args:
        network: With new weights; of the same layers, with as many channels or more.
        begin: Weights of the narrower network.

    Returns:
        Weights of the network's shapes; those with no place in it are as they were, for
        :func:`start` and :func:`start_pose` to judge.
    """
    own, last = network.state_dict(), _last(network)
    weights = dict(begin.weights)
    for name, value in begin.weights.items():
        # heatmaps are no channels: other keypoints need a new head
        if name in own and (name not in last or len(value) == len(own[name])):
            places = _places(own, begin) if _READS_ALL_MAPS.search(name) else None
            weights[name] = _grown(own[name], value, places)
    return Start(begin.name, weights, begin.skeleton)


def _places(own: Mapping[str, Tensor], begin: Start) -> Tensor:
    """Where the channels of all old maps, one behind the other, lie among those of the new."""
    old, new = begin.trunk().channels, config_of(trunk_weights(own) or own).channels
    starts = itertools.accumulate(new, initial=0)
    return torch.cat([torch.arange(count) + at for count, at in zip(old, starts, strict=False)])


def _grown(new: Tensor, old: Tensor, places: Tensor | None) -> Tensor:
    """An old tensor in a new one whose other inputs are 0.

    In its first corner, or with its inputs at certain ``places`` among the new ones.
    """
    widths = min(2, new.ndim)
    larger = new.ndim == old.ndim and all(n >= o for n, o in zip(new.shape, old.shape, strict=True))
    if not larger or new.shape == old.shape or new.shape[widths:] != old.shape[widths:]:
        return old
    value = new.clone()
    value[: len(old)] = 0
    if places is None:
        value[tuple(slice(side) for side in old.shape)] = old.to(value)
    else:
        value[: len(old), places] = old.to(value)
    return value


def start(network: nn.Module, begin: Start) -> None:
    """Copies weights, which must fit.

    Raises:
        WeightsError: They do not; the first one is named.
    """
    own = network.state_dict()
    misfits = [n for n, v in begin.weights.items() if n not in own or own[n].shape != v.shape]
    misfits += own.keys() - begin.weights.keys()
    _refuse(begin, misfits)
    network.load_state_dict(begin.weights)


def start_detector(network: FasterRCNN, begin: Start, *, grow: bool = False) -> None:
    """Copies weights of a detector, or of a pose network into the trunk.

    Args:
        network: From ``models.detection.person_detector``.
        begin: Where from.
        grow: Whether they may be of a narrower network, see :func:`grown`.

    Raises:
        WeightsError: They do not fit; the first one is named.
    """
    part = network if begin.of_detector else network.backbone.trunk
    if grow:
        begin = grown(part, begin)
    if begin.of_detector:
        start(network, begin)
        return
    try:
        load_trunk(network, begin.weights)
    except ValueError as error:
        raise WeightsError(f"{begin.name}: {error}", hint=_SAME) from error


def start_pose(network: nn.Module, begin: Start, skeleton: Skeleton) -> str:
    """Copies weights into a pose network, but for the output layer of another skeleton.

    Args:
        network: With new weights; its ``output`` makes the heatmaps.
        begin: Weights of the same trunk: of a pose network, or of a network with another head.
        skeleton: What the network is to find.

    Returns:
        What was left new, in a sentence; nothing if all weights were copied.

    Raises:
        WeightsError: The weights are of another network; the first that does not fit is named.
    """
    own = network.state_dict()
    last = _last(network)
    fits = all(n in begin.weights and begin.weights[n].shape == own[n].shape for n in last)
    known = begin.skeleton
    replaced = not fits or (known is not None and known.keypoints != skeleton.keypoints)
    wanted = own.keys() - last if replaced else own.keys()
    misfits = [
        n for n in wanted if n not in begin.weights or begin.weights[n].shape != own[n].shape
    ]
    strange = [n for n in begin.weights if n not in own and not _OF_OTHER_HEADS.match(n)]
    _refuse(begin, misfits + strange)
    network.load_state_dict({n: begin.weights[n] for n in wanted}, strict=False)
    if not replaced:
        return ""
    old = f" for the {len(known)} keypoints of {known.name}" if known else ""
    return (
        f"{begin.name}: its head{old} is replaced by a new one for the {len(skeleton)} keypoints of"
        f" {skeleton.name}, the other {len(wanted)} weights are kept"
    )


def _last(network: nn.Module) -> set[str]:
    """Names of the weights that make the heatmaps; none of a detector's."""
    output = getattr(network, "output", None)
    return {
        f"{name}.{part}"
        for name, module in network.named_modules()
        if module is output
        for part in module.state_dict()
    }


def _refuse(begin: Start, misfits: list[str]) -> None:
    if misfits:
        raise WeightsError(
            f"{begin.name}: {len(misfits)} weights do not fit the network, first {misfits[0]!r}",
            hint=_SAME,
        )
