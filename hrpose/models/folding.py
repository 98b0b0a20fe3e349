"""Batch norms folded into the convolutions before them, for inference."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Folds every convolution and the batch norm that follows it, in place.

    Pairs are neighbours in a ``Sequential``, and ``convN`` / ``bnN`` of a residual block or stem.
    The outputs change by float rounding only (measured in ``tests/models/test_folding.py``).

    Args:
        network: In eval mode.

    Returns:
        The same network.

    Raises:
        ValueError: The network is in training mode.
    """
    if network.training:
        raise ValueError("only a network in eval mode can be folded")
    for module in list(network.modules()):
        names = list(module._modules)
        for first, second in _pairs(module, names):
            conv, norm = module._modules[first], module._modules[second]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module._modules[first] = fuse_conv_bn_eval(conv, norm)
                module._modules[second] = nn.Identity()
    return network


def _pairs(module: nn.Module, names: list[str]) -> list[tuple[str, str]]:
    if isinstance(module, nn.Sequential):
        return list(pairwise(names))
    convs = [name for name in names if name.startswith("conv")]
    return [(n, f"bn{n[4:]}") for n in convs if f"bn{n[4:]}" in names]
