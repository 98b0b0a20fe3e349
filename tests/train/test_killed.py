"""SIGKILL at any moment: what is resumed ends bit for bit where an undisturbed run ends."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hrpose.train.loop import train
from hrpose.train.settings import Settings

STEPS = 100


class Line:
    """A task that is learnt in no time, with all that has a state: norms, dropout, momentum."""

    def __init__(self) -> None:
        torch.manual_seed(5)
        self.network = nn.Sequential(
            nn.Linear(3, 64), nn.BatchNorm1d(64), nn.Dropout(0.1), nn.Linear(64, 1)
        )

    def batches(self, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            x = torch.from_numpy(np.random.default_rng((9, first)).standard_normal((16, 3))).float()
            yield x, x.sum(1, keepdim=True)
            first += 1

    def loss(
        self, network: nn.Module, batch: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        x, y = batch
        return ((network(x) - y) ** 2).mean(), {}


def run(out: Path) -> None:
    """Trains, or goes on; saves after every step, so that most kills hit a file in the writing."""
    torch.set_num_threads(1)
    settings = Settings(
        steps=STEPS, batch_size=16, lr=0.02, warmup=4, log_steps=10, checkpoint_minutes=0
    )
    resume = (out / "checkpoint.pt").exists()
    train(Line(), settings, out, device=torch.device("cpu"), resume=resume)


def start(processes: ForkServerContext, out: Path) -> BaseProcess:
    process = processes.Process(target=run, args=(out,))
    process.start()
    return process


def finish(process: BaseProcess) -> int | None:
    process.join(120)
    return process.exitcode


@pytest.mark.xdist_group("processes")
def test_kills_leave_no_trace(processes: ForkServerContext, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    undisturbed = start(processes, whole)
    moments, kills, reached = random.Random(7), 0, 0
    for _ in range(2):
        process = start(processes, parts)
        deadline = time.monotonic() + 120
        while process.is_alive() and logged(parts) < reached + 30 and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.02))
        kills += process.is_alive()
        process.kill()
        process.join()
        reached = logged(parts)
        assert reached > 0
    assert kills == 2
    assert reached < STEPS
    assert finish(start(processes, parts)) == 0
    assert finish(undisturbed) == 0
    want, got = (torch.load(f / "checkpoint.pt", weights_only=True) for f in (whole, parts))
    assert got["step"] == want["step"] == STEPS
    for part in ("network", "average"):
        for name, value in want[part].items():
            assert torch.equal(got[part][name], value), (part, name)
    for number, moments_of in want["optimizer"]["state"].items():
        for name, value in moments_of.items():
            assert torch.equal(got["optimizer"]["state"][number][name], value), name
    for folder in (whole, parts):
        steps = [line.split(",")[0] for line in (folder / "log.csv").read_text().splitlines()[1:]]
        assert steps == [str(step) for step in range(10, STEPS + 1, 10)]
    assert {p.name for p in parts.iterdir()} == {"checkpoint.pt", "log.csv"}


def logged(folder: Path) -> int:
    """The last step in the log."""
    log = folder / "log.csv"
    rows = log.read_text().splitlines()[1:] if log.exists() else []
    return int(rows[-1].split(",")[0] or 0) if rows else 0
