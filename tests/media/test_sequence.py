"""Pictures in a row as a video."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hrpose.errors import BadVideo
from hrpose.media import sequence
from hrpose.media.sequence import ImageSequence
from hrpose.options import Span
from hrpose.types import Frame


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve pictures, each of its number's grey."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{number}.png" for number in range(12)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((6, 8, 3), number, np.uint8)).save(path)
    return paths


def read(paths: list[Path], **options: Any) -> tuple[list[Frame], ImageSequence]:
    settings: dict[str, Any] = {"name": "row", "rate": Fraction(10), **options}
    with ImageSequence(paths, **settings) as reader:
        return list(reader), reader


def grey(frames: list[Frame]) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in frames]


@pytest.mark.parametrize(
    ("span", "numbers"),
    [
        (Span(), range(12)),
        (Span(0.3, 0.7), range(3, 7)),
        (Span(0.299999), range(3, 12)),
        (Span(0.31), range(4, 12)),
        (Span(None, 0.05), range(1)),
        (Span(0.1, every=4), range(1, 12, 4)),
        (Span(0.1, every=2, max_frames=3), range(1, 7, 2)),
    ],
)
def test_spans(pictures: list[Path], span: Span, numbers: range) -> None:
    frames, reader = read(pictures, span=span)
    assert grey(frames) == list(numbers)
    assert [frame.time for frame in frames] == [number / 10 for number in numbers]
    assert [frame.index for frame in frames] == [number - numbers[0] for number in numbers]
    assert {frame.source for frame in frames} == {"row"}
    assert reader.frame_count == len(numbers)
    assert reader.rate == Fraction(10, span.every)
    assert reader.duration == pytest.approx(len(numbers) * span.every / 10)
    assert reader.report.decoded == len(numbers)
    assert not reader.report.damaged


def test_a_picture_that_cannot_be_read_leaves_its_place(pictures: list[Path]) -> None:
    paths = pictures.copy()
    paths[0] = paths[5] = paths[0].parent / "missing.png"
    frames, reader = read(paths)
    assert grey(frames) == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert [frame.index for frame in frames] == grey(frames)
    assert frames[4].time == 0.6
    assert str(reader.report) == "10 of 12 frames, 2 packets undecodable"
    assert reader.report.declared == 12


def test_another_size_is_told(pictures: list[Path], tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "small.png")
    frames, reader = read([*pictures[:2], tmp_path / "small.png"])
    assert [frame.size for frame in frames] == [(8, 6), (8, 6), (4, 3)]
    assert [(event.frame, event.kind) for event in reader.report.events] == [(2, "size")]


def test_nothing_to_read_is_refused(pictures: list[Path], tmp_path: Path) -> None:
    with pytest.raises(BadVideo, match=r"row: no picture can be read.*missing\.png: no such file"):
        read([tmp_path / "missing.png"] * 3)
    with pytest.raises(BadVideo, match=r"row: no picture in the chosen span; 12 .* 1\.200 s long"):
        read(pictures, span=Span(1.2))
    with pytest.raises(BadVideo, match="exceeds the limit"):
        read(pictures, max_pixels=47)


def test_reading_ahead_is_bounded(pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    lock, opened = threading.Lock(), []
    real = sequence.read_image

    def counted(path: Path, **options: int) -> Frame:
        with lock:
            opened.append(path)
        return real(path, **options)

    monkeypatch.setattr(sequence, "read_image", counted)
    with ImageSequence(pictures * 10, name="row", rate=Fraction(10)) as reader:
        frames = iter(reader)
        for taken in range(1, 11):
            next(frames)
            time.sleep(0.005)
            assert len(opened) <= taken + 6
        reader.close()
        assert list(frames) == []
    assert len(opened) < 30
