"""Batches ahead of the taker: how far, in which order, and what happens to errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from hrpose.errors import BadAnnotation
from hrpose.train.ahead import ahead

GPU = torch.device("cuda")  # named only, nothing runs there


def test_a_cpu_makes_its_batches_itself() -> None:
    made: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            yield number

    with ahead(batches(), torch.device("cpu")) as taken:
        assert next(taken) == 0
        time.sleep(0.05)
        assert made == [0]


def test_beside_a_device_they_are_made_ahead_but_not_far() -> None:
    made = 0

    def batches() -> Iterator[int]:
        nonlocal made
        while True:
            made += 1
            yield made

    before = threading.active_count()
    with ahead(batches(), GPU) as taken:
        for number in range(1, 20):
            assert next(taken) == number
            assert made - number <= 4  # three in the queue and one in the making
        for _ in range(200):
            if made - number >= 3:
                break
            time.sleep(0.01)
        assert made - number >= 3
    assert threading.active_count() == before


def test_errors_come_out_at_the_taker() -> None:
    def batches() -> Iterator[int]:
        yield 1
        raise BadAnnotation("8.json: broken")

    before = threading.active_count()
    with ahead(batches(), GPU) as taken:
        assert next(taken) == 1
        with pytest.raises(BadAnnotation, match=r"8\.json"):
            next(taken)
    assert threading.active_count() == before


def test_an_end_is_an_end() -> None:
    with ahead(iter([1, 2]), GPU) as taken:
        assert list(taken) == [1, 2]
