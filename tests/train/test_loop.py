"""The loop: it learns, stops when asked, and goes on as if it had never stopped."""

from __future__ import annotations

import csv
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hrpose.errors import BadAnnotation, InputError, OutputError
from hrpose.train.loop import State, train
from hrpose.train.settings import Settings

CPU = torch.device("cpu")
SETTINGS = Settings(steps=30, batch_size=16, lr=0.02, warmup=4, ema=0.9, log_steps=5)
Batch = tuple[Tensor, Tensor]


class Line:
    """Learns a line through a small network with a norm and dropout, which draws random numbers."""

    def __init__(self, *, hidden: int = 8, at: Callable[[int], None] | None = None):
        torch.manual_seed(5)
        self.network: nn.Module = nn.Sequential(
            nn.Linear(3, hidden), nn.BatchNorm1d(hidden), nn.Dropout(0.1), nn.Linear(hidden, 1)
        )
        self.weights: list[dict[str, Tensor]] = []
        self.errors: list[float] = []
        self._at = at

    def batches(self, first: int) -> Iterator[Batch]:
        number = first
        while True:
            random = np.random.default_rng((9, number))
            x = torch.from_numpy(random.standard_normal((16, 3))).float()
            yield x, x @ torch.tensor([[1.0], [-2], [3]]) + 0.5
            number += 1

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        self.weights.append({n: v.clone() for n, v in network.state_dict().items()})
        if self._at is not None:
            self._at(len(self.weights))
        x, y = batch
        error = ((network(x).float() - y) ** 2).mean()
        self.errors.append(float(error.detach() ** 0.5))
        return error, {"rmse": self.errors[-1]}


def run(
    out: Path, task: Line | None = None, *, settings: Settings = SETTINGS, resume: bool = False
) -> State:
    out.mkdir(exist_ok=True)
    return train(task or Line(), settings, out, device=CPU, resume=resume)


def rows(out: Path) -> list[dict[str, float]]:
    with (out / "log.csv").open(newline="") as file:
        return [{name: float(v) for name, v in row.items()} for row in csv.DictReader(file)]


def assert_equal(got: nn.Module, want: nn.Module) -> None:
    ours, theirs = got.state_dict(), want.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def test_it_learns_and_logs(tmp_path: Path) -> None:
    settings = Settings(steps=200, batch_size=16, lr=0.05, warmup=10, log_steps=20)
    state = run(tmp_path, settings=settings)
    logged = rows(tmp_path)
    assert state.step == 200
    assert [row["step"] for row in logged] == list(range(20, 201, 20))
    assert logged[-1]["loss"] < 0.2 * logged[0]["loss"]
    assert logged[-1]["rmse"] < logged[0]["rmse"]
    for row in logged:
        assert row["lr"] == pytest.approx(settings.lr_at(int(row["step"]) - 1), abs=1e-8)
        assert row["samples_per_s"] > 0
        assert 0 <= row["wait_share"] <= 1
    assert (tmp_path / "checkpoint.pt").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint.pt", "log.csv"}


def stop_at(step: int, number: int = signal.SIGTERM) -> Callable[[int], None]:
    def at(seen: int) -> None:
        if seen == step:
            os.kill(os.getpid(), number)

    return at


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_returns_and_resuming_is_exact(tmp_path: Path, number: int) -> None:
    whole = run(tmp_path / "whole")
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    stopped = run(tmp_path / "parts", Line(at=stop_at(13, number)))
    assert stopped.step == 13
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
    torch.manual_seed(77)  # whatever was drawn in between
    resumed = run(tmp_path / "parts", Line(), resume=True)
    assert resumed.step == whole.step == 30
    assert_equal(resumed.network, whole.network)
    assert_equal(resumed.average, whole.average)
    moments = [s.optimizer.state_dict()["state"] for s in (resumed, whole)]
    for got, want in zip(*(m.values() for m in moments), strict=True):
        assert all(torch.equal(got[name], want[name]) for name in ("exp_avg", "exp_avg_sq", "step"))
    assert [row["step"] for row in rows(tmp_path / "parts")] == [5, 10, 15, 20, 25, 30]


def test_runs_repeat_and_seeds_matter(tmp_path: Path) -> None:
    first, second = run(tmp_path / "a"), run(tmp_path / "b")
    assert_equal(first.network, second.network)
    other = run(tmp_path / "c", settings=Settings(**{**vars_of(SETTINGS), "seed": 1}))
    assert not torch.equal(other.network[0].weight, first.network[0].weight)  # type: ignore[index]


