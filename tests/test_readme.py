"""README's own words, run: its Python blocks and its `hrpose` lines, on a copy of the samples."""

from __future__ import annotations

import glob
import json
import re
import shlex
import shutil
from pathlib import Path

import av
import click
import pytest

from hrpose.cli import main
from hrpose.zoo.own import skeleton_from

REPO = Path(__file__).resolve().parents[1]
INSTALLS = (
    "pip install -e . && hrpose image samples/",
    "pip install -e '.[test]' && pytest -n auto",
)
# These need data or a network: their words are checked, they are not run.
PARSED_ONLY = (["train"], ["evaluate"], ["models", "get"], ["models", "add"])
CLIP_FRAMES = 8  # of the copy: the whole clip takes a CPU too long for a test


def blocks(*languages: str) -> list[str]:
    text = (REPO / "README.md").read_text(encoding="utf-8")
    fences = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in fences if language in languages]


def hrpose_lines() -> list[list[str]]:
    """The words after `hrpose` of each such command in README's shell blocks."""
    lines = "\n".join(blocks("sh", "bash", "shell", "console")).replace("\\\n", " ").splitlines()
    commands = [part.strip() for line in lines for part in line.removeprefix("$ ").split("&&")]
    words = [shlex.split(command, comments=True) for command in commands]
    return [rest for name, *rest in filter(None, words) if name == "hrpose"]


def parsed_only(words: list[str]) -> bool:
    trained = any(word.endswith("/model.safetensors") for word in words)  # by the reader
    return trained or any(words[: len(start)] == start for start in PARSED_ONLY)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a copy of `samples/` whose clip is short."""
    shutil.copytree(REPO / "samples", tmp_path / "samples")
    with (
        av.open(str(REPO / "samples/clip.mp4")) as whole,
        av.open(str(tmp_path / "samples/clip.mp4"), "w") as short,
    ):
        stream = short.add_stream_from_template(whole.streams.video[0])
        for _, packet in zip(range(CLIP_FRAMES), whole.demux(video=0), strict=False):
            packet.stream = stream
            short.mux(packet)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_skeleton_of_the_example_is_one() -> None:
    (text,) = blocks("json")
    skeleton = skeleton_from(json.loads(text))
    assert skeleton.mirror == (0, 2, 1)
    assert skeleton.edges == ((0, 1), (0, 2))


@pytest.mark.parametrize("line", INSTALLS)
def test_install_lines_are_there(line: str) -> None:
    assert any(line in block for block in blocks("sh", "bash", "shell", "console"))


def test_hrpose_lines_run(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [words for words in hrpose_lines() if not parsed_only(words)]
    assert any(words[:1] == ["image"] for words in lines)
    for words in lines:
        expanded = [name for word in words for name in sorted(glob.glob(word)) or [word]]
        assert main.run(expanded) == 0, f"hrpose {shlex.join(words)}: {capsys.readouterr().err}"


def test_other_hrpose_lines_have_known_words() -> None:
    for words in filter(parsed_only, hrpose_lines()):
        context = click.Context(main.root, info_name="hrpose")
        command: click.Command | None = main.root
        while isinstance(command, click.Group):
            command = command.get_command(context, words.pop(0))
        assert command is not None
        command.make_parser(click.Context(command)).parse_args(args=words)


def test_python_blocks_run(desk: Path) -> None:
    sources = blocks("python")
    assert sources
    names: dict[str, object] = {}
    for source in sources:
        exec(compile(source, "README.md", "exec"), names)
