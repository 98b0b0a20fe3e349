"""The long form: one row per person and keypoint, exact, as RFC 4180 has it."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrpose.errors import UsageError
from hrpose.formats.table import COLUMNS, CsvWriter, ParquetWriter
from hrpose.skeleton import Skeleton
from hrpose.types import Poses, Size

NUMBERS = ("x", "y", "score", "measured_x", "measured_y")
TINY = Skeleton("tiny", ("left, end", 'right "end"'), ((0, 1),), (0, 1))


def make(people: int = 2, **changes: Any) -> Poses:
    random = np.random.default_rng(people)
    fields: dict[str, Any] = {
        "keypoints": random.normal(300, 200, (people, 2, 2)).astype(np.float32),
        "keypoint_scores": random.random((people, 2), dtype=np.float32),
        "boxes": np.zeros((people, 4), np.float32),
        "box_scores": np.ones(people, np.float32),
        "track_ids": np.arange(people) - 1,
        "size": Size(640, 480),
        "skeleton": TINY,
        "frame": 7,
        "source": "a.jpg",
    }
    return Poses(**{**fields, **changes})


def written(*items: Poses) -> bytes:
    file = io.BytesIO()
    with CsvWriter(file) as writer:
        for poses in items:
            writer.write(poses)
            writer.fail("b.jpg", "empty")
    return file.getvalue()


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))


def test_a_row_per_person_and_keypoint() -> None:
    poses = make(time=0.1)
    found = rows(written(poses, make(0), make(1)))
    assert tuple(found[0]) == COLUMNS
    assert [(r["person"], r["track_id"], r["keypoint"]) for r in found] == [
        ("0", "", "left, end"), ("0", "", 'right "end"'),
        ("1", "0", "left, end"), ("1", "0", 'right "end"'),
        ("0", "", "left, end"), ("0", "", 'right "end"'),
    ]  # fmt: skip
    assert [(r["source"], r["frame"], r["time"], r["filled"]) for r in found[3:5]] == [
        ("a.jpg", "7", "0.1", "0"), ("a.jpg", "7", "", "0"),
    ]  # fmt: skip
    assert {r["measured_x"] + r["measured_y"] for r in found} == {""}
    numbers = np.array([[r["x"], r["y"], r["score"]] for r in found[:4]], np.float64)
    assert np.array_equal(numbers[:, :2].astype(np.float32), poses.keypoints.reshape(4, 2))
    assert np.array_equal(numbers[:, 2].astype(np.float32), poses.keypoint_scores.ravel())


def test_smoothed_people_have_both_values() -> None:
    poses = make()
    filled = np.array([[False, False], [False, True]])
    measured = poses.keypoints + np.float32(0.25)
    found = rows(written(make(measured=measured, filled=filled)))
    numbers = np.array([[r["measured_x"], r["measured_y"]] for r in found], np.float64)
    assert np.array_equal(numbers.astype(np.float32), measured.reshape(4, 2))
    assert [r["filled"] for r in found] == ["0", "0", "0", "1"]


def test_lines_end_as_in_rfc_4180() -> None:
    data = written(make(1, source='a "b",\nc.jpg'))
    assert data.endswith(b"\r\n")
    assert b'"a ""b"",\nc.jpg"' in data
    assert rows(data)[0]["source"] == 'a "b",\nc.jpg'
    assert written() == ",".join(COLUMNS).encode() + b"\r\n"


def test_names_that_are_not_utf8_are_shown() -> None:
    assert rows(written(make(1, source="caf\udce9.jpg")))[0]["source"] == "caf\ufffd.jpg"


@pytest.mark.parametrize("field", ["keypoints", "keypoint_scores", "measured", "time"])
def test_nan_is_refused(field: str) -> None:
    file = io.BytesIO()
    writer = CsvWriter(file)
    before = file.getvalue()
    value: Any = float("nan")
    if field != "time":
        value = np.full((2, 2) if field == "keypoint_scores" else (2, 2, 2), np.nan, np.float32)
    with pytest.raises(ValueError, match=r"NaN|finite"):
        writer.write(make(**{field: value}))
    assert file.getvalue() == before
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(make())


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match="Parquet needs pyarrow") as caught:
        ParquetWriter(io.BytesIO())
    assert "pip install pyarrow" in caught.value.hint


@pytest.mark.extra
def test_parquet_holds_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("hrpose.formats.table.ROW_GROUP", 5)
    items = [make(2, time=0.5), make(0), make(1), make(2, measured=make().keypoints)]
    path = tmp_path / "a.parquet"
    with path.open("wb") as file, ParquetWriter(file) as writer:
        for poses in items:
            writer.write(poses)
    table = parquet.read_table(path)
    assert parquet.ParquetFile(path).num_row_groups == 2
    assert tuple(table.column_names) == COLUMNS
    text = [
        {
            key: "" if value is None else str(int(value) if key == "filled" else value)
            for key, value in row.items()
        }
        for row in table.to_pylist()
    ]
    want = rows(written(*items))
    exact = [name for name in COLUMNS if name not in NUMBERS]
    for got, row in zip(text, want, strict=True):
        assert {name: got[name] for name in exact} == {name: row[name] for name in exact}
        for name in NUMBERS:
            assert np.float32(got[name] or "0") == np.float32(row[name] or "0")


@pytest.mark.extra
def test_parquet_given_up_leaves_no_error_behind() -> None:
    pytest.importorskip("pyarrow")
    with contextlib.suppress(KeyError), ParquetWriter(io.BytesIO()) as writer:
        writer.write(make())
        raise KeyError
