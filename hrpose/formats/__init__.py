"""Poses to and from files: the native JSON, and formats that others defined.

:data:`WRITERS` opens a writer of a format by its name; all have ``write(poses)``,
``fail(source, reason)`` and ``close()``, and are context managers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from hrpose.formats.coco import CocoWriter, boxes_for, image_id, read_detections
from hrpose.formats.native import (
    Document,
    Header,
    ModelRecord,
    NativeWriter,
    poses_of,
    read_native,
    schema,
)

WRITERS: dict[str, Callable[[BinaryIO, Header], NativeWriter | CocoWriter]] = {
    "native": NativeWriter,
    "coco": lambda file, header: CocoWriter(file),
}

__all__ = [
    "WRITERS",
    "CocoWriter",
    "Document",
    "Header",
    "ModelRecord",
    "NativeWriter",
    "boxes_for",
    "image_id",
    "poses_of",
    "read_detections",
    "read_native",
    "schema",
]
