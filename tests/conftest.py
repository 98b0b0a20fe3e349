"""What every test gets: no network, one seed, a private home, and the shared data if it is there.

HRPOSE_REQUIRE lists markers, with commas, whose tests must run: `gpu`, `slow`, `extra`. A skip of
such a test is then a failure.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import socket
import sys
from collections.abc import Callable, Generator, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[1]
REQUIRED = set(filter(None, os.environ.get("HRPOSE_REQUIRE", "").split(",")))
LOOPBACK = ("127.", "::1", "localhost")

# Read by torch when it is first imported, here or in a child: importing it now slows every run.
# One thread: the networks of the tests are small, and threads that wait for each other spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("slow") and "slow" not in REQUIRED:
        pytest.skip("slow; HRPOSE_REQUIRE=slow runs it")
    if item.get_closest_marker("gpu") and not importlib.import_module("torch").cuda.is_available():
        pytest.skip("torch sees no CUDA device")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    missed = REQUIRED & {marker.name for marker in item.iter_markers()}
    if report.skipped and missed and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"HRPOSE_REQUIRE={','.join(missed)} forbids this skip: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _offline() -> Iterator[None]:
    """Lets sockets reach this machine only: a test that needs a network fails at once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", _local_names(socket.getaddrinfo))
        yield


def _guarded(connect: Callable[..., object]) -> Callable[..., object]:
    def checked(self: socket.socket, address: object) -> object:
        local = self.family == getattr(socket, "AF_UNIX", None)
        if not local and isinstance(address, tuple):
            _refuse_remote(address[0])
        return connect(self, address)

    return checked


def _local_names(lookup: Callable[..., object]) -> Callable[..., object]:
    def checked(host: object, *args: object, **kwargs: object) -> object:
        _refuse_remote(host)
        return lookup(host, *args, **kwargs)

    return checked


def _refuse_remote(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else str(host or "")
    if name and not name.startswith(LOOPBACK):
        raise OSError(f"tests are offline: refused to reach {name}")


@pytest.fixture(autouse=True, scope="session")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the user's own cache of weights out of the tests, and the tests out of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HRPOSE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data: beside the repository, or where HRPOSE_SHARED says."""
    folder = Path(os.environ.get("HRPOSE_SHARED") or REPO.parent / "shared")
    if not folder.is_dir():
        reason = f"no shared data at {folder}; HRPOSE_SHARED may name another folder"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return folder


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Starts processes that have torch from the outset; importing it takes each 5 s otherwise.

    Tests that use it are of the xdist group "processes", so that one worker makes the server.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hrpose.train.pose", "hrpose.train.loop"])
    return context


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of sample pictures of this repository."""
    return REPO / "samples"
