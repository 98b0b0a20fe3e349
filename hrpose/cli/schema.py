"""``hrpose schema``: what the native JSON looks like."""

from __future__ import annotations

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of the result files."""
    from hrpose import formats

    click.echo(json.dumps(formats.schema(), indent=2))
