"""Signals during a run: the first asks, the second stops, and the rest stays as it was."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from hrpose.cli.progress import stoppable


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_no_signal_changes_nothing() -> None:
    with stoppable() as stop:
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert not stop.asked
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_block_runs_to_its_end_and_then_raises() -> None:
    asked = []

    def block() -> None:
        with stoppable() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            asked.append(stop.asked)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert asked == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_failure_after_a_signal_is_still_told() -> None:
    def block() -> None:
        with stoppable():
            os.kill(os.getpid(), signal.SIGINT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup and shells do for background jobs
    with stoppable() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert not stop.asked
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_signal_without_a_handler_of_python() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with pytest.raises(KeyboardInterrupt), stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_other_threads_leave_signals_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with stoppable() as stop:
            seen.append(signal.getsignal(signal.SIGINT))
            seen.append(stop.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler, False]
