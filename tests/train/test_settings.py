"""Schedules at the steps that matter, and settings that mean nothing."""

from __future__ import annotations

import pytest

from hrpose.train.settings import Settings


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


@pytest.mark.parametrize("bad", [{"schedule": "linear"}, {"dtype": "float16"}], ids=str)
def test_unknown_names(bad: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Settings(**bad)  # type: ignore[arg-type]
