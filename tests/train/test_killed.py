"""SIGKILL at any moment: what is resumed ends bit for bit where an undisturbed run ends."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import torch

REPO = Path(__file__).parents[2]
STEPS = 100

# Saves after every step, so that most kills hit a checkpoint in the writing.
SCRIPT = f"""
import sys
from pathlib import Path
import numpy as np, torch
from torch import nn
from hrpose.train.loop import train
from hrpose.train.settings import Settings

class Line:
    def __init__(self):
        torch.manual_seed(5)
        self.network = nn.Sequential(
            nn.Linear(3, 64), nn.BatchNorm1d(64), nn.Dropout(0.1), nn.Linear(64, 1)
        )

    def batches(self, first):
        while True:
            x = torch.from_numpy(np.random.default_rng((9, first)).standard_normal((16, 3))).float()
            yield x, x.sum(1, keepdim=True)
            first += 1

    def loss(self, network, batch):
        x, y = batch
        return ((network(x) - y) ** 2).mean(), {{}}

out = Path(sys.argv[1])
torch.set_num_threads(1)
settings = Settings(
    steps={STEPS}, batch_size=16, lr=0.02, warmup=4, log_steps=10, checkpoint_minutes=0
)
resume = (out / "checkpoint.pt").exists()
train(Line(), settings, out, device=torch.device("cpu"), resume=resume)
"""


def start(out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out)], cwd=REPO, stderr=subprocess.DEVNULL
    )


def test_kills_leave_no_trace(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    undisturbed = start(whole)
    moments, kills, reached = random.Random(7), 0, 0
    for _ in range(2):
        run = start(parts)
        deadline = time.monotonic() + 120
        while run.poll() is None and logged(parts) < reached + 30 and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.02))
        kills += run.poll() is None
        run.kill()
        run.wait()
        reached = logged(parts)
        assert reached > 0
    assert kills == 2
    assert reached < STEPS
    assert start(parts).wait(timeout=120) == 0
    assert undisturbed.wait(timeout=120) == 0
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
