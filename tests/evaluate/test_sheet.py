"""The contact sheet: what is drawn where."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hrpose.evaluate.chart import KIND_COLOURS
from hrpose.evaluate.errors import diagnose, people_of
from hrpose.evaluate.sheet import SIDE, Tile, draw_sheet, draw_tile
from hrpose.skeleton import COCO17
from hrpose.types import Frame

GREEN = (90, 120, 90)
L_WRIST, R_WRIST = 9, 10


def _tiles(scene: Any, *points: np.ndarray, title: str = "1  1.png") -> list[Tile]:
    _, poses = scene.result(0, points)
    diagnosis = diagnose(0, people_of(scene.truth, 0, COCO17), poses)
    frame = scene.truth.frame(0)
    return [Tile(title, frame, diagnosis, case) for case in diagnosis.cases]


def _has(picture: np.ndarray, colour: str, *, within: int = 30) -> bool:
    rgb = np.array(list(bytes.fromhex(colour.removeprefix("#"))), int)
    return bool((np.abs(picture[:SIDE].astype(int) - rgb).max(axis=2) <= within).any())


@pytest.mark.parametrize(
    ("target", "kind"),
    [((0, R_WRIST), "inversion"), ((1, L_WRIST), "swap"), (None, "miss")],
    ids=["inversion", "swap", "miss"],
)
def test_errors_have_the_colour_of_their_kind(
    scene: Any, target: tuple[int, int] | None, kind: str
) -> None:
    points = scene.points(0)
    points[L_WRIST] = (350, 130) if target is None else scene.points(target[0])[target[1]]
    picture = draw_tile(_tiles(scene, points, scene.points(1))[0])
    marked = {name for name in ("miss", "swap", "inversion") if _has(picture, KIND_COLOURS[name])}
    assert marked == {kind}


def test_good_keypoints_have_no_mark(scene: Any) -> None:
    picture = draw_tile(_tiles(scene, scene.points(0), scene.points(1))[0])
    assert not any(_has(picture, KIND_COLOURS[name]) for name in ("miss", "swap", "inversion"))


def test_missed_people_are_drawn_as_truth_alone(scene: Any) -> None:
    first, second = (draw_tile(tile) for tile in _tiles(scene))
    for picture in (first, second):
        assert not (picture[:SIDE] == GREEN).all()
        assert (picture[:SIDE] == GREEN).all(axis=2).mean() > 0.5  # thin strokes


def test_unlabelled_keypoints_are_not_drawn(scene: Any) -> None:
    own = [scene.points(0), scene.points(1)]
    moved = [own[0], own[1].copy()]
    moved[1][0] = (500, 200)  # person 1 has no labelled nose
    same, other = (draw_tile(_tiles(scene, *points)[1]) for points in (own, moved))
    assert np.array_equal(same[:SIDE], other[:SIDE])


def test_sheet_holds_all_tiles(scene: Any) -> None:
    tiles = _tiles(scene, scene.points(0), scene.points(1), np.full((17, 2), 350.0))
    tile = draw_tile(tiles[0])
    two, three = draw_sheet(iter(tiles), columns=2), draw_sheet(iter(tiles), columns=3)
    assert two.dtype == np.uint8
    assert two.shape[0] > 2 * tile.shape[0] > three.shape[0] > tile.shape[0]
    assert three.shape[1] > 3 * tile.shape[1]
    top = two.shape[0] - three.shape[0] - tile.shape[0]
    assert top > 0
    assert any(np.array_equal(two[y : y + SIDE, 6 : 6 + SIDE], tile[:SIDE]) for y in range(60))


def test_nothing_to_show() -> None:
    picture = draw_sheet([])
    assert picture.ndim == 3
    assert picture.std() > 0  # says so


@pytest.mark.parametrize(
    "points",
    [
        np.full((17, 2), 1e9),
        np.full((17, 2), -500.0),
        np.full((17, 2), 799.9),
        np.random.default_rng(0).uniform(-1e6, 1e6, (17, 2)),
    ],
    ids=["far", "left of the picture", "in the corner", "everywhere"],
)
def test_poses_may_lie_anywhere(scene: Any, points: np.ndarray) -> None:
    for tile in _tiles(scene, points):
        assert draw_tile(tile).shape[1] == SIDE


def test_labels_may_lie_anywhere(scene: Any) -> None:
    person = scene.truth.coco.imgToAnns[1][0]
    person["bbox"] = [-1e6, -1e6, 3e6, 3e6]
    person["keypoints"][:2] = [1e6, 1e6]
    assert draw_tile(_tiles(scene)[0]).shape[1] == SIDE


def test_without_a_picture_the_ground_is_grey(scene: Any) -> None:
    tile = _tiles(scene)[0]
    blind = draw_tile(Tile(tile.title, None, tile.diagnosis, tile.case))
    assert blind.shape == draw_tile(tile).shape
    assert not (blind[:SIDE] == GREEN).all(axis=2).any()


def test_outside_of_the_picture_is_grey(make_scene: Callable[..., Any], tmp_path: Path) -> None:
    scene = make_scene(tmp_path, people=1)
    tile = _tiles(scene)[0]
    corner = draw_tile(tile)[0, 0]
    assert corner.tolist() != list(GREEN)  # the crop is square and begins above the picture


@pytest.mark.parametrize("title", ["x" * 500, "caf\u00e9 \x1b[2J\n\udcff", ""])
def test_any_title(scene: Any, title: str) -> None:
    tile = _tiles(scene, title=title)[0]
    assert draw_tile(tile).shape[1] == SIDE


def test_frames_are_not_changed(scene: Any) -> None:
    tile = _tiles(scene, scene.points(0) + 20)[0]
    assert isinstance(tile.frame, Frame)
    before = tile.frame.image.clone()
    draw_tile(tile)
    assert torch.equal(tile.frame.image, before)
