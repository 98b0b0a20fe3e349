"""What commands say on stderr, safe for a terminal whatever a file is called."""

from __future__ import annotations

import click

from hrpose.errors import HrposeError


def printable(text: str) -> str:
    r"""Escapes what would steer a terminal or cannot be encoded: controls, bidi marks, surrogates.

    >>> print(printable("caf\u00e9 \x1b[2J\n"))
    café \x1b[2J\n
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def report_error(error: HrposeError) -> None:
    """Prints a failure as one ``error:`` line, and one ``hint:`` line if there is a hint."""
    report("error", error.message)
    if error.hint:
        report("hint", error.hint)


def report(kind: str, text: str) -> None:
    """Prints one line ``kind: text`` to stderr.

    Args:
        kind: ``error``, ``hint``, ``warning`` or ``note``.
        text: One line; line breaks in it are escaped.
    """
    click.echo(f"{kind}: {printable(text)}", err=True)
