"""What commands that run the pipeline show on the way, and the Ctrl-C that keeps what is done."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hrpose.cli.report import report
from hrpose.options import Options

if TYPE_CHECKING:
    from tqdm import tqdm

    from hrpose.pipeline import Pipeline
    from hrpose.run import Stop

_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
_STOPPING = b"\nstopping, what is done is kept; once more stops at once and keeps nothing\n"


def load_noted(options: Options, *, quiet: bool, heatmaps: bool = False) -> Pipeline:
    """Loads the pipeline and says, unless ``quiet``, that its models are the small ones."""
    from hrpose import pipeline
    from hrpose.zoo.specs import SPECS

    loaded = pipeline.load(options, heatmaps=heatmaps)
    names = [model.name for model in loaded.models]
    own = [name for name in names if name in SPECS and SPECS[name].embedded]
    if own and not quiet:
        report(
            "note",
            f"using {', '.join(own)} (embedded); `hrpose models` lists larger ones, the official"
            " HRNets too, and `hrpose models get NAME` says where to get one, or gets it",
        )
    return loaded


def progress_bar(total: int | None, *, unit: str, quiet: bool) -> tqdm[Any]:
    """A bar on stderr with rate and remaining time; none where stderr is no terminal."""
    from tqdm import tqdm

    return tqdm(
        total=total,
        unit=unit,
        bar_format=_BAR,
        dynamic_ncols=True,
        file=sys.stderr,
        disable=True if quiet else None,
    )


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Yields a stop that the first Ctrl-C or SIGTERM asks for; the second one stops at once.

    When the block has ended after such a request, the signal does what it would have done before:
    it raises KeyboardInterrupt, and so decides the exit code.
    """
    from hrpose.run import Stop

    stop = Stop()
    received: list[int] = []

    def handler(number: int, frame: object) -> None:
        if received:
            _deliver(number, previous)
        received.append(number)
        stop.asked = True
        os.write(2, _STOPPING)  # sys.stderr may be in the middle of a write of its own

    previous = _install(handler)
    try:
        yield stop
    except KeyboardInterrupt:
        if not received:
            raise
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
    if received:
        _deliver(received[0], previous)
    if stop.asked:
        raise KeyboardInterrupt


def _install(handler: Any) -> dict[int, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    wanted: dict[int, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    previous = {number: old for number, old in wanted.items() if old != signal.SIG_IGN}  # nohup
    for number in previous:
        signal.signal(number, handler)
    return previous


def _deliver(number: int, previous: dict[int, Any]) -> None:
    before = previous[number]
    if callable(before):
        before(number, None)
    raise KeyboardInterrupt
