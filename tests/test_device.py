"""Devices that are not there, and batches that shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from hrpose.device import DTYPES, MicroBatches, choose_device, choose_dtype
from hrpose.errors import MemoryLimitError, UsageError


@pytest.fixture
def plain_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("plain_machine")
@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_the_cpu_is_always_there(name: str) -> None:
    assert choose_device(name) == torch.device("cpu")


@pytest.mark.usefixtures("plain_machine")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda", "no CUDA device for 'cuda': PyTorch sees 0"),
        ("cuda:1", "no CUDA device for 'cuda:1'"),
        ("mps", "no MPS"),
        ("gpu", "unknown device 'gpu'"),
        ("", "unknown device ''"),
        ("cuda:x", "unknown device 'cuda:x'"),
        ("meta", "'meta' is not supported"),
    ],
)
def test_other_devices_are_usage_errors(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        choose_device(name)
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match="PyTorch sees 2"):
        choose_device("cuda:2")


def test_choose_dtype() -> None:
    assert [choose_dtype(name) for name in DTYPES] == list(DTYPES.values())
    with pytest.raises(ValueError, match="float64"):
        choose_dtype("float64")


def limited(most: int, tried: list[int]) -> Callable[[Sequence[int]], list[int]]:
    """A step whose device holds ``most`` items."""

    def step(batch: Sequence[int]) -> list[int]:
        tried.append(len(batch))
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [item * item for item in batch]

    return step


@pytest.mark.parametrize("count", [0, 1, 8, 9, 16, 21])
def test_batches_are_complete_and_in_order(count: int) -> None:
    tried: list[int] = []
    parts = list(MicroBatches(8, what="crops").run(range(count), limited(8, tried)))
    assert [x for part in parts for x in part] == [i * i for i in range(count)]
    assert tried == [8] * (count // 8) + ([count % 8] if count % 8 else [])


def test_out_of_memory_halves_once_and_keeps_the_size(capsys: pytest.CaptureFixture[str]) -> None:
    batches, tried = MicroBatches(8, what="crops"), list[int]()
    for _ in range(2):
        parts = list(batches.run(range(11), limited(5, tried)))
        assert [x for part in parts for x in part] == [i * i for i in range(11)]
    assert tried == [8, 4, 4, 3, 4, 4, 3]
    assert batches.size == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "out of memory: going on with 4 crops at a time\n"


def test_halving_starts_from_what_was_tried(capsys: pytest.CaptureFixture[str]) -> None:
    """Three items under a limit of 32 must not be tried again as 16, 8 and 4."""
    batches, tried = MicroBatches(32, what="frames"), list[int]()
    assert list(batches.run([1, 2, 3], limited(2, tried))) == [[1], [4], [9]]
    assert tried == [3, 1, 1, 1]
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("size", [1, 6, 32])
def test_not_even_one(size: int) -> None:
    tried: list[int] = []
    with pytest.raises(MemoryLimitError, match="one of the crops") as caught:
        list(MicroBatches(size, what="crops").run(range(4), limited(0, tried)))
    assert caught.value.exit_code == 6
    assert tried[-1] == 1
    assert len(tried) <= 3


@pytest.mark.parametrize(
    "text", ["DefaultCPUAllocator: can't allocate memory", "MPS backend out of memory (MPS ...)"]
)
def test_plain_runtime_errors_of_allocators_count(text: str) -> None:
    def step(batch: Sequence[int]) -> int:
        if len(batch) > 1:
            raise RuntimeError(text)
        return batch[0]

    assert list(MicroBatches(2, what="crops").run([7, 8], step)) == [7, 8]


def test_other_errors_pass() -> None:
    def step(batch: Sequence[int]) -> int:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        list(MicroBatches(2, what="crops").run([7, 8], step))
    with pytest.raises(ValueError, match="at least 1"):
        MicroBatches(0, what="crops")
