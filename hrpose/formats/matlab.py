"""Arrays of numbers and lists of names from MATLAB files of versions 5 to 7 (level 5).

Not by ``scipy.io.loadmat``: scipy 1.17.1 ended by SIGSEGV on 10 of 400 files that had a few bytes
damaged. Structures, sparse and complex arrays are passed over.

A file is a header of 128 bytes and elements; an element is a type, a length and bytes, padded to
eight; a variable is an element of elements (MathWorks, MAT-File Format).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Value = NDArray[Any] | tuple[str, ...]

_HEADER = 128
_LEVEL_5 = 0x0100
_MATRIX, _COMPRESSED = 14, 15  # types of elements; the others:
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _CHAR = 1, 4  # classes of variables
_NUMERIC = range(6, 16)
_COMPLEX = 0x800
_MOST_BYTES = 256 << 20  # of one inflated variable


def read_matlab(data: bytes, names: Collection[str]) -> dict[str, Value]:
    """Reads some variables.

    Args:
        data: The file's bytes.
        names: Variables to read; others are passed over.

    Returns:
        Those of them that are there: arrays in the order of MATLAB's dimensions, cell arrays of
        texts as tuples of texts.

    Raises:
        ValueError: It is no such file, or is damaged.
    """
    if len(data) < _HEADER or data[126:128] not in (b"IM", b"MI"):
        raise ValueError("not a MATLAB file of version 5 to 7")
    order = "<" if data[126:128] == b"IM" else ">"
    level = struct.unpack(order + "H", data[124:126])[0]
    if level != _LEVEL_5:
        raise ValueError(f"MATLAB file of level {level:#x}, not 5; save it with -v7")
    found = {}
    for kind, body in _elements(memoryview(data)[_HEADER:], order):
        if kind == _COMPRESSED:
            kind, body = _first(_elements(_inflated(body), order))
        if kind == _MATRIX:
            name, value = _variable(body, order, names)
            if value is not None:
                found[name] = value
    return found


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and bytes of each element."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise ValueError("ends within an element")
        kind, size = struct.unpack(order + "II", data[at : at + 8])
        start, end = at + 8, at + 8 + size
        if kind >> 16:  # four bytes or fewer lie in the place of the length
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        if start + size > min(end, len(data)):
            raise ValueError("an element is cut short")
        yield kind, data[start : start + size]
        at = end if kind == _COMPRESSED else end + -end % 8


def _first(parts: Iterator[tuple[int, memoryview]]) -> tuple[int, memoryview]:
    part = next(parts, None)
    if part is None:
        raise ValueError("a variable is cut short")
    return part


def _inflated(body: memoryview) -> memoryview:
    inflater = zlib.decompressobj()
    try:
        whole = inflater.decompress(body, _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"a variable is damaged ({error})") from error
    if not inflater.eof:
        raise ValueError("a variable is cut short or too large")
    return memoryview(whole)


def _variable(
    body: memoryview, order: str, names: Collection[str] | None
) -> tuple[str, Value | None]:
    """Name and value; None for what is not wanted. Without names a text alone is wanted."""
    parts = _elements(body, order)
    flags = (*_integers(_first(parts), order), 0)[0]
    shape = _integers(_first(parts), order)
    name = _first(parts)[1].tobytes().decode("latin-1")
    kind = flags & 0xFF
    if names is None:
        return name, (_text(_first(parts), order),) if kind == _CHAR else None
    if name not in names:
        return name, None
    if kind == _CELL:
        texts = [_variable(inside, order, None)[1] for _, inside in parts]
        return name, tuple(str(t) for text in texts if text is not None for t in text)
    if kind not in _NUMERIC or flags & _COMPLEX:
        return name, None
    values = _numbers(_first(parts), order)
    if any(side < 0 for side in shape) or values.size != np.prod(shape, dtype=object):
        raise ValueError(f"{name} has {values.size} values for a shape of {shape}")
    return name, values.reshape(shape, order="F")


def _numbers(part: tuple[int, memoryview], order: str) -> NDArray[Any]:
    kind, raw = part
    if kind not in _NUMBERS:
        raise ValueError(f"an element of type {kind} in the place of numbers")
    return np.frombuffer(raw, np.dtype(order + _NUMBERS[kind]))


def _integers(part: tuple[int, memoryview], order: str) -> tuple[int, ...]:
    values = _numbers(part, order)
    if values.dtype.kind not in "iu":
        raise ValueError(f"an element of type {part[0]} in the place of integers")
    return tuple(values.tolist())


def _text(part: tuple[int, memoryview], order: str) -> str:
    kind, raw = part
    if kind not in _TEXTS:
        raise ValueError(f"an element of type {kind} in the place of a text")
    wide = _TEXTS[kind] in ("utf-16", "utf-32")
    ends = ("-le" if order == "<" else "-be") if wide else ""
    return raw.tobytes().decode(_TEXTS[kind] + ends)
