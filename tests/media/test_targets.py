"""Names of results, and refusals before any work is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrpose.errors import OutputError, UsageError
from hrpose.media.targets import plan, prepare


@pytest.mark.parametrize(
    ("names", "below", "drawings"),
    [
        (["in/a.jpg"], None, ["out/a.pose.jpg"]),
        (["in/a.jpg", "in/a.b.jpg"], None, ["out/a.pose.jpg", "out/a.b.pose.jpg"]),
        (["a.png", "a.jpg", "b.tif"], None, ["a.png.pose.png", "a.jpg.pose.jpg", "b.pose.jpg"]),
        (["in/a.jpg", "in/x/a.jpg"], "in", ["out/a.pose.jpg", "out/x/a.pose.jpg"]),
        (["in/x/a.jpg", "in/x/a.webp"], "in", ["out/x/a.jpg.pose.jpg", "out/x/a.webp.pose.jpg"]),
        (["in/.", "in/.."], None, ["out/in.pose.jpg", "out/...pose.jpg"]),
    ],
)
def test_plan(names: list[str], below: str | None, drawings: list[str]) -> None:
    folder = Path("out") if drawings[0].startswith("out/") else Path()
    targets = plan(list(map(Path, names)), folder, below=below and Path(below))  # type: ignore[arg-type]
    assert [target.drawing for target in targets] == list(map(Path, drawings))
    assert [target.json for target in targets] == [
        Path(f"{drawing[:-4]}.json") for drawing in drawings
    ]


@pytest.mark.parametrize("names", [["x/a.jpg", "y/a.jpg"], ["a.jpg", "a.webp", "a.jpg.webp"]])
def test_plan_refuses_one_result_for_two(names: list[str]) -> None:
    with pytest.raises(UsageError, match="would both be written to"):
        plan(list(map(Path, names)), Path("out"))


def test_prepare_names_the_input_it_spares(tmp_path: Path) -> None:
    sources = [tmp_path / f"{i}.jpg" for i in range(3)]
    for source in sources:
        source.write_text("x")
    result = tmp_path / "result.jpg"
    result.hardlink_to(sources[1])
    with pytest.raises(OutputError, match=r"is the input file .*1\.jpg"):
        prepare([result], sources=sources, force=True)
    prepare([tmp_path / "new.jpg"], sources=sources, force=False)
    assert not (tmp_path / "new.jpg").exists()


def test_prepare_makes_folders(tmp_path: Path) -> None:
    results = [tmp_path / "a" / "b" / "1.jpg", tmp_path / "c" / "2.jpg"]
    prepare(results, sources=[], force=False, make_folders=True)
    assert all(path.parent.is_dir() and not path.exists() for path in results)
    with pytest.raises(OutputError, match="does not exist"):
        prepare([tmp_path / "d" / "3.jpg"], sources=[], force=False)


def test_prepare_asks_every_path_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    original = Path.stat

    def counted(self: Path, **more: bool) -> object:
        nonlocal calls
        calls += 1
        return original(self, **more)

    sources = [tmp_path / f"{i}.jpg" for i in range(100)]
    monkeypatch.setattr(Path, "stat", counted)
    prepare([s.with_suffix(".json") for s in sources], sources=sources, force=True)
    assert calls < 1000  # not one per pair
