from __future__ import annotations

import os
from pathlib import Path

import pytest

from hrpose.errors import BadImage, BadVideo, InputError
from hrpose.media.source import natural, pictures, require_file


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_finds_pictures_at_any_depth_sorted(tmp_path: Path) -> None:
    wanted = [tmp_path / name for name in ("a.jpg", "b/c.PNG", "b/d e.TiFf", "z.avif")]
    _touch(*reversed(wanted), tmp_path / "notes.txt", tmp_path / "clip.mp4", tmp_path / "jpg")
    assert pictures(tmp_path) == wanted


def test_hidden_names_and_own_unfinished_files_are_skipped(tmp_path: Path) -> None:
    _touch(tmp_path / "a.jpg", tmp_path / "._a.jpg", tmp_path / ".thumbs" / "a.jpg")
    _touch(tmp_path / ".a.jpg.0123abcd.part.jpg")
    assert pictures(tmp_path) == [tmp_path / "a.jpg"]


def test_folder_links_are_not_entered_file_links_are_taken(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    _touch(inside / "a.jpg", outside / "b.jpg")
    (inside / "loop").symlink_to(inside)
    (inside / "album.jpg").symlink_to(outside)
    (inside / "c.jpg").symlink_to(outside / "b.jpg")
    assert pictures(inside) == [inside / "a.jpg", inside / "c.jpg"]


def test_a_folder_named_like_a_picture_is_entered(tmp_path: Path) -> None:
    _touch(tmp_path / "x.jpg" / "y.png")
    assert pictures(tmp_path) == [tmp_path / "x.jpg" / "y.png"]


@pytest.mark.parametrize("name", ["missing", "file.jpg", "empty"])
def test_nothing_to_read_is_an_error_with_a_hint(tmp_path: Path, name: str) -> None:
    _touch(tmp_path / "file.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=name) as caught:
        pictures(tmp_path / name)
    assert caught.value.hint


def test_a_folder_that_cannot_be_listed_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(tmp_path / "a.jpg", tmp_path / "locked" / "b.jpg")
    scan = os.scandir

    def refuse(path: str) -> object:
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"locked.*Permission denied"):
        pictures(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "no such file"),
        ("folder", "folder"),
        ("fifo", "not a regular file"),
        ("device", "not a regular file"),
        ("empty", "file is empty"),
        ("dangling", "does not exist"),
        ("loop", "cannot be read"),
        ("nul\0name", "cannot be read"),
        ("http://example.org/a.jpg", "no such file"),
    ],
)
@pytest.mark.parametrize("kind", [BadImage, BadVideo])
def test_only_regular_files_with_content_pass(
    tmp_path: Path, name: str, reason: str, kind: type[InputError]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(kind, match=reason) as caught:
        require_file(tmp_path / name, error=kind)
    assert caught.value.hint
    assert str(tmp_path) in caught.value.message


def test_numbers_count_as_numbers() -> None:
    names = ["a1", "a2", "a2b", "a10", "a010", "b", "2", "10", "", "a"]
    assert sorted(names, key=natural) == ["", "2", "10", "a", "a1", "a2", "a2b", "a010", "a10", "b"]
