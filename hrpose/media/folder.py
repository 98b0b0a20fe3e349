"""A folder of results that appears whole or not at all, as ``output.py`` does for files."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hrpose.errors import OutputError
from hrpose.media.output import sync_folder, temporary_name, write_error

Own = Callable[[str], bool]


def check_folder(path: Path, *, own: Own, force: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuses an output folder early, before any work is done for it. Writes nothing.

    Args:
        path: The folder of results; it may exist if it is empty.
        own: Whether a file of this name is such a result.
        force: Allow a folder that holds nothing but results to be replaced.
        inputs: Files and folders that are being read. The output may be none of them.

    Raises:
        OutputError: The path is an input, a file or a link, holds anything but results (also with
            ``force``) or anything at all (without), or its own folder is missing or not writable.
    """
    path = Path(path)
    if any(_same(path, Path(source)) for source in inputs):
        raise OutputError(f"{path}: output is the input", hint="choose another output name")
    _check_target(path, own=own, force=force)
    parent = path.parent
    if not parent.is_dir():
        raise OutputError(f"{path}: folder {parent} does not exist", hint="create the folder first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: folder {parent} is not writable", hint="choose another folder")


@contextmanager
def atomic_folder(
    path: Path, *, own: Own, force: bool = False, inputs: Sequence[Path] = ()
) -> Iterator[Path]:
    """Yields a temporary folder to fill; it takes the final name only when the block succeeds.

    It lies beside ``path`` under a hidden name. After the block its files are brought to disk and
    it is renamed; a folder that was at ``path`` is moved aside first and removed last, file by
    file, and only if it still holds nothing but results. Whatever goes wrong, Ctrl-C included,
    the temporary folder is removed and what was at ``path`` is untouched.

    Args:
        path: Final name.
        own: Whether a file of this name is a result.
        force: Replace an existing folder of results.
        inputs: What is being read; ``path`` may be none of it.

    Raises:
        OutputError: As :func:`check_folder`; or an ``OSError`` while writing.
    """
    path = Path(path)
    check_folder(path, own=own, force=force, inputs=inputs)
    temporary = path.with_name(temporary_name(path))
    try:
        temporary.mkdir()
        try:
            yield temporary
            _sync(temporary)
            _check_target(path, own=own, force=force)  # somebody may have been faster
            _replace(temporary, path, own)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error


def _same(first: Path, second: Path) -> bool:
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):  # one does not exist
        return False


def _check_target(path: Path, *, own: Own, force: bool) -> None:
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise OutputError(f"{path}: is not a folder", hint="choose another output name")
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if not _result(entry, own)]
            empty = not names and not os.listdir(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OutputError(f"{path}: cannot be written: {reason}", hint="check the path") from error
    if names:
        raise OutputError(
            f"{path}: the folder holds other things than results: {min(names)}",
            hint="name a new folder; --force replaces results only",
        )
    if not empty and not force:
        raise OutputError(
            f"{path}: already exists", hint="use --force to replace it, or another name"
        )


def _result(entry: os.DirEntry[str], own: Own) -> bool:
    return own(entry.name) and entry.is_file(follow_symlinks=False)


def _replace(temporary: Path, path: Path, own: Own) -> None:
    if not os.path.lexists(path):
        temporary.rename(path)
        return
    aside = path.with_name(temporary_name(path))
    path.rename(aside)
    try:
        temporary.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    with os.scandir(aside) as entries:
        results = [entry.path for entry in entries if _result(entry, own)]
    for result in results:
        os.unlink(result)
    aside.rmdir()


def _sync(folder: Path) -> None:
    if hasattr(os, "sync"):  # one call for all files; a million times fsync takes an hour
        os.sync()
    sync_folder(folder)
