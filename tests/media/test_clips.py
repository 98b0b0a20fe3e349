"""Words of a command line to clips."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hrpose.errors import BadVideo, InputError, UsageError
from hrpose.media.clips import Source, sources
from hrpose.options import MAX_PIXELS, Span


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def found(*words: str, **options: Any) -> list[tuple[str, str, list[str]]]:
    """Name, what it is called, and its files, of each source."""
    return [
        (source.name, source.given, [path.as_posix() for path in source.inputs])
        for source in sources(words, **options)
    ]


def file(name: str) -> tuple[str, str, list[str]]:
    return (Path(name).stem, name, [name])


def test_files_in_the_order_given_each_once(here: Path) -> None:
    touch("b.mp4", "a.mov", "no suffix")
    words = ["b.mp4", "a.mov", "no suffix", "./b.mp4", "nowhere.mp4"]
    assert found(*words) == [file(name) for name in words if name != "./b.mp4"]
    assert all(source.path is not None and not source.live for source in sources(words))


@pytest.mark.parametrize(
    "name",
    ["a:b.mp4", "http:x.mp4", "0", "12", "-dash.mp4", "a[1].mp4", "*.mp4", "f_%03d.png", "what?"],
)
def test_what_exists_is_a_file(here: Path, name: str) -> None:
    touch(name)
    ((_, given, inputs),) = found(name)
    assert (given, inputs) == (name, [name])


def test_even_what_looks_like_a_url(here: Path) -> None:
    touch("http:/x.org/a.mp4")
    assert found("http://x.org/a.mp4")[0][1] in ("http://x.org/a.mp4", "http:/x.org/a.mp4")
    assert sources(["http://x.org/a.mp4"])[0].path is not None


def test_patterns(here: Path) -> None:
    touch("clip10.mp4", "clip2.mp4", "clip1.MKV", "notes.txt", ".hidden.mp4", "clip1.png")
    assert found("clip*") == [file("clip1.MKV"), file("clip2.mp4"), file("clip10.mp4")]
    assert found("clip?.mp4") == [file("clip2.mp4")]
    assert found("*.txt") == [file("notes.txt")]
    with pytest.raises(InputError, match=r"x\*\.mp4: no file matches"):
        sources(["x*.mp4"])


def test_pictures_are_one_sequence(here: Path) -> None:
    names = [f"run/frame_{number}.png" for number in (1, 2, 10, 11)]
    touch(*names)
    row = ("frame", "run/frame_*.png", names)
    assert found("run/frame_*.png") == [row]
    assert found("run/frame_%d.png") == [("frame", "run/frame_%d.png", names)]
    assert found("run/frame_%02d.png") == [("frame", "run/frame_%02d.png", names[2:])]
    assert found("run") == [("run", "run", names)]
    assert found(*sorted(names)) == [("frame", "run/frame*", names)]  # as a shell expands it
    assert found(names[0]) == [("frame_1", names[0], names[:1])]
    assert all(source.path is None for source in sources(["run"]))
    with pytest.raises(InputError, match="no file with such a number"):
        sources(["run/frame_%03d.png"])
    with pytest.raises(InputError, match="nowhere: folder cannot be listed"):
        sources(["nowhere/frame_%03d.png"])


def test_pictures_between_videos_are_a_sequence_of_their_own(here: Path) -> None:
    touch("1.png", "2.png", "a.mp4", "3.png", "x.gif")
    kinds = [given for _, given, _ in found("1.png", "2.png", "a.mp4", "3.png", "x.gif")]
    assert kinds[1:] == ["a.mp4", "3.png", "x.gif"]
    assert [len(inputs) for _, _, inputs in found("1.png", "2.png", "a.mp4")] == [2, 1]


def test_folders(here: Path) -> None:
    touch("in/clip10.mp4", "in/clip9.mp4", "in/deep/a.avi", "in/cover.jpg", "in/._clip9.mp4")
    touch("in/clip9.pose.mp4")  # drawn by a run before
    touch("out/b.mp4")
    Path("in/link").symlink_to(here / "out")
    Path("in/own.mp4").symlink_to(here / "out/b.mp4")
    names = ["in/clip9.mp4", "in/clip10.mp4", "in/own.mp4", "in/deep/a.avi"]
    assert found("in") == [file(name) for name in names]
    touch("rows/b/2.jpg", "rows/b/10.jpg", "rows/a/1.jpg", "rows/a/x/1.jpg")
    assert [(name, len(files)) for name, _, files in found("rows")] == [
        ("a", 1),
        ("x", 1),
        ("b", 2),
    ]
    touch("gifs/a.gif", "gifs/b.gif", "texts/a.txt")
    assert [name for name, _, _ in found("gifs")] == ["a", "b"]
    with pytest.raises(InputError, match="texts: neither videos nor pictures"):
        sources(["texts"])


def kinds(*words: str, **options: Any) -> list[tuple[str, str, bool]]:
    return [(s.name, s.given, s.live) for s in sources(words, **options)]


def test_cameras_and_standard_input(here: Path) -> None:
    assert kinds("0", "-", "12") == [
        ("camera0", "camera 0", True),
        ("stdin", "standard input", False),
        ("camera12", "camera 12", True),
    ]
    assert found("123") == [file("123")]  # no such file, but no camera either


def test_urls_only_when_allowed(here: Path) -> None:
    url = "https://user:secret@x.org:8080/live/cam.mp4?token=secret"
    assert kinds(url, allow_network=True) == [("cam", "https://x.org:8080/live/cam.mp4", False)]
    assert kinds("rtsp://10.0.0.1", allow_network=True) == [("10.0.0.1", "rtsp://10.0.0.1", True)]
    with pytest.raises(UsageError, match="not allowed") as caught:
        sources(["a.mp4", url])
    assert "--allow-network" in caught.value.hint
    assert "secret" not in caught.value.message
    for other in ("udp://x.org:1", "file:///a.mp4", "concat://a", "http://["):
        with pytest.raises(UsageError):
            sources([other], allow_network=True)


@pytest.mark.parametrize(
    "word", ["http:x.mp4", "concat:a.mp4|b.mp4", "subfile,,:a.mp4", "", "a\0b"]
)
def test_protocols_are_no_names(here: Path, word: str) -> None:
    (source,) = sources([word], allow_network=True)
    with pytest.raises(BadVideo):
        source.open()


def numbers(opened: Sequence[Source], studio: Any, span: Span) -> list[list[int]]:
    frames = []
    for source in opened:
        with source.open(span, max_pixels=MAX_PIXELS) as reader:
            assert reader.rate == Fraction(10, span.every)
            frames.append([studio.number(frame.image) for frame in reader])
    return frames


def test_a_video_and_its_pictures_read_alike(here: Path, studio: Any) -> None:
    studio.film(Path("clip.mp4"), range(12), rate=10)
    Path("row").mkdir()
    for number in range(12):
        Image.fromarray(studio.picture(number)).save(f"row/{number}.png")
    both = sources(["clip.mp4", "row"], rate=Fraction(10))
    for span in (Span(), Span(0.3, 0.9), Span(0.35, every=3), Span(None, 0.8, max_frames=5)):
        video, row = numbers(both, studio, span)
        assert video == row
        assert video


def test_pictures_have_25_frames_a_second_by_default(here: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save("a.png")
    shutil.copy("a.png", "b.png")
    with sources(["a.png", "b.png"])[0].open() as reader:
        assert [frame.time for frame in reader] == [0.0, 0.04]
        assert reader.source_note == "2 pictures at 25 frames per second"
