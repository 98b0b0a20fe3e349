"""A trained network as a file: half precision where it is harmless, and where it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from hrpose.media.output import atomic_output


def export(network: nn.Module, path: Path, *, about: Mapping[str, object]) -> None:
    """Writes the weights as safetensors.

    Matrices and kernels go to float16; biases, norms and running statistics stay as they are:
    their small values would lose digits or vanish.

    Args:
        network: Trained, on any device.
        path: Final name; replaced if it exists.
        about: Written to the header as JSON text by name: model, data, settings, steps.

    Raises:
        OutputError: The file cannot be written.
    """
    tensors = {
        name: value.detach()
        .to("cpu", torch.float16 if value.ndim > 1 else value.dtype)
        .contiguous()
        for name, value in network.state_dict().items()
    }
    metadata = {"format": "pt", **{key: json.dumps(value) for key, value in about.items()}}
    with atomic_output(path, force=True) as part:
        part.write_bytes(save(tensors, metadata=metadata))
