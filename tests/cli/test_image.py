"""Pictures in, drawings and JSON out, through the entry point that the console script calls."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from hrpose import __version__
from hrpose.cli.main import run
from hrpose.errors import WeightsError
from hrpose.formats import schema
from hrpose.options import DEFAULT_DETECTOR, DEFAULT_POSE, Options, Style

MakePicture = Callable[..., Path]
Captured = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("here")


def document(path: str | Path) -> Any:
    content = json.loads(Path(path).read_bytes())
    jsonschema.validate(content, schema())
    return content


def test_one_picture(tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured) -> None:
    make_picture("in/photo.jpg", size=(80, 60))
    assert run(["image", "in/photo.jpg"]) == 0
    out, err = capsys.readouterr()
    assert out == "in/photo.jpg: 2 people -> photo.pose.jpg, photo.pose.json\n"
    assert err.count("\n") == 1
    assert err.startswith(f"note: using {DEFAULT_DETECTOR}, {DEFAULT_POSE} (embedded); ")
    assert "`hrpose models`" in err
    with Image.open("photo.pose.jpg") as drawn:
        assert (drawn.format, drawn.size) == ("JPEG", (80, 60))
    content = document("photo.pose.json")
    assert content["hrpose"] == __version__
    assert [m["name"] for m in content["models"]] == [DEFAULT_DETECTOR, DEFAULT_POSE]
    settings = content["settings"]
    assert settings["threshold"] == Options().threshold
    assert settings["device"] != "auto"
    assert "frame_batch" not in settings
    (picture,) = content["pictures"]
    assert picture["source"] == "in/photo.jpg"
    assert (picture["width"], picture["height"]) == (80, 60)
    np.testing.assert_allclose(picture["people"][0]["box"], [8, 6, 40, 54], atol=1e-3)
    assert len(picture["people"]) == 2
    assert sorted(p.name for p in Path().iterdir()) == ["in", "photo.pose.jpg", "photo.pose.json"]


def test_quiet_says_results_only(
    tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured
) -> None:
    make_picture("a.jpg")
    assert run(["image", "-q", "a.jpg"]) == 0
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (1, "")


@pytest.mark.parametrize(
    ("name", "base", "suffix"),
    [
        ("a.png", "a", ".png"),
        ("B.PNG", "B", ".png"),
        ("c.JPEG", "c", ".jpg"),
        ("d.webp", "d", ".jpg"),
        ("two.dots.jpg", "two.dots", ".jpg"),
        ("größe_人物_👤.jpg", "größe_人物_👤", ".jpg"),
        ("-dash and spaces.jpg", "-dash and spaces", ".jpg"),
        ("100%.jpg", "100%", ".jpg"),
    ],
)
def test_names(
    name: str, base: str, suffix: str, tiny_pipeline: Any, make_picture: MakePicture,
    capsys: Captured,
) -> None:  # fmt: skip
    make_picture(name)
    assert run(["image", "--out", "new/folder", "--", name]) == 0
    drawn, results = f"new/folder/{base}.pose{suffix}", f"new/folder/{base}.pose.json"
    assert capsys.readouterr().out == f"{name}: 2 people -> {drawn}, {results}\n"
    assert Path(drawn).is_file()
    assert document(results)["pictures"][0]["source"] == name


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="names are text there")
def test_a_name_that_is_not_text(
    tiny_pipeline: Any, make_picture: MakePicture, capfd: pytest.CaptureFixture[str]
) -> None:
    make_picture("plain.jpg").rename(os.fsdecode(b"caf\xe9.jpg"))
    assert run(["image", "-q", os.fsdecode(b"caf\xe9.jpg")]) == 0
    assert "caf\\udce9.pose.jpg" in capfd.readouterr().out
    content = document(os.fsdecode(b"caf\xe9.pose.json"))
    assert content["pictures"][0]["source"] == "caf\ufffd.jpg"


def test_same_stem_keeps_the_suffix(tiny_pipeline: Any, make_picture: MakePicture) -> None:
    for name in ("a.jpg", "a.png", "b.jpg"):
        make_picture(name)
    assert run(["image", "a.jpg", "a.png", "b.jpg", "--out", "out"]) == 0
    made = sorted(path.name for path in Path("out").iterdir())
    assert made == [
        "a.jpg.pose.jpg", "a.jpg.pose.json", "a.png.pose.json", "a.png.pose.png",
        "b.pose.jpg", "b.pose.json",
    ]  # fmt: skip
    assert document("out/a.png.pose.json")["pictures"][0]["source"] == "a.png"


@pytest.mark.parametrize("words", [["a.jpg", "x/a.jpg"], ["a.jpg", "a.jpg"]])
def test_same_results_are_refused(
    words: list[str], tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured
) -> None:
    make_picture("a.jpg")
    make_picture("x/a.jpg")
    assert run(["image", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, tiny_pipeline.options) == ("", None)
    assert err.startswith(f"error: {words[0]} and {words[1]} would both be written to a")
    assert "\nhint: " in err


def test_bad_pictures_among_good_ones(
    tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured
) -> None:
    whole = make_picture("a.jpg", size=(200, 200)).read_bytes()
    make_picture("z.jpg")
    Path("cut.jpg").write_bytes(whole[: len(whole) // 2])
    Path("text.jpg").write_text("this is no picture")
    photos = ["missing.jpg", "a.jpg", "text.jpg", "cut.jpg", "z.jpg"]
    assert run(["image", *photos, "--frame-batch", "1"]) == 3
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in out.splitlines()] == ["a.jpg", "z.jpg"]
    lines = err.splitlines()[1:]
    assert [line.split(":")[0] for line in lines] == ["error", "hint"] * 3 + ["note"]
    for line, name, reason in zip(
        lines[:6:2], ["missing", "text", "cut"], ["no such file", "not a picture", "cut short"],
        strict=True,
    ):  # fmt: skip
        assert line.startswith(f"error: {name}.jpg: ")
        assert reason in line
    assert lines[-1] == "note: 3 of 5 pictures could not be read"
    made = {path.name for path in Path().glob("*.pose.*")}
    assert made == {f"{name}.pose.{kind}" for name in "az" for kind in ("jpg", "json")}


def test_all_bad(tiny_pipeline: Any, capsys: Captured) -> None:
    assert run(["image", "-q", "nowhere.jpg"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: nowhere.jpg: no such file\nhint: ")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("name", ["a.pose.jpg", "a.pose.json"])
def test_nothing_is_overwritten_without_force(
    name: str, tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured
) -> None:
    make_picture("a.jpg")
    Path(name).write_text("precious")
    assert run(["image", "a.jpg"]) == 5
    out, err = capsys.readouterr()
    assert (out, tiny_pipeline.options) == ("", None)  # refused before the models are loaded
    assert err.startswith(f"error: {name}: already exists\nhint: use --force")
    assert Path(name).read_text() == "precious"
    assert run(["image", "a.jpg", "--force"]) == 0
    assert Path(name).read_bytes() != b"precious"


@pytest.mark.parametrize("link", ["itself", "hard", "symbolic"])
def test_an_input_is_never_an_output(
    link: str, tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured
) -> None:
    photo, drawn = make_picture("a.jpg"), Path("a.pose.jpg")
    words = ["image", "--force", "a.jpg"]
    if link == "itself":
        words.append(str(make_picture("a.pose.jpg")))
    elif link == "hard":
        drawn.hardlink_to(photo)
    else:
        drawn.symlink_to(photo)
    before = photo.read_bytes(), drawn.read_bytes()
    assert run(words) == 5
    assert "output is the input file a" in capsys.readouterr().err
    assert (photo.read_bytes(), drawn.read_bytes()) == before


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(make_picture: MakePicture, capsys: Captured) -> None:
    make_picture("a.jpg")
    Path("fixed").mkdir(mode=0o500)
    assert run(["image", "a.jpg", "--out", "fixed"]) == 5
    assert capsys.readouterr().err.startswith("error: fixed/a.pose.jpg: folder fixed is not ")
    assert run(["image", "a.jpg", "--out", "fixed/deeper"]) == 5
    assert capsys.readouterr().err.startswith("error: fixed/deeper: folder cannot be made: ")


def test_out_is_a_file(tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured) -> None:
    make_picture("a.jpg")
    Path("file").touch()
    assert run(["image", "a.jpg", "--out", "file"]) == 5
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: file: folder cannot be made: ")
    assert hint.startswith("hint: ")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--detector", "none", "--pose", "hrnet_w23"], 2, "unknown model 'hrnet_w23'"),
        (["--detector", "yolo"], 2, "unknown model 'yolo'"),
        (["--device", "cuda:99"], 2, "no CUDA device for 'cuda:99'"),
        (["--device", "toaster"], 2, "unknown device 'toaster'"),
        (["--boxes", "nowhere.json"], 3, "nowhere.json: "),
        (["--threshold", "1.5"], 2, "1.5 is not in the range"),
        (["--max-people", "0"], 2, "0 is not in the range"),
        (["--dtype", "float8"], 2, "float8"),
        (["--format", "xml"], 2, "xml"),
        ([], 4, "nothing here"),
    ],
)
def test_failures_before_any_picture(
    words: list[str], code: int, said: str, make_picture: MakePicture, capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def missing(spec: Any) -> Path:
        raise WeightsError("nothing here", hint="get it")

    monkeypatch.setattr("hrpose.zoo.files.locate", missing)
    make_picture("a.jpg")
    assert run(["image", "a.jpg", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert said in error
    assert hint.startswith("hint: ")
    assert list(Path().glob("*.pose.*")) == []


def test_options_reach_the_pipeline(tiny_pipeline: Any, make_picture: MakePicture) -> None:
    make_picture("a.jpg")
    words = [
        "--pose", "p", "--detector", "none", "--device", "cpu", "--dtype", "bfloat16",
        "--flip-test", "--refine", "dark", "--threshold", "0.25", "--max-people", "7",
        "--pose-threshold", "0.125", "--frame-batch", "2", "--crop-batch", "3",
    ]  # fmt: skip
    assert run(["image", "a.jpg", *words]) == 0
    assert tiny_pipeline.options == Options(
        pose="p", detector="none", device="cpu", dtype="bfloat16", flip_test=True, refine="dark",
        threshold=0.25, pose_threshold=0.125, max_people=7, frame_batch=2, crop_batch=3,
    )  # fmt: skip
    assert document("a.pose.json")["settings"] == {
        "pose": "p", "detector": "none", "device": "cpu", "dtype": "bfloat16", "flip_test": True,
        "refine": "dark", "threshold": 0.25, "pose_threshold": 0.125, "max_people": 7,
        "oks_threshold": Options().oks_threshold,
    }  # fmt: skip


def test_without_options_the_library_decides(tiny_pipeline: Any, make_picture: MakePicture) -> None:
    make_picture("a.jpg")
    assert run(["image", "a.jpg"]) == 0
    assert tiny_pipeline.options == Options()


def test_whole_picture(tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured) -> None:
    make_picture("a.jpg", size=(50, 70))
    assert run(["image", "a.jpg", "--detector", "none"]) == 0
    assert capsys.readouterr().out.startswith("a.jpg: 1 person -> ")
    assert document("a.pose.json")["pictures"][0]["people"][0]["box"] == [0, 0, 50, 70]


def test_boxes_from_a_file(tiny_pipeline: Any, make_picture: MakePicture) -> None:
    make_picture("img_0007.jpg")
    row = {"image_id": 7, "category_id": 1, "bbox": [5, 6, 10, 20], "score": 0.75}
    Path("boxes.json").write_text(json.dumps([row]))
    assert run(["image", "img_0007.jpg", "--boxes", "boxes.json"]) == 0
    content = document("img_0007.pose.json")
    assert content["pictures"][0]["people"][0]["box"] == [5, 6, 15, 26]
    assert content["settings"]["boxes"] == "boxes.json"
    assert "detector" not in content["settings"]
    assert [m["task"] for m in content["models"]] == ["pose"]


def test_coco(tiny_pipeline: Any, make_picture: MakePicture) -> None:
    make_picture("img_0007.jpg")
    assert run(["image", "img_0007.jpg", "--format", "coco"]) == 0
    rows = json.loads(Path("img_0007.pose.coco.json").read_bytes())
    assert [(row["image_id"], row["category_id"], len(row["keypoints"])) for row in rows] == [
        (7, 1, 51), (7, 1, 51),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "style"),
    [
        ([], Style()),
        (
            ["--overlay", "boxes,scores", "--background", "black", "--side-by-side",
             "--min-score", "0.1"],
            Style(
                overlay=("boxes", "scores"), background="black", side_by_side=True, min_score=0.1
            ),
        ),
    ],
)  # fmt: skip
def test_style(
    words: list[str], style: Style, tiny_pipeline: Any, make_picture: MakePicture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    used = []

    def draw(frame: Any, poses: Any, given: Style) -> Any:
        used.append(given)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr("hrpose.run.draw", draw)
    make_picture("a.jpg")
    assert run(["image", "a.jpg", *words]) == 0
    assert used == [style]


def test_max_pixels(tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured) -> None:
    make_picture("a.jpg", size=(64, 48))
    assert run(["image", "-q", "a.jpg", "--max-pixels", str(64 * 48 - 1)]) == 3
    assert "64 x 48 pixels exceeds the limit" in capsys.readouterr().err
    assert run(["image", "-q", "a.jpg", "--max-pixels", str(64 * 48)]) == 0


def test_results_are_of_the_upright_picture(tiny_pipeline: Any, shared: Path, here: Path) -> None:
    names = [f"Landscape_{turn}.jpg" for turn in range(1, 9)]
    photos = [str(shared / "data" / "media" / "images" / name) for name in names]
    assert run(["image", "-q", *photos]) == 0
    upright = document("Landscape_1.pose.json")["pictures"][0]
    for name in names:
        picture = document(name.replace(".jpg", ".pose.json"))["pictures"][0]
        assert (picture["width"], picture["height"]) == (upright["width"], upright["height"])
        assert [p["box"] for p in picture["people"]] == [p["box"] for p in upright["people"]]
        with Image.open(name.replace(".jpg", ".pose.jpg")) as drawn:
            assert drawn.size == (upright["width"], upright["height"])
            assert drawn.getexif().get(0x0112, 1) == 1  # turned once, not twice


def test_interrupted_keeps_what_is_done(
    tiny_pipeline: Any, make_picture: MakePicture, capsys: Captured
) -> None:
    def interrupt(frames: Any) -> None:
        if frames[0].source == "b.jpg":
            raise KeyboardInterrupt

    tiny_pipeline.before = interrupt
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        make_picture(name)
    assert run(["image", "-q", "a.jpg", "b.jpg", "c.jpg", "--frame-batch", "1"]) == 130
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (1, "error: interrupted\n")
    assert sorted(p.name for p in Path().glob("*.pose.*")) == ["a.pose.jpg", "a.pose.json"]
    assert list(Path().glob(".*")) == []


@pytest.mark.parametrize("command", ["image", "video", "batch", "schema", "convert"])
def test_help_is_cheap_and_shows_true_defaults(command: str) -> None:
    probe = f"""
import sys
from hrpose.cli.main import run
run([{command!r}, "--help"])
assert not {{"torch", "cv2", "av", "PIL", "numpy", "tqdm"}} & set(sys.modules), sys.modules.keys()
"""
    repo = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=repo, capture_output=True, text=True,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    shown = " ".join(done.stdout.split())
    if command not in ("schema", "convert"):
        assert f"[default: {Options().pose}]" in shown
        assert f"[default: {Options().threshold}; 0<=x<=1]" in shown
        assert f"[default: {Style().min_score}; 0<=x<=1]" in shown


def test_samples_do_not_collide(samples: Path, tiny_pipeline: Any, here: Path) -> None:
    photos = [str(path) for path in samples.iterdir() if path.suffix in (".jpg", ".png")]
    assert photos
    for photo in photos:
        shutil.copy(photo, here)
    assert run(["image", "-q", *(Path(photo).name for photo in photos)]) == 0
