"""A file of weights to its table of tensors, without running anything that the file holds.

Every kind of file that people have by mistake is named: an empty one, a web page, a Git LFS
pointer.
"""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from hrpose.errors import WeightsError
from hrpose.zoo.download import MAX_BYTES

_HEAD = 64
# What torch.load and the unpickler raise on damaged files, found by cutting and flipping them.
_DAMAGED = (
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)


def read_checkpoint(path: Path) -> object:
    """Reads a ``.safetensors``, ``.pth`` or ``.pt`` file.

    Args:
        path: The file.

    Returns:
        Whatever it holds, tensors on the CPU: mostly a state dict, maybe wrapped in others.

    Raises:
        WeightsError: Not a file of weights, damaged, or one that would have to run code.
    """
    check_readable(path)
    head = _head(path)
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if path.suffix == ".safetensors":  # some versions of torch.load go by the suffix
        raise WeightsError(
            f"{path} is not a safetensors file", hint="if torch.save wrote it, rename it to .pth"
        )
    if head.startswith(b"PK"):
        return _read_zip(path)
    if head.startswith(b"\x80"):
        return _read_pickle(path, mmap=False)
    raise WeightsError(f"{path} is not a file of weights", hint=_WANTED)


_WANTED = "expected a .safetensors file, or a .pth file written by torch.save"


def check_readable(path: Path) -> None:
    """Refuses what is not a regular file of a plausible size, or is known not to be weights.

    Raises:
        WeightsError: With the reason.
    """
    if not path.exists():
        raise WeightsError(f"{path} does not exist")
    if not path.is_file():
        raise WeightsError(f"{path} is not a file")
    size = path.stat().st_size
    if size == 0:
        raise WeightsError(f"{path} is empty", hint="get the file again")
    if size > MAX_BYTES:
        raise WeightsError(f"{path} has {size} bytes, more than any model")
    start = _head(path).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        raise WeightsError(
            f"{path} is a web page, not a file of weights",
            hint="the site asked for a login or a confirmation; download it in a browser",
        )
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path} is a Git LFS pointer, not the weights themselves", hint="run 'git lfs pull'"
        )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


def _read_safetensors(path: Path) -> object:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, *_DAMAGED) as error:
        raise _damaged(path, error) from error


def _read_zip(path: Path) -> object:
    try:
        with zipfile.ZipFile(path) as archive:
            packed = any(m.compress_type != zipfile.ZIP_STORED for m in archive.infolist())
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    if packed:  # torch.save never packs; a small file could unpack to more than memory holds
        raise WeightsError(f"{path} is a compressed archive, not a file of weights", hint=_WANTED)
    return _read_pickle(path, mmap=True)


def _read_pickle(path: Path, *, mmap: bool) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):  # about odd pickles, which fail or do not
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "not an allowed global" in str(error):
            raise WeightsError(
                f"{path} holds Python objects besides weights, and reading them could run any code",
                hint="ask its author for a .safetensors file, or convert it where you trust it",
            ) from error
        raise _damaged(path, error) from error
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> WeightsError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return WeightsError(f"{path} is damaged: {lines[0][:200]}", hint="get the file again")
