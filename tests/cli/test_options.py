"""Shared options: every field has one, and what can be chosen is what the library knows."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import click
import pytest
from click.testing import CliRunner

from hrpose import results
from hrpose.cli.options import FORMATS, Files, takes
from hrpose.device import DTYPES
from hrpose.options import TRAIL_SECONDS, Options, Style
from hrpose.types import Codec


@click.command()
@takes(Options, Style, Files)
def probe(**values: Any) -> None:
    click.echo(repr(values))


def parsed(*words: str) -> dict[str, Any]:
    """The values of a command line; classes are looked up where `repr` names them."""
    done = CliRunner().invoke(probe, words)
    assert done.exit_code == 0, done.output
    known = {"Options": Options, "Style": Style, "Files": Files}
    values: dict[str, Any] = eval(done.stdout, known)  # the line above printed it
    return values


def choices(name: str) -> list[str]:
    (kind,) = (parameter.type for parameter in probe.params if parameter.name == name)
    assert isinstance(kind, click.Choice)
    return list(kind.choices)


def test_defaults_are_those_of_the_library() -> None:
    assert parsed() == {"options": Options(), "style": Style(), "files": Files()}


def test_boxes_of_the_detector_and_of_the_drawing_differ() -> None:
    assert parsed("--overlay", "boxes")["style"] == Style(overlay=("boxes",))
    assert parsed("--overlay", "boxes")["options"] == Options()


@pytest.mark.parametrize(
    ("words", "style"),
    [
        (["--overlay", "none"], Style(overlay=())),
        (["--overlay", "scores, boxes"], Style(overlay=("boxes", "scores"))),
        (["--overlay", "none", "--heatmaps"], Style(overlay=("heatmaps",))),
        (["--overlay", "skeleton,trails"], Style(trails=TRAIL_SECONDS)),
        (["--trails", "2.5"], Style(overlay=("skeleton", "trails"), trails=2.5)),
    ],
    ids=str,
)
def test_overlays(words: list[str], style: Style) -> None:
    assert parsed(*words)["style"] == style


@pytest.mark.parametrize("words", [["--overlay", ""], ["--overlay", "bones"], ["--trails", "nan"]])
def test_wrong_overlays(words: list[str]) -> None:
    done = CliRunner().invoke(probe, words)
    assert done.exit_code == 2
    assert words[1] in done.output


def test_every_field_has_an_option() -> None:
    names = {parameter.name for parameter in probe.params}
    wanted = {
        f"{holder.__name__.lower()}_{field.name}"
        for holder in (Options, Style, Files)
        for field in fields(holder)
    }
    assert wanted - names == {"options_oks_threshold"}
    assert names <= wanted


def test_choices_are_what_the_library_knows() -> None:
    assert choices("options_dtype") == list(DTYPES)
    assert choices("files_format") == list(FORMATS) == list(results.FORMATS)
    assert [Codec(refine=name).refine for name in choices("options_refine")]
    assert [Style(background=name) for name in choices("style_background")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words", [["--threshold", "-0.1"], ["--crop-batch", "0"], ["--max-pixels", "0"]]
)
def test_ranges(words: list[str]) -> None:
    assert CliRunner().invoke(probe, words).exit_code == 2
