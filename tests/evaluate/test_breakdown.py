"""The files of a breakdown: whole, safe against names, and refused before any work."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from hrpose.errors import OutputError
from hrpose.evaluate.breakdown import NUMBERS, PAGE, SHEET, check_folder, write_breakdown
from hrpose.evaluate.truth import GroundTruth

NAMES = ("<script>.jpg", "a & 'b'.png", "caf\u00e9 \x1b[2J.png")


@pytest.fixture(scope="module")
def written(make_scene: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A scene of pictures with odd names, its results, and their breakdown in ``folder / out``."""
    folder = tmp_path_factory.mktemp("breakdown")
    scene = make_scene(folder, names=NAMES)
    wild = np.random.default_rng(0).uniform(0, 700, (17, 2))
    results = [scene.result(i, [scene.points(0) + 8 * i, wild]) for i in range(2)]
    found = write_breakdown(scene.truth, results, folder / "out", about="a <model>")
    return scene, results, folder / "out", found


def test_page_is_well_formed_and_fetches_nothing(written: Any) -> None:
    text = (written[2] / PAGE).read_text(encoding="utf-8")
    tree = ElementTree.fromstring(text)
    tags = {element.tag for element in tree.iter()}
    assert {"table", "svg", "style"} <= tags
    assert not tags & {"script", "link", "img", "iframe", "object"}
    links = [e.get("href") for e in tree.iter() if e.get("href")]
    assert links == [SHEET]
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text


def test_names_are_text(written: Any) -> None:
    text = (written[2] / PAGE).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "\x1b" not in text
    cells = {"".join(e.itertext()) for e in ElementTree.fromstring(text).iter("td")}
    assert {"<script>.jpg", "a & 'b'.png", "caf\u00e9 \ufffd[2J.png"} <= cells
    assert "a <model>" in "".join(ElementTree.fromstring(text).itertext())


def test_numbers_are_the_breakdown(written: Any) -> None:
    _, _, folder, found = written
    assert json.loads((folder / NUMBERS).read_text()) == json.loads(json.dumps(asdict(found)))
    assert found.outcomes["missed"] == 4


def test_sheet_is_a_picture(written: Any) -> None:
    _, _, folder, found = written
    with Image.open(folder / SHEET) as image:
        assert image.format == "JPEG"
        assert image.width > 340 * min(6, len(found.worst))


def test_existing_files_are_refused(written: Any) -> None:
    scene, results, folder, found = written
    before = (folder / PAGE).read_bytes()
    with pytest.raises(OutputError, match="already exists"):
        check_folder(folder, force=False)
    with pytest.raises(OutputError, match="already exists"):
        write_breakdown(scene.truth, results, folder)
    assert (folder / PAGE).read_bytes() == before
    assert write_breakdown(scene.truth, results, folder, force=True) == found


def test_folder_is_made_or_refused(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b", force=False)
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        check_folder(tmp_path / "file", force=False)


@pytest.mark.parametrize("people", [0, 1], ids=["nobody labelled", "nobody found"])
def test_empty_results(make_scene: Callable[..., Any], tmp_path: Path, people: int) -> None:
    scene = make_scene(tmp_path, people=people)
    found = write_breakdown(scene.truth, [], tmp_path / "out")
    assert len(found.worst) == people
    ElementTree.fromstring((tmp_path / "out" / PAGE).read_text(encoding="utf-8"))
    json.loads((tmp_path / "out" / NUMBERS).read_text())
    assert (tmp_path / "out" / SHEET).stat().st_size > 0


def test_pictures_that_cannot_be_read_do_not_stop_it(written: Any, tmp_path: Path) -> None:
    _, results, folder, found = written
    blind = GroundTruth(folder.parent / "truth.json")
    assert write_breakdown(blind, results, tmp_path / "out") == found
