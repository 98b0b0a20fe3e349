"""Where inputs come from: folders of pictures, and the check every input file passes first."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from hrpose.errors import InputError

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"}
    | {".ppm", ".pgm", ".pnm"}
)


def pictures(folder: Path) -> list[Path]:
    """Lists the picture files below a folder, at any depth, sorted by path.

    A file counts by its suffix, in any case; whether it really is a picture shows when it is read.
    Names that start with a dot are skipped, folders too: they hold thumbnails, the "._" twins
    macOS writes, and the unfinished files of this program. Links to files are taken, links to
    folders are not entered (they can form a loop, or lead out of the folder).

    Args:
        folder: An existing folder.

    Returns:
        At least one path, each starting with ``folder`` as given.

    Raises:
        InputError: The folder is missing, is no folder, cannot be listed, or holds no picture.
    """
    found = [path for path in files_below(folder) if path.suffix.lower() in SUFFIXES]
    if not found:
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise InputError(f"{folder}: no pictures in this folder", hint=f"suffixes read: {kinds}")
    return sorted(found)


def files_below(folder: Path) -> list[Path]:
    """Lists the files below a folder as :func:`pictures` does, whatever they are, unsorted.

    Raises:
        InputError: The folder is missing, is no folder, or cannot be listed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise InputError(f"{folder}: not a folder", hint="name the folder that holds the file")
        raise InputError(f"{folder}: no such folder", hint="check the spelling of the path")
    found: list[Path] = []
    for parent, below, names in os.walk(folder, onerror=_refuse):
        below[:] = [name for name in below if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return found


def natural(text: str) -> tuple[tuple[str | int, ...], str]:
    """A sort key by which ``a2`` comes before ``a10``.

    >>> sorted(["a10", "a2", "b"], key=natural)
    ['a2', 'a10', 'b']
    """
    parts = re.split(r"([0-9]+)", text)  # text and number alternate, so like meets like
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), text


def _refuse(error: OSError) -> None:
    # os.walk is silent about folders it cannot list; silence would be a missing result.
    raise InputError(
        f"{error.filename}: folder cannot be listed: {error.strerror}",
        hint="check the permissions of the folder",
    ) from error


def require_file(path: Path, *, error: type[InputError]) -> None:
    """Checks that a path is a regular file with content, without opening it.

    Opening a FIFO would wait for ever and reading a device would never end, so this comes first.

    Raises:
        InputError: Of the class ``error``; anything but a non-empty regular file.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        what = "link to a file that does not exist" if path.is_symlink() else "no such file"
        raise error(
            f"{path}: {what}", hint="check the spelling; only local files are read"
        ) from None
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the name
        reason = cause.strerror if isinstance(cause, OSError) else str(cause)
        raise error(
            f"{path}: cannot be read: {reason}", hint="check path and permissions"
        ) from cause
    if stat.S_ISDIR(status.st_mode):
        raise error(
            f"{path}: is a folder, not a file", hint="hrpose batch reads folders of pictures"
        )
    if not stat.S_ISREG(status.st_mode):
        raise error(
            f"{path}: not a regular file", hint="pipes and devices are not read; save to a file"
        )
    if status.st_size == 0:
        raise error(f"{path}: file is empty", hint="copy or download the file again")
