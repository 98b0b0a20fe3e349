"""``hrpose convert``: every format that can be read, to every format; exact words on the way."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from hrpose.cli.main import run
from hrpose.cli.options import FORMATS
from hrpose.formats import Header, VideoRecord
from hrpose.results import open_results
from hrpose.skeleton import COCO17
from hrpose.types import Poses, Size

Captured = pytest.CaptureFixture[str]
WRITABLE = [name for name in FORMATS if name != "parquet"]


@pytest.fixture(autouse=True)
def _results(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results of one clip of three frames, in every format."""
    monkeypatch.setattr(os, "sync", lambda: None)  # it would wait for everybody's writes
    random = np.random.default_rng(0)
    header = Header.of(COCO17, hrpose="0.1.0", settings={"threshold": 0.5})
    with open_results(Path("clip"), WRITABLE, header, force=False) as results:
        for frame, people in enumerate((2, 0, 1)):
            keypoints = random.normal(300, 200, (people, 17, 2)).astype(np.float32)
            results.write(
                Poses(
                    keypoints=keypoints,
                    keypoint_scores=random.random((people, 17), dtype=np.float32) + np.float32(0.1),
                    boxes=random.random((people, 4), dtype=np.float32).cumsum(axis=1),
                    box_scores=np.ones(people, np.float32),
                    track_ids=np.arange(people) + 5,
                    size=Size(640, 480),
                    skeleton=COCO17,
                    frame=frame,
                    time=frame / 25,
                    source="clip.mp4",
                    measured=keypoints + 1 if people else None,
                )
            )
        results.video(VideoRecord(source="clip.mp4", status="ok", frames=3))


def content(path: str) -> dict[str, bytes]:
    found = Path(path)
    files = found.iterdir() if found.is_dir() else [found]
    return {p.name if found.is_dir() else "": p.read_bytes() for p in files}


@pytest.mark.parametrize("source", ["clip.json", "clip.jsonl"])
def test_hrposes_own_files_give_every_format_exactly(source: str, capsys: Captured) -> None:
    words = [word for name in WRITABLE for word in ("--to", name)]
    assert run(["convert", source, "new", *words]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{source}: 3 pictures, 3 people -> new.json, new.jsonl, new.coco.json, ")
    assert err == ""
    for made in ("", ".json", ".jsonl", ".coco.json", "_openpose_json", "_openpose_coco_json"):
        if made:
            assert content(f"new{made}") == content(f"clip{made}"), made
    assert content("new.csv") == content("clip.csv")


@pytest.mark.parametrize("source", ["clip.coco.json", "clip_openpose_json"])
def test_others_files_with_hints(source: str) -> None:
    words = ["--to", "native", "--size", "640", "480", "--fps", "25"]
    assert run(["convert", source, "new.json", *words]) == 0
    document = json.loads(Path("new.json").read_bytes())
    kind = "coco" if "coco" in source else "openpose"
    assert document["settings"] == {"converted_from": kind, "fps": 25}
    pictures = {p["frame"]: p for p in document["pictures"]}
    assert sorted(pictures) == ([0, 2] if kind == "coco" else [0, 1, 2])
    want = json.loads(Path("clip.json").read_bytes())["pictures"][2]
    got = pictures[2]
    assert (got["time"], got["width"], got["height"]) == (2 / 25, 640, 480)
    assert got["people"][0]["keypoints"] == want["people"][0]["keypoints"]
    assert got["people"][0]["track_id"] == 5


def test_openpose_there_and_back(capsys: Captured) -> None:
    """Via pictures (no --fps) and via frames; the points are those of the first file."""
    assert run(["convert", "clip_openpose_json", "a", "--to", "openpose"]) == 0
    assert run(["convert", "clip_openpose_json", "b", "--to", "openpose", "--fps", "25"]) == 0
    assert content("a") == content("b") == content("clip_openpose_json")
    assert capsys.readouterr().out.endswith("clip_openpose_json: 3 pictures, 3 people -> b\n")


def test_a_cut_jsonl_is_converted_up_to_the_cut(capsys: Captured) -> None:
    lines = Path("clip.jsonl").read_bytes().splitlines(keepends=True)
    Path("cut.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:50])
    assert run(["convert", "cut.jsonl", "new.json", "--to", "native"]) == 3
    out, err = capsys.readouterr()
    assert out == "cut.jsonl: 2 pictures, 2 people -> new.json\n"
    assert err.splitlines() == [
        "error: cut.jsonl: cut short behind line 3",
        "hint: what came before is in new.json",
    ]
    assert len(json.loads(Path("new.json").read_bytes())["pictures"]) == 2


REFUSED: dict[str, tuple[str, int, str]] = {
    "no size": ("clip.coco.json new --to native", 2, "does not say the size .* native needs"),
    "size twice": ("clip.json new --to csv --size 1 1", 2, "says --size itself"),
    "fps twice": ("clip.jsonl new --to csv --fps 25", 2, "says --fps itself"),
    "skeleton": ("clip.coco.json new --to csv --skeleton x", 2, "unknown skeleton 'x'"),
    "other skeleton": ("clip.coco.json new --to csv --skeleton mpii16", 3, r"51 numbers, .* 48"),
    "no format": ("clip.json new", 2, "--to"),
    "same file": ("clip.json clip.json --to native --force", 5, "output is the input"),
    "same folder": ("clip_openpose_json clip_openpose_json --to openpose --force", 5, "the input"),
    "exists": ("clip.json clip.csv --to csv", 5, "already exists"),
    "nowhere": ("none.json new --to csv", 3, "none.json"),
    "csv": ("clip.csv new --to native", 3, "clip.csv: not a file of results"),
}


@pytest.mark.parametrize(("words", "code", "said"), REFUSED.values(), ids=REFUSED)
def test_refusals(words: str, code: int, said: str, capsys: Captured) -> None:
    before = sorted(os.listdir())
    assert run(["convert", *words.split()]) == code
    out, err = capsys.readouterr()
    assert out == ""
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert re.search(said, error), error
    assert hint.startswith("hint: ")
    assert sorted(os.listdir()) == before


def test_damage_on_the_way_leaves_nothing(capsys: Captured) -> None:
    data = Path("clip.json").read_bytes()
    Path("bad.json").write_bytes(data.replace(b'"frame":2', b'"frame":-2'))
    before = sorted(os.listdir())
    assert run(["convert", "bad.json", "new", "--to", "csv", "--to", "openpose"]) == 3
    assert "error: bad.json: damaged result file of hrpose: line 4: " in capsys.readouterr().err
    assert sorted(os.listdir()) == before


def test_force_replaces(capsys: Captured) -> None:
    words = ["convert", "clip.json", "clip_openpose_json", "--to", "openpose"]
    assert run(words) == 5
    assert "use --force" in capsys.readouterr().err
    Path("clip_openpose_json", "stale_keypoints.json").touch()
    assert run([*words, "--force"]) == 0
    assert len(os.listdir("clip_openpose_json")) == 3


def test_help_says_what_each_format_loses(capsys: Captured) -> None:
    assert run(["convert", "--help"]) == 0
    shown = capsys.readouterr().out
    for name in FORMATS:
        assert name in shown
    assert "jsonl          nothing\n" in shown
