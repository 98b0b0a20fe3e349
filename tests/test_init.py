"""The public names of the package: lazy, complete, and the same whoever imports first."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

import hrpose


@pytest.mark.parametrize("name", hrpose.__all__)
def test_public_name(name: str) -> None:
    assert getattr(hrpose, name).__name__ == name
    assert name in dir(hrpose)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="'hrpose' has no attribute 'nonsense'"):
        _ = hrpose.nonsense  # type: ignore[attr-defined]


@pytest.fixture
def unimported() -> Iterator[None]:
    """Forgets that hrpose was imported, and remembers it afterwards."""
    ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "hrpose"}
    for name in ours:
        del sys.modules[name]
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "hrpose"]:
        del sys.modules[name]
    sys.modules.update(ours)


@pytest.mark.parametrize("first", ["import hrpose.draw", "from hrpose.draw import Trails", "pass"])
def test_draw_is_the_function_whoever_imports_first(first: str, unimported: None) -> None:
    exec(f"import hrpose\n{first}\nassert callable(hrpose.draw), hrpose.draw", {})
