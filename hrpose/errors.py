"""What can go wrong in the world outside the program, as one tree with exit codes.

A wrong argument of a Python call is a ``ValueError``; an own invariant is an ``assert``.
Everything a file, a network, a device or a disk can do is an :class:`HrposeError`.
"""

from __future__ import annotations


class HrposeError(Exception):
    """An expected failure, shown to people as one line and a hint.

    Args:
        message: What happened, naming the file or value concerned; one line, no full stop.
        hint: What to do next; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:  # keeps `hint` when a worker process raises
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[HrposeError], message: str, hint: str) -> HrposeError:
    return kind(message, hint=hint)


class UsageError(HrposeError):
    """The request itself cannot be served: unknown model, no such device."""

    exit_code = 2


class InputError(HrposeError):
    """An input file is missing, damaged or not what it claims to be."""

    exit_code = 3


class BadImage(InputError):
    """A picture that cannot be read as a whole."""


class BadVideo(InputError):
    """A video that cannot be read."""


class BadAnnotation(InputError):
    """A label, box or result file that does not fit its format."""


class WeightsError(HrposeError):
    """Model weights are missing, damaged, or belong to another network."""

    exit_code = 4


class DownloadError(WeightsError):
    """Weights could not be fetched."""


class OutputError(HrposeError):
    """A result cannot be written."""

    exit_code = 5


class MemoryLimitError(HrposeError):
    """The device's memory does not hold even a batch of one."""

    exit_code = 6
