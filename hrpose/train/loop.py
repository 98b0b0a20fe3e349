"""The training loop that every task shares: schedule, EMA, checkpoints, resume, log."""

from __future__ import annotations

import contextlib
import copy
import csv
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from hrpose.errors import InputError, OutputError
from hrpose.train.settings import Settings

# what torch.load and load_state_dict raise on files that are not the checkpoint of this network
_DAMAGED = (
    OSError, EOFError, RuntimeError, LookupError, ValueError, TypeError, AttributeError,
    pickle.UnpicklingError,
)  # fmt: skip


class Task(Protocol):
    """What is trained: batches and their loss.

    ``batches(first)`` must give the same batches in every run from the same position on, so that
    a resumed run continues exactly; ``loss`` returns the loss and figures for the log.
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
    step: int = 0

    def save(self, path: Path, settings: Settings) -> None:
        """Writes the checkpoint whole or not at all."""
        document = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
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
    """
    torch.manual_seed(settings.seed)
    network = task.network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    state = State(
        network,
        copy.deepcopy(network).requires_grad_(False),
        torch.optim.AdamW(_groups(network, settings.weight_decay), lr=settings.lr),
    )
    checkpoint = out / "checkpoint.pt"
    if resume:
        state.restore(checkpoint)
    elif checkpoint.exists():
        raise OutputError(f"{checkpoint}: exists", hint="use --resume, or another --out")
    saved = time.monotonic()
    with (
        _stop_on_signals() as stopping,
        _ahead(task.batches(state.step), device) as batches,
        _Log(out / "log.csv", state.step, settings) as log,
    ):
        while state.step < settings.steps and not stopping():
            waited = time.monotonic()
            batch = next(batches)
            waited = time.monotonic() - waited
            figures = _step(task, state, settings, batch, device)
            state.step += 1
            log.add(state.step, settings.lr_at(state.step - 1), figures, waited)
            if time.monotonic() - saved > settings.checkpoint_minutes * 60:
                state.save(checkpoint, settings)
                saved = time.monotonic()
    state.save(checkpoint, settings)
    return state


def _step(
    task: Task, state: State, settings: Settings, batch: Any, device: torch.device
) -> dict[str, float]:
    for group in state.optimizer.param_groups:
        group["lr"] = settings.lr_at(state.step)
    half = settings.dtype != "float32"
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        loss, figures = task.loss(state.network, batch)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip)
    if torch.isfinite(norm):  # one broken batch must not spoil the weights
        state.optimizer.step()
        _average(state, settings.ema)
    return {"loss": float(loss.detach()), **figures}


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


class _Log:
    """Rows of means in a CSV file that one can plot, and the progress bar."""

    def __init__(self, path: Path, step: int, settings: Settings) -> None:
        _keep_rows(path, step)
        self._path, self._every = path, settings.log_steps
        self._batch = settings.batch_size
        self._rows: list[dict[str, float]] = []
        self._bar = tqdm(total=settings.steps, initial=step, unit="step", dynamic_ncols=True)
        self._since = time.monotonic()
        self._waited = 0.0

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, step: int, lr: float, figures: dict[str, float], waited: float) -> None:
        self._rows.append(figures)
        self._waited += waited
        self._bar.update()
        if step % self._every:
            return
        names = list(dict.fromkeys(name for row in self._rows for name in row))
        means = {n: _mean([row[n] for row in self._rows if n in row]) for n in names}
        spent = time.monotonic() - self._since
        row = {
            "step": step,
            "lr": round(lr, 8),
            **{name: round(value, 6) for name, value in means.items()},
            "samples_per_s": round(len(self._rows) * self._batch / spent, 1),
            "wait_share": round(self._waited / spent, 4),
        }
        self._write(row)
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in means.items()})
        self._rows, self._waited, self._since = [], 0.0, time.monotonic()

    def _write(self, row: dict[str, float]) -> None:
        try:
            with self._path.open("a+", newline="") as file:
                file.seek(0)
                names = next(csv.reader(file), None)  # a figure may be lacking in some rows
                writer = csv.DictWriter(file, names or list(row), extrasaction="ignore")
                if names is None:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise OutputError(
                f"{self._path}: {error.strerror}", hint="--resume goes on from the last checkpoint"
            ) from error


def _keep_rows(path: Path, step: int) -> None:
    """Leaves the rows up to a step: a run that is killed has logged further than its checkpoint."""
    if path.is_file():
        header, *rows = path.read_text().splitlines(keepends=True) or [""]
        numbered = [(row.split(",")[0], row) for row in rows if row.endswith("\n")]
        kept = [row for number, row in numbered if number.isdigit() and int(number) <= step]
        path.write_text(header + "".join(kept) if kept else "")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


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


def _ahead(
    batches: Iterator[Any], device: torch.device
) -> contextlib.AbstractContextManager[Iterator[Any]]:
    """Makes batches while the device computes.

    On the CPU there is nothing to wait for: a thread beside the network's only takes its cores
    from it (2 cores, 192 x 256: 2.0 steps a second with the thread, 2.6 without).
    """
    return contextlib.nullcontext(batches) if device.type == "cpu" else _prefetch(batches)


@contextlib.contextmanager
def _prefetch(batches: Iterator[Any], *, depth: int = 3) -> Iterator[Iterator[Any]]:
    """Makes batches in a thread of its own, ``depth`` ahead; its errors come out at the taker."""
    queue: Queue[Any] = Queue(depth)
    closed = threading.Event()

    def put(item: Any) -> None:
        while not closed.is_set():
            with contextlib.suppress(Full):
                queue.put(item, timeout=0.2)
                return

    def produce() -> None:
        try:
            for batch in batches:
                put(batch)
                if closed.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - handed to the taker, raised there
            put(error)

    def take() -> Iterator[Any]:
        while True:
            alive = thread.is_alive()  # before the look: its last item may come during it
            try:
                item = queue.get(timeout=1)
            except Empty:
                if not alive:
                    return
                continue
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=produce, name="hrpose-batches", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        closed.set()
        thread.join(timeout=10)
