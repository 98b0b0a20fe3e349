"""Results that appear whole or not at all: temporary file beside the target, fsync, rename."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hrpose.errors import OutputError

_NO_DIRECTORY_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES})


def check_output(path: Path, *, force: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuses an output path early, before any work is done for it. Writes nothing.

    Args:
        path: Where the result shall go.
        force: Allow an existing regular file, or a link, to be replaced.
        inputs: Files that are being read. The output may be none of them under any name (hard or
            symbolic link, other spelling), not even with ``force``.

    Raises:
        OutputError: The path is an input, exists (without ``force``), is a folder, a device or a
            pipe, or its folder is missing or not writable.
    """
    path = Path(path)
    for source in inputs:
        if _same_file(path, Path(source)):
            raise OutputError(
                f"{path}: output is the input file {source}", hint="choose another output name"
            )
    _check_target(path, force=force)
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: folder {folder} does not exist", hint="create the folder first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: folder {folder} is not writable", hint="choose another folder")


def _same_file(first: Path, second: Path) -> bool:
    # realpath differs for hard links; samefile compares device and inode.
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):  # one does not exist; then they are not the same
        return False


def _check_target(path: Path, *, force: bool) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OutputError(f"{path}: cannot be written: {reason}", hint="check the path") from error
    if stat.S_ISDIR(mode):
        raise OutputError(f"{path}: is a folder", hint="name a file in it")
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise OutputError(f"{path}: is a device or a pipe", hint="name a regular file")
    if not force:
        raise OutputError(
            f"{path}: already exists", hint="use --force to replace it, or another name"
        )


@contextmanager
def atomic_output(
    path: Path, *, force: bool = False, inputs: Sequence[Path] = ()
) -> Iterator[Path]:
    """Yields a temporary file to write; it takes the final name only when the block succeeds.

    The temporary file ``.<name>.<random>.part<suffix>`` lies in the folder of ``path`` and exists,
    empty, from the start, so a folder that cannot be written fails at once. After the block it is
    synced to disk and renamed. Whatever goes wrong, Ctrl-C included, it is removed and a file that
    was at ``path`` is untouched. After a SIGKILL it stays, and the final name is not there.

    Where ``path`` is a symbolic link and ``force`` is set, the link is replaced by a regular file;
    the file it pointed to stays as it was.

    Args:
        path: Final name.
        force: Replace an existing file.
        inputs: Files that are being read; ``path`` may be none of them.

    Raises:
        OutputError: As `check_output`; or an ``OSError`` while writing (disk full, file vanished).
    """
    path = Path(path)
    check_output(path, force=force, inputs=inputs)
    temporary = path.with_name(temporary_name(path))
    try:
        # O_EXCL: never follow or reuse what somebody else put there.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            yield temporary
            _sync(temporary)
            _check_target(path, force=force)  # somebody may have been faster
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except BrokenPipeError:  # stdout of the caller, not our file
        raise
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> OutputError:
    """What to raise when writing to ``path`` failed."""
    return OutputError(f"{path}: cannot be written: {_reason(error)}", hint=_hint(error))


def temporary_name(path: Path) -> str:
    """A new hidden name for a file or folder that shall become ``path``."""
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= 16 else ""
    # File systems allow 255 bytes; a long name is cut, on a byte border that stays decodable.
    name = os.fsdecode(os.fsencode(path.name)[:100])
    return f".{name}.{secrets.token_hex(4)}.part{suffix}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Brings the names in a folder to disk."""
    if os.name == "nt":  # folders cannot be opened there; the rename is journalled
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:  # some network file systems cannot
            raise


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _hint(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, or write to another disk; nothing was left behind"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "choose a folder that can be written"
    return "nothing was left behind; try another folder"
