"""The long form for tables: a row per person and keypoint, as CSV and as Parquet.

========== ========= ===================================================================
column     type      meaning
========== ========= ===================================================================
source     text      the picture or clip; bytes that are not UTF-8 show as U+FFFD
frame      integer   position in the source, from 0
time       float64   presentation timestamp in seconds; empty for pictures
person     integer   position of the person in the frame, best first, from 0
track_id   integer   empty for people without an id
keypoint   text      name of the keypoint
x, y       float32   image pixels, integer = pixel centre; smoothed where smoothing was asked
score      float32   of the keypoint; 0 is "not found"
measured_x float32   as decoded; empty where nothing is smoothed
measured_y float32   as measured_x
filled     boolean   whether the keypoint was filled in from other frames; CSV: 1 or 0
========== ========= ===================================================================

A frame without people has no row; its number is missing among the frames. Numbers have the fewest
digits that give the same float32 (``time``: float64) back. Failures, clips, boxes and picture
sizes have no place.
"""

from __future__ import annotations

import csv
import importlib
import io
import math
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

from hrpose.errors import UsageError
from hrpose.formats.pictures import shortest
from hrpose.formats.record import text_of
from hrpose.formats.writer import PoseWriter
from hrpose.types import Poses

COLUMNS = (
    "source", "frame", "time", "person", "track_id", "keypoint",
    "x", "y", "score", "measured_x", "measured_y", "filled",
)  # fmt: skip
_KINDS = ("string", "int64", "float64", "int32", "int64", "string", *["float32"] * 5, "bool_")
ROW_GROUP = 1 << 16  # rows that wait in memory for Parquet


def columns(poses: Poses) -> tuple[list[Any], ...]:
    """The rows of one picture, by column; None is empty.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    people, points = len(poses), len(poses.skeleton)
    rows = people * points
    if poses.time is not None and not math.isfinite(poses.time):
        raise ValueError(f"time is {poses.time}, expected a finite number")
    xy = shortest(poses.keypoints)
    measured: list[Any] = [None] * (2 * rows)
    if poses.measured is not None:
        measured = list(shortest(poses.measured))
    tracks = [None if track < 0 else track for track in poses.track_ids.tolist()]
    filled = np.zeros(rows, bool) if poses.filled is None else poses.filled.ravel()
    return (
        [text_of(poses.source)] * rows,
        [poses.frame] * rows,
        [None if poses.time is None else float(poses.time)] * rows,
        [i for i in range(people) for _ in range(points)],
        [track for track in tracks for _ in range(points)],
        list(poses.skeleton.keypoints) * people,
        xy[::2],
        xy[1::2],
        shortest(poses.keypoint_scores),
        measured[::2],
        measured[1::2],
        filled.tolist(),
    )


class CsvWriter(PoseWriter):
    """Writes CSV as in RFC 4180: UTF-8, a header line, lines end in CR LF.

    Args:
        file: Open for writing bytes; stays open.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._put([COLUMNS])

    def write(self, poses: Poses) -> None:
        """Appends the rows of one picture."""
        self._check_open()
        *front, filled = columns(poses)
        self._put(list(zip(*front, map(int, filled), strict=True)))

    def _put(self, rows: list[tuple[Any, ...]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._file.write(text.getvalue().encode())


class ParquetWriter(PoseWriter):
    """Writes Parquet, one group of rows at a time; needs pyarrow.

    Args:
        file: Open for writing bytes; stays open.

    Raises:
        UsageError: pyarrow is not installed.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._arrow, parquet = import_pyarrow()
        kinds = [getattr(self._arrow, kind)() for kind in _KINDS]
        self._schema = self._arrow.schema(zip(COLUMNS, kinds, strict=True))
        self._waiting: tuple[list[Any], ...] = tuple([] for _ in COLUMNS)
        self._parquet = parquet.ParquetWriter(file, self._schema)

    def write(self, poses: Poses) -> None:
        """Appends the rows of one picture."""
        self._check_open()
        for waiting, column in zip(self._waiting, columns(poses), strict=True):
            waiting += column
        if len(self._waiting[0]) >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        arrays = [
            self._arrow.array(column, field.type)
            for column, field in zip(self._waiting, self._schema, strict=True)
        ]
        self._parquet.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        for column in self._waiting:
            column.clear()

    def _finish(self) -> None:
        if self._waiting[0]:
            self._flush()
        self._parquet.close()

    def _abandon(self) -> None:
        with suppress(OSError):  # it would close itself later, when the file is gone
            self._parquet.close()


def import_pyarrow() -> tuple[Any, Any]:
    """The modules ``pyarrow`` and ``pyarrow.parquet``.

    Raises:
        UsageError: They cannot be imported.
    """
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            f"Parquet needs pyarrow: {error}", hint="pip install pyarrow, or take --format csv"
        ) from error
