"""Schedules at the steps that matter, and settings that mean nothing."""

from __future__ import annotations

import pytest

from hrpose.train.settings import Colour, Loss, Settings


@pytest.mark.parametrize(
    ("schedule", "step", "rate"),
    [
        ("cosine", 0, 0.02),
        ("cosine", 49, 1.0),
        ("cosine", 99, 2.0),
        ("cosine", 100, 2.0),
        ("cosine", 550, 2 * (0.01 + 0.99 * 0.5)),
        ("cosine", 1000, 0.02),
        ("cosine", 5000, 0.02),
        ("step", 99, 2.0),
        ("step", 828, 2.0),
        ("step", 830, 0.2),
        ("step", 954, 0.2),
        ("step", 956, 0.02),
    ],
)
def test_learning_rate(schedule: str, step: int, rate: float) -> None:
    settings = Settings(steps=1000, lr=2.0, warmup=100, schedule=schedule)
    assert settings.lr_at(step) == pytest.approx(rate)


def test_learning_rate_never_rises_after_the_warm_up() -> None:
    for schedule in ("cosine", "step"):
        settings = Settings(steps=60, warmup=10, schedule=schedule)
        rates = [settings.lr_at(step) for step in range(60)]
        assert rates[:10] == sorted(set(rates[:10]))
        assert rates[9:] == sorted(rates[9:], reverse=True)
        assert max(rates) == pytest.approx(settings.lr)


@pytest.mark.parametrize(("warmup", "steps"), [(0, 10), (10, 10), (20, 10), (0, 1)])
def test_odd_lengths(warmup: int, steps: int) -> None:
    settings = Settings(steps=steps, warmup=warmup)
    assert all(0 < settings.lr_at(step) <= settings.lr for step in range(steps))


def test_milestones() -> None:
    settings = Settings(steps=200, lr=1.0, warmup=0, schedule="step", milestones=(0.5, 0.75, 0.9))
    rates = [settings.lr_at(step) for step in (0, 99, 100, 149, 150, 179, 180, 199)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(
    ("epochs", "samples", "batch", "steps"),
    [(210, 149_813, 128, 210 * 1170), (2, 50, 32, 2), (0.5, 100, 10, 5), (1, 3, 8, 1)],
)
def test_epochs_become_steps(epochs: float, samples: int, batch: int, steps: int) -> None:
    settings = Settings(steps=7, epochs=epochs, batch_size=batch)
    assert settings.resolved(samples).steps == steps


def test_without_epochs_steps_stay() -> None:
    settings = Settings(steps=7)
    assert settings.resolved(1000) is settings


@pytest.mark.parametrize(
    "bad",
    [
        {"schedule": "linear"},
        {"dtype": "float64"},
        {"optimizer": "sgd"},
        {"batch_size": 0},
        {"epochs": -1},
    ],
    ids=str,
)
def test_unknown_values(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Settings(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad", [{"kind": "l1"}, {"ohkm_keep": 0}, {"teacher_weight": 1.5}, {"teacher_weight": -1}]
)
def test_unknown_losses(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Loss(**bad)  # type: ignore[arg-type]


def test_colour_by_a_factor() -> None:
    assert Colour().times(1) == Colour()
    none = Colour().times(0)
    assert (none.brightness, none.contrast, none.saturation, none.tint, none.grey) == (0,) * 5
    assert none.erase == Colour().erase
    assert Colour().times(0.5).tint == Colour().tint / 2
