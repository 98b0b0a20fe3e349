"""From the words of a command line to clips that can be opened: files, folders, cameras, URLs.

What exists under a name is taken for that, before anything else the name could mean.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import urlsplit

from hrpose.errors import InputError
from hrpose.media.container import Medium
from hrpose.media.feed import camera, standard_input, url_medium
from hrpose.media.reader import Reader
from hrpose.media.sequence import ImageSequence
from hrpose.media.source import SUFFIXES, files_below, natural
from hrpose.media.video import VideoReader
from hrpose.options import MAX_PIXELS, Reading, Span

_VIDEOS = frozenset(
    {".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"}
    | {".m2v", ".vob", ".ts", ".mts", ".m2ts", ".flv", ".f4v", ".wmv", ".asf", ".ogv", ".mxf"}
    | {".dv", ".ivf", ".obu", ".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg"}
)
_PICTURES = SUFFIXES - {".gif"}  # one GIF is rather a short video than a picture of a sequence
_CAMERA = re.compile(r"\d{1,2}", re.ASCII)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_NUMBERED = re.compile(r"%0?(\d*)d", re.ASCII)


class _Opener(Protocol):
    def __call__(self, *, span: Span, max_pixels: int) -> Reader: ...


@dataclass(frozen=True, slots=True)
class Source:
    """One clip, not opened yet.

    Attributes:
        name: For the names of outputs; not unique among several sources.
        given: How people call it; also ``Frame.source``. No passwords.
        path: The video file, where there is one: its sound can be copied.
        inputs: Files that must not be overwritten.
        live: Whether it comes at its own pace and may never end: cameras and RTSP.
    """

    name: str
    given: str
    path: Path | None = None
    inputs: tuple[Path, ...] = ()
    live: bool = False
    opener: _Opener = field(kw_only=True, repr=False, compare=False)

    def open(self, span: Span = Span(), *, max_pixels: int = MAX_PIXELS) -> Reader:  # noqa: B008
        """Opens it and reads the first frame; the caller closes it, best by ``with``.

        Args:
            span: Which part to read.
            max_pixels: Refuse larger frames.

        Raises:
            BadVideo: It cannot be read, or has no frame in the span.
            UsageError: Standard input is a terminal.
        """
        return self.opener(span=span, max_pixels=max_pixels)


def sources(
    names: Sequence[str], *, allow_network: bool = False, rate: Fraction | None = None
) -> list[Source]:
    """Finds out what the words of a command line name; opens nothing.

    A word is, in this order: ``-``, the standard input; what exists under this name (a file, or
    a folder: the videos at any depth below it, and where there are none, one image sequence for
    each folder with pictures); ``0``, ``1``: a camera; a URL; numbered pictures such as
    ``frame_%06d.png``; a pattern such as ``*.mp4`` or ``frame_*.png``, taken as a folder is.
    Pictures that follow one another on the command line are one sequence. Order is natural:
    ``2.png`` before ``10.png``. A file named twice is read once.

    A name of nothing is no error here: its source cannot be opened, and the others can.

    Args:
        names: Words as the user gave them.
        allow_network: Whether URLs are allowed.
        rate: Pictures per second of image sequences; None: ``Reading.fps``.

    Raises:
        InputError: A folder or a pattern without anything to read.
        UsageError: A URL without ``allow_network``, or of an unknown kind.
    """
    rate = Reading().fps if rate is None else rate
    found: dict[str, Source] = {}
    for pictures, words in groupby(names, key=_is_picture):
        if pictures:
            groups = [_row(_sorted(map(Path, words)), rate)]
        else:
            groups = [one for word in words for one in _meant(word, allow_network, rate)]
        for source in groups:
            key = os.path.abspath(source.path) if source.path else source.given
            found.setdefault(key, source)
    return list(found.values())


def _is_picture(word: str) -> bool:
    return Path(word).suffix.lower() in _PICTURES and os.path.isfile(word)


def _meant(word: str, allow_network: bool, rate: Fraction) -> Iterable[Source]:
    if word == "-":
        return [_from_medium("stdin", standard_input())]
    if os.path.isdir(word):
        return _in_folder(Path(word), rate)
    if os.path.lexists(word):
        return [_file(Path(word))]
    if _CAMERA.fullmatch(word):
        return [_from_medium(f"camera{int(word)}", camera(int(word)))]
    if _URL.match(word):
        medium = url_medium(word, allow_network=allow_network)
        return [_from_medium(_url_name(medium.name), medium)]
    if _NUMBERED.search(os.path.basename(word)):
        return [_row(_numbered(word), rate, given=word)]
    if glob.has_magic(word):
        return _matching(word, rate)
    return [_file(Path(word))]


def _file(path: Path) -> Source:
    return Source(
        path.stem, os.fspath(path), path, (path,), opener=partial(VideoReader, os.fspath(path))
    )


def _from_medium(name: str, medium: Medium) -> Source:
    return Source(name, medium.name, live=medium.live, opener=partial(VideoReader, medium))


def _row(paths: Sequence[Path], rate: Fraction, *, name: str = "", given: str = "") -> Source:
    """One image sequence; by itself it is called by what its names have in common."""
    common = os.path.commonprefix([path.stem for path in paths])  # noqa: RUF071 - of characters
    name = name or (common if len(paths) == 1 else _without_number(common))
    name = name or _folder_name(paths[0].parent)
    given = given or os.fspath(paths[0] if len(paths) == 1 else paths[0].parent / f"{name}*")
    opener = partial(ImageSequence, tuple(paths), name=given, rate=rate)
    return Source(name, given, None, tuple(paths), opener=opener)


def _without_number(beginning: str) -> str:
    """``frame_00`` -> ``frame``: digits in common are the beginning of a number."""
    return beginning.rstrip("0123456789").rstrip("_-. ")


def _folder_name(folder: Path) -> str:
    return Path(os.path.abspath(folder)).name or "sequence"


def _in_folder(folder: Path, rate: Fraction) -> list[Source]:
    # Drawn clips of a run before, by the names that they have by default, are results.
    files = [path for path in files_below(folder) if not path.stem.endswith(".pose")]
    clips = _clips(files)
    if clips:
        return clips
    rows = groupby(_sorted(p for p in files if p.suffix.lower() in _PICTURES), lambda p: p.parent)
    found = [
        _row(list(paths), rate, name=_folder_name(parent), given=os.fspath(parent))
        for parent, paths in rows
    ]
    if not found:
        raise InputError(
            f"{folder}: neither videos nor pictures in this folder",
            hint="files count by their suffix; name the files themselves",
        )
    return found


def _clips(files: Sequence[Path]) -> list[Source]:
    """The videos; where there are neither videos nor pictures, the GIFs."""
    suffixes = {path.suffix.lower() for path in files}
    wanted = _VIDEOS
    if suffixes.isdisjoint(_VIDEOS | _PICTURES):
        wanted = frozenset({".gif"})
    return [_file(path) for path in _sorted(files) if path.suffix.lower() in wanted]


def _matching(pattern: str, rate: Fraction) -> list[Source]:
    matches = [Path(match) for match in glob.glob(pattern)]
    files = [path for path in matches if not path.is_dir()]
    pictures = [path for path in files if path.suffix.lower() in _PICTURES]
    folders = [one for path in _sorted(matches) if path.is_dir() for one in _in_folder(path, rate)]
    if clips := _clips(files):
        return clips + folders
    if pictures:
        return [_row(_sorted(pictures), rate, given=pattern), *folders]
    if not matches:
        raise InputError(f"{pattern}: no file matches", hint="check the spelling of the path")
    return [_file(path) for path in _sorted(files)] + folders


def _numbered(pattern: str) -> list[Path]:
    """Pictures of ``frame_%06d.png`` by their numbers, which may begin anywhere and have gaps."""
    folder, name = os.path.split(pattern)
    before, digits, after = _NUMBERED.split(name, maxsplit=1)
    least = int(digits or 1)
    fits = re.compile(rf"{re.escape(before)}(\d{{{least},}}){re.escape(after)}", re.ASCII)
    found = [Path(folder, entry) for entry in _listed(folder or ".") if fits.fullmatch(entry)]
    if not found:
        raise InputError(
            f"{pattern}: no file with such a number", hint="check folder and number of digits"
        )
    return _sorted(found)


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: folder cannot be listed: {error.strerror}", hint="check the path"
        ) from error


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (natural(os.fspath(path.parent)), natural(path.name)))


def _url_name(url: str) -> str:
    parts = urlsplit(url)
    return PurePosixPath(parts.path).stem or (parts.hostname or "stream").replace(":", "_")
