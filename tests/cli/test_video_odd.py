"""Every odd clip through the whole command: in, drawn, out again."""

from __future__ import annotations

import csv
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hrpose.cli.main import run
from hrpose.media.video import VideoReader

pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.slow]
SHARED = Path(os.environ.get("HRPOSE_SHARED") or Path(__file__).parents[3] / "shared")
MOST = 120  # frames; people clips are long


def rows() -> list[dict[str, str]]:
    found = []
    for folder in ("video_odd", "video_people"):
        table = SHARED / "data/media" / folder / "MANIFEST.tsv"
        if table.is_file():
            with table.open(encoding="utf-8") as file:
                found += [{**r, "folder": folder} for r in csv.DictReader(file, delimiter="\t")]
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["file"])
def test_clip(row: dict[str, str], tiny_pipeline: Any, capsys: pytest.CaptureFixture[str]) -> None:
    clip = SHARED / "data/media" / row["folder"] / row["file"]
    words = ["--out", "out.mp4", "--json", "people.json", "--max-frames", str(MOST), "--track"]
    code = run(["video", str(clip), *words])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    if row["expect"] == "fail":
        assert code == 3
        assert said.startswith("error: ")
        assert list(Path().iterdir()) == []
        return
    if code == 3 and not Path("people.json").exists():
        assert row["expect"] in ("damaged", "either")
        return
    assert code == (3 if row["expect"] == "damaged" and "error: " in said else 0), said
    document = json.loads(Path("people.json").read_bytes())
    pictures, (record,) = document["pictures"], document["videos"]
    count = len(pictures)
    if row["expect"] == "read":
        assert count == min(int(row["frames"]), MOST)
        assert record["status"] == "ok"
        assert pictures[0]["time"] == pytest.approx(float(row["first_s"]), abs=1e-3)
    elif row["expect"] == "damaged":
        assert int(row["frames"]) <= count <= int(row["frames_tolerant"])
        assert record["status"] == "degraded"
    size = (int(row["width"]), int(row["height"]))
    assert (pictures[0]["width"], pictures[0]["height"]) == size
    with VideoReader(Path("out.mp4")) as reader:
        drawn = list(reader)
    assert len(drawn) == count
    assert drawn[0].size == tuple(side + side % 2 for side in size)
    gaps = [b["time"] - a["time"] for a, b in pairwise(pictures)]
    if all(gap > 0 for gap in gaps):  # joined broadcasts begin anew
        shift = drawn[0].time - pictures[0]["time"]
        assert 0 <= shift < 0.1 + max(0.0, -pictures[0]["time"])
        for frame, picture in zip(drawn, pictures, strict=True):
            assert frame.time - shift == pytest.approx(picture["time"], abs=2e-5)
