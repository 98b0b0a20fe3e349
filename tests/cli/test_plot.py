"""``hrpose train plot``."""

from pathlib import Path

import pytest

from hrpose.cli.main import run


def test_page_and_last_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, loss in (("a", "0.9"), ("b", "0.8")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text(f"step,loss\n100,1.5\n200,{loss}\n")
    out = tmp_path / "curve.html"
    line = ["train", "plot", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)]
    assert run(line) == 0
    assert capsys.readouterr().out == "a: step 200  loss 0.9\nb: step 200  loss 0.8\n"
    assert out.stat().st_size > 1000
    assert run(line) == 5
    assert "already exists" in capsys.readouterr().err
    assert run([*line, "--force"]) == 0


def test_missing_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "plot", str(tmp_path / "none"), "--out", str(tmp_path / "c.html")]) == 3
    error = capsys.readouterr().err
    assert "none: No such file" in error
    assert "hint:" in error
    assert run(["train", "plot"]) == 2
