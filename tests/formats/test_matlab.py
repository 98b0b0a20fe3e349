"""MATLAB files against scipy, whose writer makes them; damage ends in ValueError and nothing else.

scipy's reader is not the one in use: damaged files made it end the process.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from hrpose.formats.matlab import read_matlab

KINDS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?")


def written(content: dict[str, Any], *, compressed: bool = False) -> bytes:
    file = io.BytesIO()
    savemat(file, content, do_compression=compressed)
    return file.getvalue()


def cells(*texts: str) -> np.ndarray:
    array = np.empty((1, len(texts)), object)
    array[0] = texts
    return array


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (2, 5), (16, 2, 7), (2, 3, 1, 4)], ids=str)
def test_numbers_are_those_of_scipy(shape: tuple[int, ...], kind: str, compressed: bool) -> None:
    values = np.random.default_rng(0).integers(0, 100, shape).astype(kind)
    data = written({"before": 1, "a": values, "after": "text"}, compressed=compressed)
    found = read_matlab(data, ["a"])
    assert list(found) == ["a"]
    want = loadmat(io.BytesIO(data))["a"]
    np.testing.assert_array_equal(found["a"], want)
    np.testing.assert_array_equal(found["a"], values)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
def test_names(compressed: bool) -> None:
    names = cells("rank", "lwri", "x", "a longer one", "caf\xe9", "")
    data = written({"names": names}, compressed=compressed)
    assert read_matlab(data, {"names"}) == {"names": ("rank", "lwri", "x", "a longer one",
                                                      "caf\xe9", "")}  # fmt: skip


def test_other_classes_are_passed_over() -> None:
    content = {
        "struct": {"a": 1}, "text": "abc", "complex": np.array([1 + 2j]), "good": np.arange(4),
        "nested": cells("a"),
    }  # fmt: skip
    content["nested"][0, 0] = cells("b")
    found = read_matlab(written(content), content.keys())
    assert sorted(found) == ["good", "nested"]
    assert found["nested"] == ()
    assert found["good"].tolist() == [[0, 1, 2, 3]]


def element(kind: int, raw: bytes) -> bytes:
    return struct.pack(">II", kind, len(raw)) + raw + bytes(-len(raw) % 8)


def test_files_of_big_endian_machines() -> None:
    inside = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 2, 1))
    inside += struct.pack(">HHBBBB", 1, 1, ord("a"), 0, 0, 0)  # a short element
    inside += element(9, struct.pack(">dd", 1.5, -2))
    head = bytes(124) + struct.pack(">H", 0x0100) + b"MI"
    found = read_matlab(head + element(14, inside), ["a"])
    assert found["a"].tolist() == [[1.5], [-2]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a MATLAB file"),
        (b"x" * 300, "not a MATLAB file"),
        (bytes(124) + b"\x00\x02IM" + bytes(512), "-v7"),
        (bytes(124) + b"\x00\x01IM" + b"\x0e\0\0\0", "ends within"),
        (bytes(124) + b"\x00\x01IM" + struct.pack("<II", 14, 8), "cut short"),
        (bytes(124) + b"\x00\x01IM" + struct.pack("<II", 14, 0), "cut short"),
        (bytes(124) + b"\x00\x01IM" + struct.pack("<II", 15, 4) + b"abcd", "damaged"),
    ],
    ids=["empty", "other", "7.3", "tag", "body", "nothing", "not deflated"],
)
def test_what_is_no_such_file(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_matlab(data, ["a"])


def test_a_variable_that_grows_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hrpose.formats.matlab._MOST_BYTES", 1 << 16)
    bomb = zlib.compress(bytes(1 << 20))
    data = bytes(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(bomb)) + bomb
    with pytest.raises(ValueError, match="too large"):
        read_matlab(data, ["a"])


WHOLE = [
    written({"names": cells("rank", "lwri"), "a": np.arange(12.0).reshape(3, 4)}, compressed=c)
    for c in (False, True)
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.floats(0, 1),
)
def test_damage_is_refused_or_read(
    whole: bytes, changes: list[tuple[float, int]], keep: float
) -> None:
    damaged = bytearray(whole)
    for place, value in changes:
        damaged[int(place * (len(damaged) - 1))] = value
    for data in (bytes(damaged), bytes(damaged[: int(keep * len(damaged))])):
        try:
            found = read_matlab(data, ["names", "a"])
        except ValueError:
            continue
        assert found.keys() <= {"names", "a"}
