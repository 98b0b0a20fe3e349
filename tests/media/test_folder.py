"""Folders of results: whole or not at all, and nothing foreign is ever removed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hrpose.errors import OutputError
from hrpose.media.folder import atomic_folder, check_folder


def own(name: str) -> bool:
    return name.endswith(".json")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sync", lambda: None)  # it would wait for everybody's writes


@contextmanager
def new(target: Path, *, force: bool = False) -> Iterator[None]:
    with atomic_folder(target, own=own, force=force) as temporary:
        (temporary / "new.json").touch()
        yield


def tree(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def test_the_name_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_folder(target, own=own) as temporary:
        (temporary / "a.json").touch()
        assert not target.exists()
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".out.")
    assert tree(tmp_path) == ["out", "out/a.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("bug")])
def test_an_error_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), new(tmp_path / "out"):
        raise error
    assert tree(tmp_path) == []


def filled(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


def test_force_replaces_results(tmp_path: Path) -> None:
    target = filled(tmp_path / "out", "old.json")
    with pytest.raises(OutputError, match="already exists") as caught:
        check_folder(target, own=own, force=False)
    assert "--force" in caught.value.hint
    with new(target, force=True):
        assert tree(target) == ["old.json"]
    assert tree(tmp_path) == ["out", "out/new.json"]


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    with new(filled(tmp_path / "out")):
        pass
    assert tree(tmp_path) == ["out", "out/new.json"]


@pytest.mark.parametrize("foreign", ["photo.jpg", ".hidden", "sub.json/"])
def test_foreign_things_are_never_removed(tmp_path: Path, foreign: str) -> None:
    target = filled(tmp_path / "out", "old.json")
    thing = target / foreign
    thing.mkdir() if foreign.endswith("/") else thing.touch()
    with pytest.raises(OutputError, match=f"other things than results: {foreign.rstrip('/')}"):
        check_folder(target, own=own, force=True)
    thing.rmdir() if foreign.endswith("/") else thing.unlink()
    with pytest.raises(OutputError, match="other things"), new(target, force=True):
        thing.mkdir() if foreign.endswith("/") else thing.touch()  # meanwhile
    assert tree(tmp_path) == ["out", *sorted((f"out/{foreign.rstrip('/')}", "out/old.json"))]


def test_links_to_results_are_foreign(tmp_path: Path) -> None:
    target = filled(tmp_path / "out")
    (tmp_path / "precious").touch()
    (target / "a.json").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="other things"):
        check_folder(target, own=own, force=True)


def test_a_failing_rename_keeps_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, real = filled(tmp_path / "out", "old.json"), Path.rename

    def rename(self: Path, other: Path) -> Path:
        if (self / "new.json").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, other)

    monkeypatch.setattr(Path, "rename", rename)
    with (
        pytest.raises(OutputError, match="out: cannot be written: No space left"),
        new(target, force=True),
    ):
        pass
    assert tree(tmp_path) == ["out", "out/old.json"]


def test_impossible_targets(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(filled(tmp_path / "folder"))
    for name, reason in (
        ("file", "is not a folder"),
        ("link", "is not a folder"),
        ("missing/out", "does not exist"),
        ("nul\0", "cannot be written"),
    ):
        with pytest.raises(OutputError, match=reason) as caught:
            check_folder(tmp_path / name, own=own, force=True)
        assert caught.value.hint
    with pytest.raises(OutputError, match="is the input"):
        check_folder(tmp_path / "folder", own=own, force=True, inputs=[tmp_path / "link"])


def test_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(OutputError, match="not writable"):
        check_folder(tmp_path / "out", own=own, force=False)