def vars_of(settings: Settings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__slots__}


def test_a_finished_run_resumes_to_itself(tmp_path: Path) -> None:
    first = run(tmp_path)
    again = run(tmp_path, Line(), resume=True)
    assert again.step == 30
    assert_equal(again.average, first.average)


def test_the_average_follows_its_formula(tmp_path: Path) -> None:
    task = Line()
    state = run(tmp_path, task)
    after = [*task.weights[1:], state.network.state_dict()]
    want = {n: v.double() for n, v in task.weights[0].items()}
    for step, weights in enumerate(after):
        decay = min(0.9, (1 + step) / (10 + step))
        want = {n: decay * v + (1 - decay) * weights[n].double() for n, v in want.items()}
    for name, value in state.average.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), want[name], rtol=1e-4, atol=1e-6)
        else:
            assert value.item() == 30  # a counter is copied, not averaged
    assert not any(p.requires_grad for p in state.average.parameters())


def test_checkpoints_come_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = State.save

    def spy(self: State, path: Path, settings: Settings) -> None:
        saved.append(self.step)
        save(self, path, settings)

    monkeypatch.setattr(State, "save", spy)
    run(tmp_path / "often", settings=Settings(**{**vars_of(SETTINGS), "checkpoint_minutes": 0.0}))
    assert saved == [*range(1, 31), 30]
    saved.clear()
    run(tmp_path / "rarely")
    assert saved == [30]


