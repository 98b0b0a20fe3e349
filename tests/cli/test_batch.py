"""A folder of pictures to one JSON: damage, drawings, interruption, order, reading ahead."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hrpose.cli.main import run
from hrpose.errors import OutputError
from hrpose.formats import schema
from hrpose.media.image import read_image
from hrpose.run import Stop
from hrpose.types import Frame

MakePicture = Callable[..., Path]
Captured = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("here")


def document(path: str = "results.json") -> Any:
    content = json.loads(Path(path).read_bytes())
    jsonschema.validate(content, schema())
    return content


def files() -> list[str]:
    """Everything below the current folder but the inputs, as text."""
    found = (path for path in Path().rglob("*") if path.is_file() and path.parts[0] != "in")
    return sorted(path.as_posix() for path in found)


def nth_batch(number: int, action: Callable[[], object]) -> Callable[[Sequence[Frame]], object]:
    count = 0

    def before(frames: Sequence[Frame]) -> None:
        nonlocal count
        count += 1
        if count == number:
            action()

    return before


def test_all_pictures_below_a_folder(
    tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured
) -> None:
    for name, size in (
        ("b.jpg", (80, 60)),
        ("a/x.png", (64, 48)),
        ("a/deep/größe 👤.webp", (9, 7)),
    ):
        make_picture(f"in/{name}", size=size)
    Path("in/notes.txt").write_text("no picture")
    assert run(["batch", "in", "--json", "results.json"]) == 0
    out, err = capsys.readouterr()
    assert out == "in: 3 pictures, 6 people -> results.json\n"
    assert err.startswith("note: using ")
    assert err.count("\n") == 1
    pictures = document()["pictures"]
    assert [(p["source"], p["width"], p["height"]) for p in pictures] == [
        ("in/a/deep/größe 👤.webp", 9, 7), ("in/a/x.png", 64, 48), ("in/b.jpg", 80, 60),
    ]  # fmt: skip
    assert document()["errors"] == []
    assert files() == ["results.json"]


@pytest.mark.parametrize("frame_batch", ["1", "2", "8"])
def test_unreadable_pictures(
    frame_batch: str, tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured
) -> None:
    whole = make_picture("in/b.jpg", size=(200, 200)).read_bytes()
    make_picture("in/e.jpg")
    Path("in/a.jpg").write_text("text")
    Path("in/c.jpg").touch()
    Path("in/d.jpg").write_bytes(whole[: len(whole) // 2])
    Path("in/f.jpg").symlink_to("nowhere")
    assert run(["batch", "in", "--json", "results.json", "--frame-batch", frame_batch]) == 3
    out, err = capsys.readouterr()
    assert out == "in: 2 pictures, 4 people -> results.json\n"
    lines = err.splitlines()[1:]
    assert [line.split(": ")[:2] for line in lines[:-1]] == [
        ["error", f"in/{name}.jpg"] for name in "acdf"
    ]
    assert lines[-1].startswith("hint: 4 of 6 pictures could not be read; ")
    content = document()
    assert [(p["source"], p["status"]) for p in content["pictures"]] == [
        (f"in/{name}.jpg", "ok" if name in "be" else "error") for name in "abcdef"
    ]
    reasons = {e["source"]: e["reason"] for e in content["errors"]}
    assert reasons["in/c.jpg"] == "file is empty"
    assert "cut short" in reasons["in/d.jpg"]


def test_all_unreadable(tiny_pipeline: Any, capsys: Captured) -> None:
    Path("in").mkdir()
    Path("in/a.jpg").write_text("text")
    assert run(["batch", "in", "--json", "results.json"]) == 3
    assert len(document()["errors"]) == 1


def test_coco(tiny_pipeline: Any, make_picture: MakePicture) -> None:
    make_picture("in/img_12.jpg")
    make_picture("in/plain.jpg")
    Path("in/bad_13.jpg").write_text("text")
    assert run(["batch", "in", "--json", "results.json", "--format", "coco"]) == 3
    rows = json.loads(Path("results.json").read_bytes())
    assert [row["image_id"] for row in rows] == [12, 12, "plain.jpg", "plain.jpg"]


def test_drawings_mirror_the_folder(
    tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured
) -> None:
    for name in ("a.jpg", "x/a.jpg", "x/y/b.png", "x/c.jpg", "x/c.webp"):
        make_picture(f"in/{name}")
    words = ["batch", "in", "--json", "drawn/results.json", "--draw", "drawn"]
    assert run(words) == 0
    assert capsys.readouterr().out.endswith(" -> drawn/results.json, drawn\n")
    assert files() == [
        "drawn/a.pose.jpg", "drawn/results.json", "drawn/x/a.pose.jpg", "drawn/x/c.jpg.pose.jpg",
        "drawn/x/c.webp.pose.jpg", "drawn/x/y/b.pose.png",
    ]  # fmt: skip


def test_drawings_below_the_folder_are_not_read_again(
    tiny_pipeline: Any, make_picture: MakePicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_picture("in/a.jpg")
    monkeypatch.chdir("in")
    words = ["batch", ".", "--json", "results.json", "--draw", "drawn", "--force"]
    for _ in range(2):
        assert run(words) == 0
        assert [p["source"] for p in document()["pictures"]] == ["a.jpg"]
    assert sorted(p.name for p in Path("drawn").iterdir()) == ["a.pose.jpg"]
    Path("a.jpg").unlink()
    assert run(words) == 3


def test_drawings_above_the_folder(tiny_pipeline: Any, make_picture: MakePicture) -> None:
    make_picture("in/a.jpg")
    assert run(["batch", "in", "--json", "results.json", "--draw", "."]) == 0
    assert files() == ["a.pose.jpg", "results.json"]


def test_drawings_among_the_pictures_are_refused(
    make_picture: MakePicture, capsys: Captured
) -> None:
    make_picture("in/a.jpg")
    assert run(["batch", "in", "--json", "results.json", "--draw", "in/../in"]) == 2
    assert "is the folder of the pictures\nhint: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["results.json", "drawn/a.pose.jpg"])
def test_nothing_is_overwritten_without_force(
    name: str, tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured
) -> None:
    make_picture("in/a.jpg")
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("precious")
    words = ["batch", "in", "--json", "results.json", "--draw", "drawn"]
    assert run(words) == 5
    out, err = capsys.readouterr()
    assert (out, tiny_pipeline.options) == ("", None)
    assert err.startswith(f"error: {name}: already exists\nhint: ")
    assert files() == [name]
    assert Path(name).read_text() == "precious"
    assert run([*words, "--force"]) == 0
    assert Path(name).read_bytes() != b"precious"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere", "--json", "r.json"], 3, "nowhere: no such folder"),
        (["in/a.jpg", "--json", "r.json"], 3, "in/a.jpg: not a folder"),
        (["empty", "--json", "r.json"], 3, "empty: no pictures in this folder"),
        (["in"], 2, "--json"),
        (["in", "--json", "missing/r.json"], 5, "folder missing does not exist"),
        (["in", "--json", "in"], 5, "in: is a folder"),
        (["in", "--json", "in/a.jpg", "--force"], 5, "output is the input file in/a.jpg"),
        (["in", "--json", "r.json", "--draw", "in/a.jpg"], 5, "in/a.jpg: folder cannot be made"),
    ],
)
def test_failures(
    words: list[str], code: int, said: str, tiny_pipeline: Any, make_picture: MakePicture,
    capsys: Captured,
) -> None:  # fmt: skip
    make_picture("in/a.jpg")
    Path("empty").mkdir()
    assert run(["batch", *words]) == code
    out, err = capsys.readouterr()
    assert (out, tiny_pipeline.options) == ("", None)
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert said in error
    assert hint.startswith("hint: ")
    assert files() == []


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_keeps_what_is_done(
    number: int, code: int, said: str, tiny_pipeline: Any, make_picture: MakePicture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for i in range(9):
        make_picture(f"in/{i}.jpg")
    Path("in/00.jpg").write_text("text")
    tiny_pipeline.before = nth_batch(3, lambda: os.kill(os.getpid(), number))
    words = ["batch", "in", "--json", "results.json", "--draw", "drawn", "--frame-batch", "1"]
    assert run(words) == code
    out, err = capfd.readouterr()
    assert out == "in: 3 pictures, 6 people -> results.json, drawn\n"
    lines = err.splitlines()
    assert "stopping, what is done is kept; once more stops at once and keeps nothing" in lines
    assert "error: in/00.jpg: not a picture in a known format" in lines
    assert lines[-2:] == [
        "note: stopped after 4 of 10 pictures; results.json has them", f"error: {said}",
    ]  # fmt: skip
    sources = [picture["source"] for picture in document()["pictures"]]
    assert sources == ["in/0.jpg", "in/00.jpg", "in/1.jpg", "in/2.jpg"]
    assert len(files()) == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("first", [False, True], ids=["second signal", "before the first picture"])
def test_nothing_to_keep(
    first: bool, tiny_pipeline: Any, make_picture: MakePicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def twice() -> None:
        interrupt()
        interrupt()

    if first:
        start = Stop.until  # a generator: its body runs when the pipeline takes the first picture

        def until(self: Stop, items: Any) -> Any:
            interrupt()
            return start(self, items)

        monkeypatch.setattr(Stop, "until", until)
    else:
        tiny_pipeline.before = nth_batch(2, twice)
    for i in range(3):
        make_picture(f"in/{i}.jpg")
    assert run(["batch", "in", "--json", "results.json", "--frame-batch", "1"]) == 130
    assert files() == []


def test_an_interrupt_of_the_source_keeps_what_is_done(
    tiny_pipeline: Any, make_picture: MakePicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path, **limits: Any) -> Frame:
        if path.name == "2.jpg":
            raise KeyboardInterrupt
        return read_image(path, **limits)

    monkeypatch.setattr("hrpose.run.read_image", read)
    for i in range(4):
        make_picture(f"in/{i}.jpg")
    assert run(["batch", "in", "--json", "results.json"]) == 130
    assert [p["source"] for p in document()["pictures"]] == ["in/0.jpg", "in/1.jpg"]


def test_a_failing_disk_leaves_no_json(
    tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def write(path: Path, *_: Any, **__: Any) -> None:
        if path.name == "1.pose.jpg":
            raise OutputError(f"{path}: cannot be written: disk full", hint="free some space")

    monkeypatch.setattr("hrpose.run.write_image", write)
    for i in range(3):
        make_picture(f"in/{i}.jpg")
    assert run(["batch", "in", "--json", "results.json", "--draw", "drawn"]) == 5
    assert "error: drawn/1.pose.jpg: cannot be written" in capsys.readouterr().err
    assert files() == []


def test_reading_overlaps_with_the_network_and_is_bounded(
    tiny_pipeline: Any, make_picture: MakePicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    third = threading.Event()

    def counted(path: Path, **limits: Any) -> Frame:
        read.append(path.name)
        if path.name == "2.jpg":
            third.set()
        return read_image(path, **limits)

    ahead: list[int] = []

    def before(frames: Sequence[Frame]) -> None:
        assert third.wait(5), "nothing is read while the network works"
        ahead.append(len(read))

    monkeypatch.setattr("hrpose.run.read_image", counted)
    tiny_pipeline.before = before
    for i in range(10):
        make_picture(f"in/{i}.jpg")
    assert run(["batch", "in", "--json", "results.json", "--frame-batch", "2"]) == 0
    assert len(read) == 10
    assert all(count <= 2 * (i + 1) + 3 for i, count in enumerate(ahead)), ahead


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("quiet", [False, True])
def test_progress(
    quiet: bool, tiny_pipeline: Any, make_picture: MakePicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    make_picture("in/a.jpg")
    Path("in/b.jpg").write_text("text")
    run(["batch", "in", "--json", "results.json", *["-q"] * quiet])
    shown = stderr.getvalue()
    assert ("2/2" in shown) is not quiet
    assert ("pictures/s" in shown) is not quiet
    assert "error: in/b.jpg" in shown
