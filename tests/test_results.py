"""Results of one format or several: their names, together or not at all, and kept when asked."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrpose.errors import OutputError, UsageError
from hrpose.formats import Header, Hints, Records, VideoRecord, open_records
from hrpose.formats.jsonl import JsonlWriter
from hrpose.media.targets import Target
from hrpose.results import (
    FORMATS,
    Results,
    check_results,
    copy_records,
    derived_suffix,
    open_results,
    result_paths,
    written,
)
from hrpose.skeleton import COCO17, MPII16
from hrpose.types import Poses, Size

HEADER = Header.of(COCO17, hrpose="0.1.0")
INSTALLED = [name for name in FORMATS if name != "parquet"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "sync", lambda: None)  # it would wait for everybody's writes
    return


def make(frame: int = 0, people: int = 1, source: str = "clip.mp4") -> Poses:
    return Poses(
        keypoints=np.full((people, 17, 2), 1.5, np.float32),
        keypoint_scores=np.full((people, 17), 0.5, np.float32),
        boxes=np.ones((people, 4), np.float32),
        box_scores=np.ones(people, np.float32),
        track_ids=np.arange(people),
        size=Size(4, 3),
        skeleton=COCO17,
        frame=frame,
        time=frame / 8,
        source=source,
    )


def names() -> list[str]:
    return sorted(os.listdir())


def test_one_format_has_the_very_path() -> None:
    for name in FORMATS:
        assert result_paths(Path("a/b.xyz"), [name, name]) == {name: Path("a/b.xyz")}


@pytest.mark.parametrize("given", ["a/clip", "a/clip.json", "a/clip.coco.json", "a/clip.parquet"])
def test_several_formats_have_derived_names(given: str) -> None:
    assert [p.as_posix() for p in result_paths(Path(given), tuple(FORMATS)).values()] == [
        "a/clip.json", "a/clip.jsonl", "a/clip.coco.json", "a/clip_openpose_json",
        "a/clip_openpose_coco_json", "a/clip.csv", "a/clip.parquet",
    ]  # fmt: skip


def test_names_keep_what_is_no_ending() -> None:
    paths = result_paths(Path("clip.pose.v2"), ["csv", "native"])
    assert list(paths.values()) == [Path("clip.pose.v2.csv"), Path("clip.pose.v2.json")]
    assert derived_suffix(["csv"]) == ".csv"
    assert derived_suffix(["csv", "native"]) == ".json"
    target = Target(Path("a.jpg"), drawing=Path("b.jpg"), json=Path("c.json"))
    assert written(target, ["csv", "native"]) == (Path("b.jpg"), Path("c.csv"), Path("c.json"))


@pytest.mark.parametrize("formats", [[], ["xml"], ["native", "xml"]])
def test_unknown_formats(formats: list[str]) -> None:
    with pytest.raises(ValueError, match="expected some of"):
        result_paths(Path("a"), formats)


def test_all_formats_hold_the_same_people() -> None:
    with open_results(Path("clip.json"), INSTALLED, HEADER, force=False) as results:
        for frame in range(3):
            results.write(make(frame, people=frame))
        results.fail("b.mp4", "empty")
        results.video(VideoRecord(source="clip.mp4", status="ok", frames=3))
        assert all(name.startswith(".") for name in names())
    assert sorted(map(str, results.paths)) == names()
    assert len(json.loads(Path("clip.json").read_bytes())["pictures"]) == 4
    assert json.loads(Path("clip.json").read_bytes())["videos"][0]["frames"] == 3
    assert len(Path("clip.jsonl").read_bytes().splitlines()) == 7
    assert len(json.loads(Path("clip.coco.json").read_bytes())) == 3
    assert len(os.listdir("clip_openpose_json")) == len(os.listdir("clip_openpose_coco_json")) == 3
    assert len(Path("clip.csv").read_bytes().splitlines()) == 1 + 3 * 17


def test_same_input_same_bytes() -> None:
    for folder in ("a", "b"):
        Path(folder).mkdir()
        with open_results(Path(folder, "clip"), INSTALLED, HEADER, force=False) as results:
            results.write(make(people=2))
    contents = [
        {p.relative_to(folder): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}
        for folder in ("a", "b")
    ]
    assert len(contents[0]) == 6
    assert contents[0] == contents[1]


@contextmanager
def one_picture(formats: list[str], *, force: bool = False) -> Iterator[Results]:
    with open_results(Path("clip"), formats, HEADER, force=force) as results:
        results.write(make())
        yield results


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("not of ours"), ValueError("bug")])
def test_an_error_in_the_block_leaves_nothing_and_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, one_picture(INSTALLED):
        raise error
    assert caught.value is error
    assert names() == []


def test_finished_results_stay_whatever_comes_later() -> None:
    with suppress(KeyError), one_picture(["native", "csv"]) as results:
        results.finish()
        results.finish()
        assert names() == ["clip.csv", "clip.json"]
        with pytest.raises(ValueError, match="closed"):
            results.write(make())
        raise KeyError
    assert names() == ["clip.csv", "clip.json"]
    assert len(json.loads(Path("clip.json").read_bytes())["pictures"]) == 1


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_disk_full_in_one_gives_all_up(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("clip.json").write_text("old")
    with suppress(KeyError), one_picture(INSTALLED, force=True) as results:
        monkeypatch.setattr(JsonlWriter, "write", full)
        with pytest.raises(OutputError, match=r"clip\.jsonl: cannot be written: No space"):
            results.write(make())
        with pytest.raises(OutputError, match=r"clip\.jsonl"):
            results.finish()  # half a picture is in the file
        raise KeyError
    assert names() == ["clip.json"]
    assert Path("clip.json").read_text() == "old"


def test_a_failure_that_nobody_minds_gives_all_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JsonlWriter, "fail", full)
    with (
        pytest.raises(OutputError, match="No space"),
        one_picture(["native", "jsonl"]) as results,
        suppress(OutputError),
    ):
        results.fail("a", "b")
    assert names() == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_disk_full_at_the_end(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    with pytest.raises(OutputError, match="No space"), one_picture(["native", "csv"]):
        monkeypatch.setattr(os, step, full)
    assert names() == []


def test_what_appears_meanwhile_stays_and_no_other_appears() -> None:
    with (
        pytest.raises(OutputError, match="already exists"),
        one_picture(["native", "csv", "jsonl"]),
    ):
        Path("clip.json").write_text("theirs")
    assert names() == ["clip.json"]


def test_refusals_before_any_work() -> None:
    Path("clip.csv").touch()
    Path("clip_openpose_json").mkdir()
    Path("clip_openpose_json", "photo.jpg").touch()
    for formats, force, message in (
        (["native", "csv"], False, r"clip\.csv: already exists"),
        (["native", "openpose"], True, "other things than results"),
    ):
        with pytest.raises(OutputError, match=message):
            check_results([Path("clip")], formats, force=force)
        with pytest.raises(OutputError, match=message), one_picture(formats, force=force):
            pytest.fail("must be refused")
    os.link("clip.csv", "other")
    with pytest.raises(OutputError, match="output is the input"):
        check_results([Path("clip")], ["native", "csv"], force=True, inputs=[Path("other")])
    assert names() == ["clip.csv", "clip_openpose_json", "other"]


def test_skeletons_that_do_not_fit() -> None:
    header = Header.of(MPII16, hrpose="0.1.0")
    for name in ("coco", "openpose", "openpose-coco"):
        with (
            pytest.raises(UsageError, match=f"format {name} holds .* coco17, these are mpii16"),
            open_results(Path("clip"), [name], header, force=False),
        ):
            pytest.fail("must be refused")
    with open_results(Path("clip"), ["native", "csv"], header, force=False):
        pass


def test_parquet_is_refused_early_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(UsageError, match="pyarrow"):
        check_results([Path("clip")], ["native", "parquet"], force=False)


def note(seen: list[int], records: Records) -> None:
    seen.append(records.position())


def test_copying_keeps_everything_that_the_format_has() -> None:
    with open_results(Path("a.json"), ["native"], HEADER, force=False) as results:
        for frame in range(4):
            results.write(make(frame))
        results.fail("caf\udce9.jpg", "empty")
        results.video(VideoRecord(source="caf\udce9.mp4", status="ok", ids=1))
    for source, target, name in (("a.json", "b", "jsonl"), ("b", "c.json", "native")):
        seen: list[int] = []
        with (
            open_records(Path(source), Hints()) as records,
            open_results(Path(target), [name], records.header, force=False) as results,
        ):
            where = partial(note, seen, records)
            copied = copy_records(records, results, watch=where)
        assert (copied.pictures, copied.people, copied.failed, copied.cut) == (4, 4, 1, None)
        assert seen == sorted(seen)
        assert len(seen) == 6
    assert Path("a.json").read_bytes() == Path("c.json").read_bytes()