def test_an_existing_checkpoint_is_not_overwritten(tmp_path: Path) -> None:
    run(tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(OutputError, match=r"checkpoint\.pt: exists") as caught:
        run(tmp_path)
    assert caught.value.exit_code == 5
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_resuming_another_network(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot resume") as caught:
        run(tmp_path, Line(hidden=9), resume=True)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "data",
    [None, b"", b"some text", b"PK\x03\x04 cut", b"\x80\x02}q\x00.", "a list", "half"],
    ids=str,
)
def test_resuming_from_what_is_no_checkpoint(tmp_path: Path, data: bytes | str | None) -> None:
    path = tmp_path / "checkpoint.pt"
    if data == "a list":
        torch.save([1, 2], path)
    elif data == "half":
        run(tmp_path)
        path.write_bytes(path.read_bytes()[:1000])
    elif isinstance(data, bytes):
        path.write_bytes(data)
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot resume"):
        run(tmp_path, resume=True)


def test_a_checkpoint_that_cannot_be_written_leaves_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = run(tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 704 vs 598")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="disk full") as caught:
        state.save(tmp_path / "checkpoint.pt", SETTINGS)
    assert "intact" in caught.value.hint
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint.pt", "log.csv"}


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        train(Line(), SETTINGS, tmp_path / "none", device=CPU, resume=False)


def test_one_broken_batch_does_not_spoil_the_weights(tmp_path: Path) -> None:
    class Broken(Line):
        def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
            error, figures = super().loss(network, batch)
            return error * (float("nan") if len(self.weights) == 9 else 1), figures

    task = Broken()
    state = run(tmp_path, task)
    for name in ("0.weight", "0.bias", "3.weight"):
        assert torch.equal(task.weights[8][name], task.weights[9][name])  # step 9 changed nothing
        assert not torch.equal(task.weights[9][name], task.weights[10][name])
    assert all(v.isfinite().all() for v in state.average.state_dict().values())


def test_a_spoiled_norm_takes_the_statistics_of_the_average(tmp_path: Path) -> None:
    class Spoiled(Line):
        def batches(self, first: int) -> Iterator[Batch]:
            for number, (x, y) in enumerate(super().batches(first), first):
                yield (x * float("inf") if number == 8 else x), y

    state = run(tmp_path, Spoiled())
    for network in (state.network, state.average):
        assert all(v.isfinite().all() for v in network.state_dict().values())
    assert all(r["loss"] == r["loss"] for r in rows(tmp_path)[2:])  # NaN in the row of step 9 only
    assert torch.all(state.network[1].running_var > 0)  # type: ignore[index]


def test_float16_scales_the_loss_and_resumes_with_the_scale(tmp_path: Path) -> None:
    settings = Settings(**{**vars_of(SETTINGS), "dtype": "float16"})
    whole = run(tmp_path / "whole", settings=settings)
    run(tmp_path / "parts", Line(at=stop_at(13)), settings=settings)
    resumed = run(tmp_path / "parts", settings=settings, resume=True)
    assert resumed.scaler.get_scale() == whole.scaler.get_scale() > 1
    assert_equal(resumed.network, whole.network)
    assert {p.dtype for p in whole.network.parameters()} == {torch.float32}


def test_compiled_networks_learn_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The eager backend: kernels differ from machine to machine, the wiring does not."""
    compiled: list[nn.Module] = []
    compile = torch.compile

    def eager(module: nn.Module) -> nn.Module:
        compiled.append(module)
        return compile(module, backend="eager")  # type: ignore[return-value]

    monkeypatch.setattr(torch, "compile", eager)
    settings = Settings(**{**vars_of(SETTINGS), "compile": True})
    state = run(tmp_path / "a", settings=settings)
    assert len(compiled) == 1
    assert_equal(state.network, run(tmp_path / "b").network)


def test_errors_of_the_data_come_out(tmp_path: Path) -> None:
    class Spoiled(Line):
        def batches(self, first: int) -> Iterator[Batch]:
            batches = super().batches(first)
            for _ in range(7):
                yield next(batches)
            raise BadAnnotation("8.json: broken")

    before = threading.active_count()
    with pytest.raises(BadAnnotation, match=r"8\.json"):
        run(tmp_path, Spoiled())
    assert threading.active_count() == before


def test_decay_is_for_matrices_only(tmp_path: Path) -> None:
    settings = Settings(**{**vars_of(SETTINGS), "weight_decay": 0.3})
    wide, flat = run(tmp_path, settings=settings).optimizer.param_groups
    assert (wide["weight_decay"], flat["weight_decay"]) == (0.3, 0.0)
    assert {p.ndim for p in wide["params"]} == {2}
    assert {p.ndim for p in flat["params"]} == {1}
    assert len(wide["params"]) + len(flat["params"]) == 6


def test_half_precision_trains_in_float32_weights(tmp_path: Path) -> None:
    settings = Settings(**{**vars_of(SETTINGS), "dtype": "bfloat16"})
    state = run(tmp_path, settings=settings)
    full = run(tmp_path / "full")
    assert {p.dtype for p in state.network.parameters()} == {torch.float32}
    first, second = state.network.state_dict(), full.network.state_dict()
    assert not torch.equal(first["0.weight"], second["0.weight"])
    torch.testing.assert_close(first["0.weight"], second["0.weight"], rtol=0, atol=0.05)


def test_a_thread_of_its_own_needs_no_signals(tmp_path: Path) -> None:
    states: list[State] = []
    thread = threading.Thread(target=lambda: states.append(run(tmp_path)))
    thread.start()
    thread.join()
    assert states[0].step == 30


def test_rows_after_the_last_checkpoint_are_not_kept_twice(tmp_path: Path) -> None:
    """A run that is killed, not stopped, has logged further than it has saved."""
    run(tmp_path, Line(at=stop_at(12)))
    with (tmp_path / "log.csv").open("a") as file:
        file.write("15,0.01,9,9,1,0\n20,0.01,9,9,1,0\n25,0.0")
    run(tmp_path, resume=True)
    assert [row["step"] for row in rows(tmp_path)] == [5, 10, 15, 20, 25, 30]
    assert max(row["loss"] for row in rows(tmp_path)[2:]) != 9
    (tmp_path / "checkpoint.pt").unlink()
    run(tmp_path)  # a new run in the same folder begins a new log
    assert [row["step"] for row in rows(tmp_path)] == [5, 10, 15, 20, 25, 30]


def test_figures_that_come_and_go_keep_their_columns(tmp_path: Path) -> None:
    class Seldom(Line):
        def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
            error, figures = super().loss(network, batch)
            return error, {"seldom": 7.0, **figures} if len(self.weights) < 12 else figures

    run(tmp_path, Seldom())
    with (tmp_path / "log.csv").open(newline="") as file:
        logged = list(csv.DictReader(file))
    assert [row["seldom"] for row in logged] == ["7.0"] * 3 + [""] * 3
    assert all(0 < float(row["rmse"]) < 7 for row in logged)


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(OutputError, match=r"log\.csv"):
        run(tmp_path)


def test_a_row_of_the_log_is_the_mean_of_its_steps(tmp_path: Path) -> None:
    task = Line()
    run(tmp_path, task)
    means = np.array(task.errors).reshape(6, 5).mean(axis=1)
    assert [row["rmse"] for row in rows(tmp_path)] == pytest.approx(means.tolist(), abs=1e-5)
