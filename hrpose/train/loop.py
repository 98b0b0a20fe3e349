"""The training loop that every task shares: schedule, EMA, checkpoints, resume."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hrpose.errors import InputError, OutputError, UsageError
from hrpose.train import distributed
from hrpose.train.ahead import ahead
from hrpose.train.log import Log, means
from hrpose.train.settings import Settings

# what torch.load and load_state_dict raise on files that are not the checkpoint of this network
_DAMAGED = (
    OSError, EOFError, RuntimeError, LookupError, ValueError, TypeError, AttributeError,
    pickle.UnpicklingError,
)  # fmt: skip

_OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


class Task(Protocol):
    """What is trained: batches and their loss.

    ``batches(first)`` must give the same batches in every run from the same position on, so that
    a resumed run continues exactly; of every batch it makes ``distributed.rank()``'s share.
    ``loss`` returns the loss and figures for the log; the mean of the losses of all processes is
    the loss of the batch.
    """

    network: nn.Module

    def batches(self, first: int) -> Iterator[Any]: ...

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, float]]: ...


@dataclass(slots=True)
class State:
    """All that changes while training, and so all that a checkpoint holds."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0

    def save(self, path: Path, settings: Settings) -> None:
        """Writes the checkpoint whole or not at all."""
        document = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "settings": asdict(settings),
            "rng": torch.get_rng_state(),
        }
        part = path.with_name(f".{path.name}.part")
        try:
            with part.open("wb") as file:
                torch.save(document, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except (OSError, RuntimeError) as error:  # a full disk is a RuntimeError of torch.save
            part.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or "cannot be written, is the disk full?"
            raise OutputError(f"{path}: {reason}", hint="the last checkpoint is intact") from error

    def restore(self, path: Path) -> None:
        """Continues from a checkpoint.

        Raises:
            InputError: The file is missing, damaged or of another network.
        """
        try:
            document = torch.load(path, map_location="cpu", weights_only=True)
            self.network.load_state_dict(document["network"])
            self.average.load_state_dict(document["average"])
            self.optimizer.load_state_dict(document["optimizer"])
            self.scaler.load_state_dict(document.get("scaler", {}))
            torch.set_rng_state(document["rng"])
            self.step = document["step"]
        except _DAMAGED as error:
            raise InputError(
                f"{path}: cannot resume: {' '.join(str(error).split())[:200]}",
                hint="resume with the model and settings the run was started with",
            ) from error


def train(
    task: Task, settings: Settings, out: Path, *, device: torch.device, resume: bool
) -> State:
    """Trains until the steps are done or a signal asks to stop.

    SIGTERM and SIGINT finish the current step and save a checkpoint.

    Args:
        task: What to train; its network gets updated in place.
        settings: How.
        out: Folder of ``checkpoint.pt`` and ``log.csv``.
        device: Where.
        resume: Whether to go on from ``out/checkpoint.pt``.

    Returns:
        The final state; ``step < settings.steps`` when a signal ended it.

    Raises:
        UsageError: The batch cannot be shared evenly by the processes.
        HrposeError: Bad data, or files that cannot be read or written.
    """
    rank = distributed.rank()
    if settings.batch_size % rank.count:
        raise UsageError(
            f"a batch of {settings.batch_size} cannot be shared evenly by {rank.count} processes",
            hint=f"use a --batch-size that is a multiple of {rank.count}",
        )
    torch.manual_seed(settings.seed + rank.number)
    state = _begin(task.network, settings, device)
    checkpoint = out / "checkpoint.pt"
    if resume:
        state.restore(checkpoint)
    elif checkpoint.exists():
        raise OutputError(f"{checkpoint}: exists", hint="use --resume, or another --out")
    forward = distributed.wrap(state.network, device)
    if settings.compile:
        forward = torch.compile(forward)  # type: ignore[assignment]
    with (
        _stop_on_signals() as stopping,
        ahead(task.batches(state.step), device) as batches,
        Log(out / "log.csv", state.step, settings, silent=rank.number > 0) as log,
    ):
        saved, stop = time.monotonic(), stopping()
        while state.step < settings.steps and not stop:
            waited = time.monotonic()
            batch = next(batches)
            waited = time.monotonic() - waited
            figures = _step(task, forward, state, settings, batch, device)
            state.step += 1
            # all processes end after the same step, or those left would wait for the others
            everyone = distributed.gather((figures, stopping()))
            stop = any(asked for _, asked in everyone)
            figures = means([figures for figures, _ in everyone])
            log.add(state.step, settings.lr_at(state.step - 1), figures, waited)
            if time.monotonic() - saved > settings.checkpoint_minutes * 60 and rank.number == 0:
                state.save(checkpoint, settings)
                saved = time.monotonic()
    if rank.number == 0:
        state.save(checkpoint, settings)
    return state


def _begin(network: nn.Module, settings: Settings, device: torch.device) -> State:
    """The state before the first step; the network moves to the device."""
    network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    return State(
        network,
        copy.deepcopy(network).requires_grad_(False),
        _OPTIMIZERS[settings.optimizer](_groups(network, settings.weight_decay), lr=settings.lr),
        torch.amp.GradScaler(device.type, enabled=settings.dtype == "float16"),
    )


def _step(
    task: Task,
    forward: nn.Module,
    state: State,
    settings: Settings,
    batch: Any,
    device: torch.device,
) -> dict[str, float]:
    for group in state.optimizer.param_groups:
        group["lr"] = settings.lr_at(state.step)
    dtype = getattr(torch, settings.dtype)
    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        loss, figures = task.loss(forward, batch)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    state.scaler.unscale_(state.optimizer)
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip or math.inf)
    if torch.isfinite(norm):  # one broken batch must not spoil the weights
        state.scaler.step(state.optimizer)
        _average(state, settings.ema)
    else:
        _heal(state)
    state.scaler.update()
    return {"loss": float(loss.detach()), **figures}


@torch.no_grad()
def _heal(state: State) -> None:
    """Batch norms that have seen a value that is not finite take the average's statistics."""
    healthy = dict(state.average.named_buffers())
    for name, buffer in state.network.named_buffers():
        if not torch.isfinite(buffer).all():
            buffer.copy_(healthy[name])


@torch.no_grad()
def _average(state: State, decay: float) -> None:
    # a young average follows quickly, so that the random start is forgotten
    decay = min(decay, (1 + state.step) / (10 + state.step))
    ours, theirs = state.average.state_dict(), state.network.state_dict()
    floats = [name for name, value in ours.items() if value.is_floating_point()]
    torch._foreach_lerp_([ours[n] for n in floats], [theirs[n] for n in floats], 1 - decay)
    for name in ours.keys() - set(floats):
        ours[name].copy_(theirs[name])


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay on weights of two or more dimensions, none on norms and biases."""
    wide = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    flat = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": wide, "weight_decay": decay}, {"params": flat, "weight_decay": 0.0}]


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yields a question: has SIGTERM or SIGINT come? A second SIGINT interrupts at once."""
    asked = threading.Event()

    def handle(number: int, _: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
