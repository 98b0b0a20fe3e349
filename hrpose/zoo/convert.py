"""Names of weights in other projects' checkpoints to the names of hrpose's networks.

The official checkpoints have our names, which are theirs. What differs elsewhere is in the tables
below, and nothing else is changed: in mmpose's pose HRNets the last module of stage 4 has only the
paths to the finest map (``multiscale_output`` is False), as in the official ones, so that keys
match one to one after the prefixes. Its face HRNets have all paths, as the official ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from hrpose.errors import WeightsError

WRAPPERS = ("state_dict", "model")
"""Keys under which trainers put the weights beside epoch, optimizer and the like."""

PREFIXES: dict[str, tuple[tuple[str, str], ...]] = {
    "pose": (
        ("module.", ""),  # torch.nn.DataParallel
        ("backbone.", ""),  # mmpose
        ("keypoint_head.final_layer.", "final_layer."),  # mmpose 0.x
        ("head.final_layer.", "final_layer."),  # mmpose 1.x
    ),
    "face": (
        ("module.", ""),
        ("backbone.", ""),
        ("keypoint_head.final_layer.", "head."),  # mmpose 0.x
        ("head.conv_layers.", "head."),  # mmpose 1.x
        ("head.final_layer.", "head.3."),  # mmpose 1.x
    ),
    "classify": (("module.", ""),),
    "detect": (("module.", ""),),
}
"""For each task the prefixes to replace, tried in this order, each at most once a name."""

TORCHVISION_OLD_NAMES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)"), r"\1.0.\2"),
    (re.compile(r"(rpn\.head\.conv)\.(weight|bias)"), r"\1.0.0.\2"),
)
"""Names before torchvision made blocks of these convolutions, as its older files have them."""


def unwrap(loaded: object) -> Mapping[str, Tensor]:
    """Takes the weights out of what a checkpoint file held.

    Args:
        loaded: A state dict, or a mapping with one under a key of :data:`WRAPPERS`.

    Raises:
        WeightsError: There is no state dict.
    """
    for _ in range(2):
        if isinstance(loaded, Mapping):
            loaded = next((loaded[key] for key in WRAPPERS if _wraps(loaded, key)), loaded)
    if not isinstance(loaded, Mapping) or not loaded:
        raise WeightsError("holds no table of weights")
    strange = [key for key, value in loaded.items() if not isinstance(value, Tensor)]
    if strange or not all(isinstance(key, str) for key in loaded):
        shown = ", ".join(map(str, strange[:3]))
        raise WeightsError(f"holds other things than weights: {shown}")
    return loaded


def _wraps(table: Mapping[object, object], key: str) -> bool:
    return isinstance(table.get(key), Mapping)


def task_of(weights: Mapping[str, Tensor]) -> str:
    """Guesses by the names in a file for what task its weights are; poses unless they tell."""
    plain = {name.removeprefix("module.") for name in weights}
    if any(".roi_heads." in f".{name}" for name in plain):
        return "detect"
    if "classifier.weight" in plain:
        return "classify"
    face = {"head.3.weight", "keypoint_head.final_layer.3.weight", "head.conv_layers.0.weight"}
    return "face" if face & plain else "pose"


def rename(weights: Mapping[str, Tensor], task: str) -> dict[str, Tensor]:
    """Gives weights the names of hrpose's networks.

    Args:
        weights: By the names in the file.
        task: A key of :data:`PREFIXES`.

    Raises:
        WeightsError: Two weights get the same name.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        own = _own_name(name, task)
        if own in renamed:
            raise WeightsError(f"has two weights for {own}")
        renamed[own] = value
    return renamed


def _own_name(name: str, task: str) -> str:
    for prefix, replacement in PREFIXES[task]:
        if name.startswith(prefix):
            name = replacement + name.removeprefix(prefix)
    if task == "detect":
        for pattern, replacement in TORCHVISION_OLD_NAMES:
            if match := pattern.fullmatch(name):
                name = match.expand(replacement)
    return name
