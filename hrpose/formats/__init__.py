"""Poses to and from files: hrpose's own JSON and JSONL, and formats that others defined.

Writers of one kind with ``write(poses)``, ``fail(source, reason)``, ``video(record)`` and
``close()``, see :class:`PoseWriter`; ``hrpose.results`` opens them by their names.
:func:`open_records` reads what can be read back.
"""

from __future__ import annotations

from hrpose.formats.coco import CocoWriter, boxes_for, image_id, read_detections
from hrpose.formats.hints import Hints
from hrpose.formats.jsonl import CutShort, JsonlWriter, iter_jsonl
from hrpose.formats.native import NativeWriter, iter_native, poses_of, read_native, schema
from hrpose.formats.reading import Records, open_records
from hrpose.formats.record import Document, Failure, Header, ModelRecord, VideoRecord
from hrpose.formats.writer import PoseWriter

__all__ = [
    "CocoWriter",
    "CutShort",
    "Document",
    "Failure",
    "Header",
    "Hints",
    "JsonlWriter",
    "ModelRecord",
    "NativeWriter",
    "PoseWriter",
    "Records",
    "VideoRecord",
    "boxes_for",
    "image_id",
    "iter_jsonl",
    "iter_native",
    "open_records",
    "poses_of",
    "read_detections",
    "read_native",
    "schema",
]
