"""Training logs as curves: whole, half written, odd."""

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hrpose.errors import InputError, OutputError
from hrpose.train.plot import plot_runs, read_run

HEADER = "step,lr,loss,pck,samples_per_s,wait_share\n"
ROWS = "100,0.001,0.9,0.5,60.4,0.01\n200,0.002,0.8,0.6,61.0,0.02\n"


def _run(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text(text)
    return folder


def test_folder_or_file(tmp_path: Path) -> None:
    folder = _run(tmp_path / "a", HEADER + ROWS)
    run = read_run(folder)
    assert run == read_run(folder / "log.csv")
    assert (run.name, run.steps) == ("a", (100, 200))
    assert run.columns["loss"] == (0.9, 0.8)
    assert list(run.columns) == ["lr", "loss", "pck", "samples_per_s", "wait_share"]


def test_a_half_written_row_is_left_out(tmp_path: Path) -> None:
    run = read_run(_run(tmp_path / "a", HEADER + ROWS + "300,0.002,0."))
    assert run.steps == (100, 200)


@pytest.mark.parametrize("cell", ["", "nan", "-", "inf"])
def test_what_is_no_number_is_a_gap(tmp_path: Path, cell: str) -> None:
    folder = _run(tmp_path / "a", HEADER + ROWS + f"300,0.1,{cell},0.7,60,0\n400,0.1\n")
    run = read_run(folder)
    assert not any(math.isfinite(value) for value in run.columns["loss"][2:])
    plot_runs([folder], tmp_path / "c.html")
    text = (tmp_path / "c.html").read_text()
    assert "nan" not in text.lower().replace("finance", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no rows yet"),
        (HEADER, "no rows yet"),
        (HEADER + "100,0.1", "no rows yet"),
        ("a,b\n1,2\n", "not a training log"),
        ("\n", "not a training log"),
    ],
    ids=["empty", "header", "half a row", "another table", "an empty line"],
)
def test_refused(tmp_path: Path, text: str, said: str) -> None:
    folder = _run(tmp_path / "a", text)
    with pytest.raises(InputError, match=said):
        plot_runs([folder], tmp_path / "c.html")
    assert not (tmp_path / "c.html").exists()


def test_missing_and_binary(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none: No such file") as caught:
        read_run(tmp_path / "none")
    assert "--out folder" in caught.value.hint
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00step")
    with pytest.raises(InputError, match="not a training log"):
        read_run(tmp_path / "x")


def test_runs_are_laid_over_each_other(tmp_path: Path) -> None:
    folders = [
        _run(tmp_path / "<first>", HEADER + ROWS),
        _run(tmp_path / "second", "step,loss,grad_norm\n100,0.7,3\n300,0.6,2\n"),
    ]
    plot_runs(folders, tmp_path / "c.html")
    text = (tmp_path / "c.html").read_text()
    tree = ElementTree.fromstring(text)
    charts = {e.get("aria-label"): e for e in tree.iter("svg") if e.get("class") == "lines"}
    names = {label: [t.text for t in e.iter("title")] for label, e in charts.items()}
    assert names["Loss"] == ["<first>", "second"]
    assert names["grad_norm"] == ["second"]
    assert list(names)[-3:] == ["Learning rate", "Samples per second",
                                "Share of the time spent waiting for data"]  # fmt: skip
    strokes = [e.get("style") for e in charts["Loss"].iter("path") if "line" in e.get("class", "")]
    assert len(set(strokes)) == 2
    assert not {"script", "link", "img"} & {e.tag for e in tree.iter()}


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [_run(tmp_path / name / "run", HEADER + ROWS) for name in ("a", "b")]
    runs = plot_runs(folders, tmp_path / "c.html")
    assert [run.name for run in runs] == [str(folder) for folder in folders]


def test_long_runs_are_smoothed(tmp_path: Path) -> None:
    rows = [f"{100 * i},{1 / i},{1 + (-1) ** i},0.5,60,0" for i in range(1, 101)]
    plot_runs([_run(tmp_path / "a", HEADER + "\n".join(rows) + "\n")], tmp_path / "c.html")
    tree = ElementTree.fromstring((tmp_path / "c.html").read_text())
    charts = {e.get("aria-label"): e for e in tree.iter("svg") if e.get("class") == "lines"}
    rough, smooth = (
        [float(spot.split()[-1]) for spot in (e.get("d") or "").replace("M", "L").split("L")[1:]]
        for e in charts["Loss"].iter("path")
        if "line" in e.get("class", "")
    )
    middle = slice(10, 90)
    assert max(rough[middle]) - min(rough[middle]) > 5 * (max(smooth[middle]) - min(smooth[middle]))
    kinds = [e.get("class") for e in charts["Learning rate"].iter("path")]
    assert "line faint" not in kinds  # a schedule has no noise


def test_the_page_is_not_overwritten(tmp_path: Path) -> None:
    folder = _run(tmp_path / "a", HEADER + ROWS)
    out = tmp_path / "c.html"
    plot_runs([folder], out)
    with pytest.raises(OutputError, match="already exists"):
        plot_runs([folder], out)
    plot_runs([folder], out, force=True)
    with pytest.raises(OutputError, match="is the input file"):
        plot_runs([folder], folder / "log.csv", force=True)
    assert (folder / "log.csv").read_text() == HEADER + ROWS


def test_no_runs() -> None:
    with pytest.raises(ValueError, match="no runs"):
        plot_runs([], Path("c.html"))
