"""The order of imports (house rule), and what importing hrpose must not cost."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
FILES = sorted((REPO / "hrpose").rglob("*.py"))
ORDER = """errors options skeleton types geometry similarity heatmap models crop zoo media formats
device stages results detector estimator motion tracker filters smoother draw pipeline run clip
evaluate train deploy cli""".split()  # noqa: SIM905
FORBIDDEN = {
    ("formats", "media"),
    ("draw", "formats"),
    *(("models", name) for name in ("numpy", "os", "pathlib", "safetensors")),
}
HIDDEN_ALLOWED = {"cli"}  # command bodies, so that `hrpose --help` stays quick
BANNED = {"torch.hub", "torchvision.io"} | {
    f"cv2.{name}" for name in ("imread", "imwrite", "imreadmulti", "VideoCapture", "VideoWriter")
}


def layer(path: Path) -> str:
    return path.relative_to(REPO / "hrpose").parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import on line {node.lineno}"
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(REPO).as_posix())
def test_imports(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = layer(path)
    for node, name in imported(tree):
        where = f"line {node.lineno}: {own} imports {name}"
        first, other, *_ = f"{name}..".split(".")
        assert not any(f"{name}.".startswith(f"{banned}.") for banned in BANNED), where
        assert (own, other if first == "hrpose" else first) not in FORBIDDEN, where
        if first != "hrpose" or own == "__init__" or other == "__version__":
            continue
        assert other in ORDER[: ORDER.index(own) + 1], where
        hidden = node not in tree.body
        assert not hidden or own in HIDDEN_ALLOWED, f"hidden import, {where}"
    for attribute in (node for node in ast.walk(tree) if isinstance(node, ast.Attribute)):
        assert ast.unparse(attribute) not in BANNED, f"line {attribute.lineno}"


def test_every_layer_is_in_the_order() -> None:
    assert {layer(path) for path in FILES} - {"__init__"} <= set(ORDER)


def test_every_folder_is_packaged() -> None:
    listed = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {".".join(path.relative_to(REPO).parts[:-1]) for path in FILES}
    assert folders | {"hrpose.weights"} == set(listed)


@pytest.mark.parametrize(
    "code", ["import hrpose", "from hrpose.cli.main import root; root.main(['--help'])"]
)
def test_torch_is_not_imported(code: str) -> None:
    probe = f"""
import sys
try:
    {code}
except SystemExit as stop:
    assert not stop.code, stop
print(*sorted({{"torch", "cv2", "av", "PIL", "numpy"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", probe], cwd=REPO, capture_output=True, text=True)
    assert (done.returncode, done.stderr.split()) == (0, [])
