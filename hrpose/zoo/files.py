"""Where weights lie: beside the package, or in the user's cache directory.

A model of the cache is either the publisher's file under the publisher's name, or
``NAME.safetensors`` made from the user's own file by :func:`hrpose.zoo.load.add`. The hash of the
latter lies beside it, in the form of ``sha256sum``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hrpose.errors import WeightsError
from hrpose.zoo.download import download, settle
from hrpose.zoo.specs import ModelSpec

_PACKAGE = Path(__file__).resolve().parents[1]


def home() -> Path:
    """The folder of downloaded and imported weights, which may not exist yet.

    ``HRPOSE_HOME`` if set, else ``hrpose`` in the platform's folder for caches.
    """
    if own := os.environ.get("HRPOSE_HOME"):
        return Path(own).expanduser()
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "hrpose"


def make_home() -> Path:
    """Makes the folder of :func:`home`, for its owner only, if it is missing."""
    folder = home()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(
            f"cannot make the folder for weights, {folder}: {error.strerror}",
            hint="set HRPOSE_HOME to a folder that you may write to",
        ) from error
    return folder


def embedded() -> Path:
    """The folder of the weights that come with hrpose: in the checkout, or in the wheel."""
    checkout = _PACKAGE.parent
    return checkout / "weights" if (checkout / "pyproject.toml").is_file() else _PACKAGE / "weights"


def imported(spec: ModelSpec) -> Path:
    """Where the weights that a user imported for a model lie, if there are any."""
    return home() / f"{spec.name}.safetensors"


def find(spec: ModelSpec) -> Path | None:
    """The file of a model, or None if it is not on this machine. The user's own goes first."""
    cached = (imported(spec), home() / spec.file)
    candidates = (embedded() / spec.file,) if spec.embedded else cached
    return next((path for path in candidates if path.is_file()), None)


def locate(spec: ModelSpec) -> Path:
    """The file of a model.

    Raises:
        WeightsError: It is not on this machine; the hint says where to get it and where to put it.
    """
    if path := find(spec):
        return path
    raise WeightsError(f"the weights of {spec.name} are not on this machine", hint=_advice(spec))


def _advice(spec: ModelSpec) -> str:
    if spec.embedded:
        return f"they should be at {embedded() / spec.file}; install hrpose again"
    place = home() / spec.file
    if spec.url:
        return f"'hrpose models get {spec.name}', or get {spec.url} and put it at {place}"
    return (
        f"get {spec.file} from {spec.source}, then run 'hrpose models add FILE --as {spec.name}'"
        f" or put it at {place}"
    )


def fetch(spec: ModelSpec, *, progress: bool = True) -> Path:
    """Downloads a model into the cache, unless it is on this machine.

    Args:
        spec: The model.
        progress: Whether a bar on stderr shows the way.

    Returns:
        The file.

    Raises:
        WeightsError: Nobody offers the file for download; the hint says where a person gets it.
        DownloadError: It could not be had.
    """
    if path := find(spec):
        return path
    if spec.url is None:
        raise WeightsError(f"{spec.name} has no address to download from", hint=_advice(spec))
    target = make_home() / spec.file
    download(spec.url, target, sha256=spec.expected_hash, progress=progress)
    return target


def expected_hash(spec: ModelSpec, path: Path) -> str:
    """What the SHA-256 of a model's file must begin with; empty if nothing is known of it."""
    if path != imported(spec):
        return spec.expected_hash
    record = _record(path)
    return record.read_text(encoding="ascii").partition(" ")[0] if record.is_file() else ""


def settle_imported(part: Path, path: Path, *, sha256: str) -> None:
    """Puts an imported file in place and remembers its hash."""
    record = _record(path)
    record.unlink(missing_ok=True)  # an old hash must not meet the new file
    settle(part, path)
    part.write_text(f"{sha256}  {path.name}\n", encoding="ascii")
    settle(part, record)


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
