"""Every model that hrpose knows, one row each, named ``arch.tag``.

Its own rows are here, those of others in ``published``.
"""

from __future__ import annotations

import difflib
from dataclasses import replace

from hrpose.crop import CropSpec
from hrpose.errors import UsageError
from hrpose.models.hrnet import HRNetConfig
from hrpose.options import DEFAULT_DETECTOR, DEFAULT_POSE
from hrpose.skeleton import COCO17
from hrpose.types import Codec, Size
from hrpose.zoo.published import PUBLISHED
from hrpose.zoo.spec import Metric, ModelSpec, Network, TorchvisionModel

__all__ = [
    "DEFAULT_DETECTOR",
    "DEFAULT_POSE",
    "SPECS",
    "Metric",
    "ModelSpec",
    "Network",
    "TorchvisionModel",
    "find_spec",
]

# The narrow trunk is the detector's, too; see `hrpose train detector --trunk`.
_NARROW = HRNetConfig(width=16, stem=32, planes=16, bottlenecks=1, modules=(1, 2, 1), blocks=2)
_WIDE = replace(_NARROW, width=28)
_EMBEDDED_CODEC = Codec(
    stride=4, sigma=2.0, refine="oks", cell_offset=1.5, mirror_shift=False, exact_target=True
)


def _embedded_pose(name: str, network: HRNetConfig, sha256: str) -> ModelSpec:
    return ModelSpec(
        name=f"{name}.hrpose",
        task="pose",
        network=network,
        file=f"{name}.safetensors",
        licence="see the model card in weights/",
        source="comes with hrpose",
        crop=CropSpec(Size(192, 256)),
        codec=_EMBEDDED_CODEC,
        skeleton=COCO17,
        sha256=sha256,
        embedded=True,
    )


_EMBEDDED = (
    _embedded_pose(
        "hrnet_w28thin_256x192",
        _WIDE,
        "78a349a9c46bbdcd276c9d94d20691ed4a991cfb603effd9d78e269ee3ec7f24",
    ),
    _embedded_pose(
        "hrnet_w16thin_256x192",
        _NARROW,
        "6663a6e1d9056d4ebfd9e36610a09cf2dcecf2cfb62a701f72c7fb02c972485f",
    ),
    ModelSpec(
        name=DEFAULT_DETECTOR,
        task="detect",
        network=_NARROW,
        file="fasterrcnn_hrnetv2p_w16thin.safetensors",
        licence="see the model card in weights/",
        source="comes with hrpose",
        sha256="54de482efa50b098d2b29d80eb65466e16b23458f1cbd8b2094cf0c850eb57b0",
        embedded=True,
    ),
)

SPECS: dict[str, ModelSpec] = {spec.name: spec for spec in (*_EMBEDDED, *PUBLISHED)}


def find_spec(name: str) -> ModelSpec:
    """Finds a model by its name.

    Args:
        name: ``arch.tag``, or ``arch`` alone where only one model has it.

    Raises:
        UsageError: No such model, or several; names the closest.
    """
    if name in SPECS:
        return SPECS[name]
    same_arch = [spec for spec in SPECS.values() if spec.arch == name]
    if len(same_arch) == 1:
        return same_arch[0]
    if same_arch:
        names = " or ".join(spec.name for spec in same_arch)
        raise UsageError(f"several models are called {name!r}", hint=f"use {names}")
    close = difflib.get_close_matches(name, SPECS, n=3, cutoff=0.4)
    known = f"did you mean {' or '.join(close)}? " if close else ""
    raise UsageError(f"unknown model {name!r}", hint=f"{known}'hrpose models' lists all")
