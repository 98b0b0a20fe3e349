"""What all writers of poses have in common."""

from __future__ import annotations

from typing import Self

from hrpose.formats.record import VideoRecord
from hrpose.types import Poses


class PoseWriter:
    """Writes poses picture by picture; memory does not grow with their number.

    As a context manager it completes the result when the block ends without an error; after an
    error the result stays incomplete. Files stay open; their ``OSError`` passes through.

    A format with a place for failures or clips overrides :meth:`fail` or :meth:`video`.
    """

    def __init__(self) -> None:
        self._closed = False

    def write(self, poses: Poses) -> None:
        """Appends one picture and its people.

        Raises:
            ValueError: The poses do not fit the format, or have NaN or infinity; or the writer is
                closed. Nothing is written then.
        """
        raise NotImplementedError

    def fail(self, source: str, reason: str) -> None:
        """Appends a picture that could not be read; nothing where the format has no place."""

    def video(self, record: VideoRecord) -> None:
        """Appends what became of a clip; nothing where the format has no place."""

    def close(self) -> None:
        """Completes the result; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._finish()

    def _finish(self) -> None:
        """Writes what stands at the end."""

    def _abandon(self) -> None:
        """Lets go of what the writer holds itself."""

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("write to a closed writer")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        elif not self._closed:
            self._closed = True
            self._abandon()
