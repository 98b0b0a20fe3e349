"""The public names of the package: lazy, complete, and the same whoever imports first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hrpose

REPO = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", hrpose.__all__)
def test_public_name(name: str) -> None:
    assert getattr(hrpose, name).__name__ == name
    assert name in dir(hrpose)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="'hrpose' has no attribute 'nonsense'"):
        _ = hrpose.nonsense  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", ["import hrpose.draw", "from hrpose.draw import Style", "pass"])
def test_draw_is_the_function_whoever_imports_first(first: str) -> None:
    code = f"import hrpose\n{first}\nassert callable(hrpose.draw), hrpose.draw"
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True)
