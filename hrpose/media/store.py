"""Pictures by name, from folders and ZIP files: how data sets are read."""

from __future__ import annotations

import threading
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hrpose.errors import InputError
from hrpose.media.image import decode_image

CACHE_BYTES = 4 << 30


class Pictures:
    """Reads pictures by name from folders and ZIP files, and keeps decoded ones in memory.

    Safe to use from several threads.

    Args:
        roots: Folders (holding pictures, or the ZIP shards the labels name) and ZIP files.
        cache_bytes: Decoded pixels kept in memory; when full, later pictures are read anew.
        upright: Whether EXIF orientation is applied.

    Raises:
        InputError: A root does not exist or is no ZIP.
    """

    def __init__(
        self, roots: Sequence[Path], *, cache_bytes: int = CACHE_BYTES, upright: bool = True
    ) -> None:
        missing = next((root for root in roots if not root.exists()), None)
        if missing is not None or not roots:
            raise InputError(f"{missing or 'no picture folder'}: not found", hint="check --images")
        self._folders = [root for root in roots if root.is_dir()]
        self._archives: dict[str, zipfile.ZipFile] = {}
        self._members: dict[str, str] = {}
        for root in roots:
            if not root.is_dir():
                self._open(root.name, root)
        self._cache: dict[tuple[str, str], Tensor] = {}
        self._room, self._upright = cache_bytes, upright
        self._shelf = _Shelf()
        self._lock = threading.Lock()

    def read(self, name: str, *, shard: str = "") -> Tensor:
        """Reads one picture.

        Args:
            name: File name, relative to a root or within a ZIP.
            shard: Name of the ZIP that holds it, if the labels say.

        Returns:
            (3, H, W) uint8 RGB; shared with the cache, so not to be changed.

        Raises:
            InputError: The picture is not there or cannot be decoded.
        """
        key = (shard, name)
        if key in self._cache:
            return self._cache[key]
        image = decode_image(self._bytes(name, shard), name, upright=self._upright).image
        with self._lock:
            if image.numel() <= self._room and key not in self._cache:
                self._room -= image.numel()
                self._cache[key] = self._shelf.put(image)
        return image

    def _bytes(self, name: str, shard: str) -> bytes:
        for folder in self._folders:
            if (folder / name).is_file():
                return (folder / name).read_bytes()
        with self._lock:  # a ZipFile has one file position
            shard = shard or self._members.get(name, "")
            if shard and shard not in self._archives:
                for folder in self._folders:
                    if (folder / shard).is_file():
                        self._open(shard, folder / shard)
            if shard in self._archives:
                try:
                    return self._archives[shard].read(name)
                except (KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
                    raise InputError(
                        f"{shard}: {name}: {error}", hint="copy the ZIP again"
                    ) from error
        where = f" (shard {shard})" if shard else ""
        raise InputError(f"{name}{where}: not found", hint="check --images")

    def _open(self, name: str, path: Path) -> None:
        try:
            archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path}: {error}", hint="--images takes folders and ZIP files"
            ) from error
        self._archives[name] = archive
        self._members.update(dict.fromkeys(archive.namelist(), name))


class _Shelf:
    """Memory of kept pictures, in large blocks of its own.

    Kept one by one among the short-lived megabytes of training, pictures pinned the C library's
    heap: 7.3 GB after 375 steps at 192 x 256 instead of 2.6. Blocks of this size it maps singly.
    """

    BLOCK = 64 << 20  # glibc never takes blocks above 32 MiB from its heap

    def __init__(self) -> None:
        self._block = torch.empty(0, dtype=torch.uint8)

    def put(self, image: Tensor) -> Tensor:
        """A copy of the picture that lies in the current block, or in a new one."""
        size = image.numel()
        if size > len(self._block):
            self._block = torch.empty(max(self.BLOCK, size), dtype=torch.uint8)
        place, self._block = self._block[:size], self._block[size:]
        return place.view(image.shape).copy_(image)
