"""Result files of any format that can be read, found out by their content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hrpose.errors import BadAnnotation, InputError
from hrpose.formats.coco_results import iter_coco
from hrpose.formats.hints import Hints
from hrpose.formats.jsonl import CutShort, is_jsonl, iter_jsonl
from hrpose.formats.native import Item, iter_native
from hrpose.formats.openpose import iter_openpose
from hrpose.formats.record import Header, text_of

_FIRST_LINE = 1 << 20  # bytes; longer than any header
_KINDS = "native JSON, JSONL, COCO keypoint results, or a folder of OpenPose files"


@dataclass(frozen=True, slots=True)
class Records:
    """An input that is being read.

    Attributes:
        kind: ``native``, ``jsonl``, ``coco`` or ``openpose``.
        header: What it says, or what the hints say, about all pictures.
        items: Pictures, failures and clips in the order of the input; can be taken once.
        total: Its length: bytes of a file, number of files in a folder.
        position: How much of ``total`` has been read.
    """

    kind: str
    header: Header
    items: Iterator[Item | CutShort]
    total: int
    position: Callable[[], int]

    @property
    def complete(self) -> bool:
        """Whether the input leaves nothing to hints: it says sizes, times and keypoints."""
        return self.kind in ("native", "jsonl")


@contextmanager
def open_records(path: Path, hints: Hints) -> Iterator[Records]:
    """Opens a file or folder of results; memory does not grow with it, see the readers.

    Args:
        path: A file of native JSON, JSONL or COCO keypoint results, or a folder of OpenPose's.
        hints: What the input does not say.

    Raises:
        InputError: It cannot be read.
        BadAnnotation: It is none of these, or damaged; names it, and says where. So does taking
            the items.
    """
    if path.is_dir():
        header, total, frames = iter_openpose(path, hints)
        counter = _Counter(frames)
        yield Records("openpose", header, counter, total, lambda: counter.taken)
        return
    shown = text_of(str(path))
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{shown}: {error.strerror or error}", hint="check the path") from error
    with file:
        yield _records(file, path, hints)


def _records(file: BinaryIO, path: Path, hints: Hints) -> Records:
    shown = text_of(str(path))
    items: Iterator[Item | CutShort]
    with _named(shown):
        first = file.readline(_FIRST_LINE)
        total = file.seek(0, 2)
        file.seek(0)
        start = first.lstrip()[:1]
        if start == b"[":
            kind, (header, items) = "coco", iter_coco(file, path.stem, hints)
        elif start != b"{":
            raise BadAnnotation("not a file of results", hint=f"expected {_KINDS}")
        elif is_jsonl(first):
            kind, (header, items) = "jsonl", iter_jsonl(file)
        else:
            kind, (header, items) = "native", iter_native(file)
    return Records(kind, header, _naming(items, shown), total, file.tell)


class _Counter(Iterator[Item]):
    def __init__(self, items: Iterator[Item]) -> None:
        self._items, self.taken = items, 0

    def __next__(self) -> Item:
        item = next(self._items)
        self.taken += 1
        return item


def _naming(items: Iterator[Item | CutShort], shown: str) -> Iterator[Item | CutShort]:
    with _named(shown):
        yield from items


@contextmanager
def _named(shown: str) -> Iterator[None]:
    """Puts the name of the file before what is wrong with it."""
    try:
        yield
    except BadAnnotation as error:
        hint = error.hint or f"expected {_KINDS}"
        raise BadAnnotation(f"{shown}: {error.message}", hint=hint) from error
    except OSError as error:
        raise InputError(f"{shown}: {error.strerror or error}", hint="check the file") from error
