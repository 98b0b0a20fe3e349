from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hrpose.errors import OutputError
from hrpose.media.output import atomic_output, check_output


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@contextmanager
def _half(target: Path, *, force: bool = False) -> Iterator[None]:
    with atomic_output(target, force=force) as temporary:
        temporary.write_text("half")
        yield


def test_the_final_name_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    with atomic_output(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".out.json.")
        assert temporary.name.endswith(".part.json")
    assert target.read_text() == "whole"
    assert _names(tmp_path) == ["out.json"]


@pytest.mark.parametrize("error", [ValueError("own bug"), KeyboardInterrupt(), SystemExit(1)])
def test_an_error_leaves_nothing_and_passes_through(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), _half(tmp_path / "out.json"):
        raise error
    assert _names(tmp_path) == []


def test_disk_full_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="No space left") as caught,
        _half(tmp_path / "out.json"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "space" in caught.value.hint
    assert caught.value.exit_code == 5
    assert _names(tmp_path) == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_disk_full_at_the_end_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with (
        pytest.raises(OutputError, match=r"out\.json.*No space left"),
        _half(target, force=True),
    ):
        monkeypatch.setattr(os, step, fail)
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["out.json"]


def test_the_content_is_on_disk_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: (steps.append(n), r(*a))[1])
    with atomic_output(tmp_path / "out.json") as temporary:
        temporary.write_text("x")
    assert steps == ["fsync", "replace", "fsync"]  # file, name, folder


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(OutputError, match="already exists") as caught, atomic_output(target):
        pytest.fail("must be refused before any work")
    assert "--force" in caught.value.hint
    with atomic_output(target, force=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    with pytest.raises(OutputError, match="already exists"), _half(target):
        target.write_text("theirs")
    assert target.read_text() == "theirs"
    assert _names(tmp_path) == ["out.json"]


def test_force_replaces_a_link_not_its_target(tmp_path: Path) -> None:
    precious, link = tmp_path / "precious.json", tmp_path / "link.json"
    precious.write_text("precious")
    link.symlink_to(precious)
    with pytest.raises(OutputError, match="already exists"):
        check_output(link, force=False)
    with atomic_output(link, force=True) as temporary:
        temporary.write_text("new")
    assert precious.read_text() == "precious"
    assert not link.is_symlink()
    assert link.read_text() == "new"


def test_a_dangling_link_exists(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="already exists"):
        check_output(tmp_path / "link", force=False)


@pytest.mark.parametrize("how", ["same", "spelling", "hard link", "symbolic link"])
def test_the_input_is_never_the_output_not_even_with_force(tmp_path: Path, how: str) -> None:
    source, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    source.write_text("precious")
    if how == "same":
        output = source
    elif how == "spelling":
        (tmp_path / "sub").mkdir()
        output = tmp_path / "sub" / ".." / "in.mp4"
    elif how == "hard link":
        output.hardlink_to(source)
    else:
        output.symlink_to(source)
    other = tmp_path / "other.mp4"
    with pytest.raises(OutputError, match="is the input file"):
        check_output(output, force=True, inputs=[other, source])
    with (
        pytest.raises(OutputError, match="is the input file"),
        atomic_output(output, force=True, inputs=[source]),
    ):
        pytest.fail("must be refused before any work")
    assert source.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/out.json", "does not exist"),
        ("file/out.json", "cannot be written|does not exist"),
        ("folder", "is a folder"),
        ("fifo", "device or a pipe"),
        ("nul\0", "cannot be written"),
        ("n" * 300, "cannot be written"),
    ],
)
def test_impossible_targets_are_refused_early(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    before = _names(tmp_path)
    with pytest.raises(OutputError, match=reason) as caught:
        check_output(tmp_path / name, force=True)
    assert caught.value.hint
    assert _names(tmp_path) == before


def test_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(OutputError, match="not writable"):
        check_output(tmp_path / "out.json", force=False)


@pytest.mark.parametrize("name", ["x" * 250 + ".mp4", "ü" * 120 + ".mp4", "a." + "b" * 200])
def test_long_names_fit(tmp_path: Path, name: str) -> None:
    with atomic_output(tmp_path / name) as temporary:
        temporary.write_text("x")
    assert (tmp_path / name).read_text() == "x"


def test_a_broken_pipe_of_the_caller_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), atomic_output(tmp_path / "out.json"):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert _names(tmp_path) == []
