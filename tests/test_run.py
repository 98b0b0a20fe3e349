"""Runs from files to files: order of outcomes, reading ahead, and ending early."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hrpose.errors import BadImage
from hrpose.run import Stop, Unreadable, outcomes, read_pictures
from hrpose.types import Frame


class Batched:
    """A pipeline that takes frames in batches and gives them back."""

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, frames: Iterable[Frame]) -> Iterator[Any]:
        batch: list[Frame] = []
        for frame in frames:
            batch.append(frame)
            if len(batch) == self.size:
                yield from ((frame, "poses") for frame in batch)
                batch = []
        yield from ((frame, "poses") for frame in batch)


@given(readable=st.lists(st.booleans(), max_size=12), size=st.integers(1, 5))
def test_outcomes_keep_the_order_of_readings(readable: list[bool], size: int) -> None:
    image = torch.zeros(3, 1, 1, dtype=torch.uint8)
    readings = [
        Frame(image, source=str(i)) if good else Unreadable(str(i), BadImage(f"{i}: bad"))
        for i, good in enumerate(readable)
    ]
    found = outcomes(Batched(size), readings)  # type: ignore[arg-type]
    sources = [o.source if isinstance(o, Unreadable) else o[0].source for o in found]
    assert sources == [reading.source for reading in readings]


def test_reason_does_not_repeat_the_name() -> None:
    assert Unreadable("a: b.jpg", BadImage("a: b.jpg: file is empty")).reason == "file is empty"


def test_reading_ahead_keeps_the_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(20)]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((100 - 5 * i, 4, 3), i, np.uint8)).save(path)
    paths.insert(7, tmp_path / "missing.png")
    found = list(read_pictures(paths, max_pixels=1000, ahead=3))
    assert [reading.source for reading in found] == list(map(str, paths))
    assert isinstance(found[7], Unreadable)
    values = [int(f.image[0, 0, 0]) for f in found if isinstance(f, Frame)]
    assert values == list(range(20))


class TestStop:
    def test_not_asked(self) -> None:
        assert list(Stop().until([1, 2, 3])) == [1, 2, 3]
        assert list(Stop().until([])) == []

    def test_asked_on_the_way(self) -> None:
        stop, taken = Stop(), []
        for item in stop.until(range(9)):
            taken.append(item)
            stop.asked = item == 2
        assert taken == [0, 1, 2]

    def test_interrupted_source(self) -> None:
        def source() -> Iterator[int]:
            yield 1
            raise KeyboardInterrupt

        stop = Stop()
        assert list(stop.until(source())) == [1]
        assert stop.asked

    def test_nothing_to_keep(self) -> None:
        stop = Stop()
        stop.asked = True
        with pytest.raises(KeyboardInterrupt):
            list(stop.until([1]))
