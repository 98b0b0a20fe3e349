"""Where the results of inputs go: their names, their folders, and the refusal of bad ones early."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hrpose.errors import OutputError, UsageError
from hrpose.media.output import check_output


@dataclass(frozen=True, slots=True)
class Target:
    """Where the results of one input go.

    Attributes:
        source: The picture or video.
        drawing: The drawn picture or video, or None.
        json: Its own JSON file, or None.
    """

    source: Path
    drawing: Path | None = None
    json: Path | None = None

    @property
    def results(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.drawing, self.json) if path is not None)


def plan(
    sources: Sequence[Path], folder: Path, *, below: Path | None = None, json: str | None = ".json"
) -> list[Target]:
    """Names the results of pictures: ``photo.jpg`` gives ``photo.pose.jpg`` and ``.pose.json``.

    A PNG is drawn as PNG, everything else as JPEG. Pictures that differ in their suffix only keep
    it in the names: ``a.jpg`` and ``a.webp`` give ``a.jpg.pose.jpg`` and ``a.webp.pose.jpg``.

    Args:
        sources: The pictures.
        folder: Where the results go.
        below: Folder of the sources whose structure is mirrored; None puts all into ``folder``.
        json: Ending of the names of the JSON files, behind ``.pose``; None: there are none.

    Raises:
        UsageError: Two pictures would have the same results.
    """
    whole = [Path(s.name) if below is None else s.relative_to(below) for s in sources]
    bare = [path.parent / path.stem for path in whole]
    alike = Counter(map(os.path.normcase, bare))
    bases = [
        full if alike[os.path.normcase(short)] > 1 else short
        for full, short in zip(whole, bare, strict=True)
    ]
    taken: dict[str, Path] = {}
    for source, base in zip(sources, bases, strict=True):
        other = taken.setdefault(os.path.normcase(base), source)
        if other is not source:
            raise UsageError(
                f"{other} and {source} would both be written to {folder / base}.pose.*",
                hint="give each picture once; pictures of one name need runs of their own",
            )
    return [
        Target(
            source,
            drawing=folder / f"{base}.pose{'.png' if source.suffix.lower() == '.png' else '.jpg'}",
            json=None if json is None else folder / f"{base}.pose{json}",
        )
        for source, base in zip(sources, bases, strict=True)
    ]


def plan_clips(
    names: Sequence[str],
    given: Sequence[str],
    *,
    out: Path | None,
    json: Path | None,
    draw: bool,
    suffix: str = ".json",
) -> list[Target]:
    """Names the results of clips: ``clip.mp4`` gives ``clip.pose.mp4`` and ``clip.pose.json``.

    Args:
        names: Of the clips, without folder and ending; those that are alike get a number.
        given: What people call them: ``Target.source``.
        out: The drawn video, or its folder: where there are several clips, or where it is one.
            None is the current folder.
        json: The results, or their folder, likewise; None is no results.
        draw: Whether there are drawn videos.
        suffix: Of results in a folder.

    Raises:
        UsageError: Several clips shall go into one file.
    """
    for path in (out, json):
        if len(names) > 1 and path is not None and path.exists() and not path.is_dir():
            raise UsageError(
                f"{path} is a file, and there are {len(names)} clips", hint="name a folder"
            )
    taken: Counter[str] = Counter()
    targets = []
    for name, source in zip(names, given, strict=True):
        taken[os.path.normcase(name)] += 1
        number = taken[os.path.normcase(name)]
        base = f"{name}.pose" if number == 1 else f"{name}-{number}.pose"
        several = len(names) > 1
        drawing = _placed(out or Path(), f"{base}.mp4", several or out is None) if draw else None
        results = None if json is None else _placed(json, base + suffix, several)
        targets.append(Target(Path(source), drawing, results))
    return targets


def _placed(path: Path, name: str, folder: bool) -> Path:
    return path / name if folder or path.is_dir() else path


def prepare(
    results: Iterable[Path], *, sources: Iterable[Path], force: bool, make_folders: bool = False
) -> None:
    """Refuses, before any work is done, what could not be written later.

    Args:
        results: Files that shall be written.
        sources: Files that are read; no result may be one of them, under any name.
        force: Whether existing results may be replaced.
        make_folders: Whether the folders of the results are made, with their parents.

    Raises:
        OutputError: See ``media.check_output``; or a folder cannot be made.
    """
    paths = list(results)
    if make_folders:
        make_folders_of(paths)
    inputs = {key: path for path in sources if (key := _identity(path)) is not None}
    for path in paths:
        same = inputs.get(_identity(path) or (-1, -1))
        check_output(path, force=force, inputs=() if same is None else (same,))


def make_folders_of(paths: Iterable[Path]) -> None:
    """Makes the folders of files, with their parents.

    Raises:
        OutputError: One cannot be made.
    """
    for folder in dict.fromkeys(path.parent for path in paths):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{folder}: folder cannot be made: {error.strerror}", hint="choose another folder"
            ) from error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return status.st_dev, status.st_ino
