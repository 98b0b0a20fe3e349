from __future__ import annotations

import contextlib
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from hrpose.errors import WeightsError
from hrpose.zoo.checkpoint import check_readable, read_checkpoint

WEIGHTS = {"a.weight": torch.arange(600.0).reshape(2, 300), "a.count": torch.tensor(3)}


def as_safetensors(path: Path) -> None:
    safetensors.torch.save_file(WEIGHTS, path)


def as_zip(path: Path) -> None:
    torch.save(WEIGHTS, path)


def as_pickle(path: Path) -> None:  # the form of 2019, in which the official checkpoints are
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)


KINDS = pytest.mark.parametrize("write", [as_safetensors, as_zip, as_pickle])


def test_suffix_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    as_safetensors(path)
    assert isinstance(read_checkpoint(path), dict)
    as_zip(path)
    with pytest.raises(WeightsError, match="not a safetensors file") as caught:
        read_checkpoint(path)
    assert ".pth" in caught.value.hint


@KINDS
@pytest.mark.parametrize("suffix", ["", ".pth", ".pt"])
def test_forms(tmp_path: Path, write: Callable[[Path], None], suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    write(path)
    loaded = read_checkpoint(path)
    assert isinstance(loaded, dict)
    assert loaded.keys() == WEIGHTS.keys()
    assert all(torch.equal(loaded[key], WEIGHTS[key]) for key in WEIGHTS)


@KINDS
def test_damaged_files_are_refused_or_read(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "weights.pth"
    write(path)
    whole = path.read_bytes()
    dice = random.Random(1)
    for length in (1, 7, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            read_checkpoint(path)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[dice.randrange(min(len(whole), 600))] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(WeightsError):  # any other exception fails the test
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><title>Google Drive</title>", "web page"),
        (b"\xef\xbb\xbf\n <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git LFS pointer"),
        (b"hello", "not a file of weights"),
        (b"GIF89a" + bytes(100), "not a file of weights"),
    ],
    ids=["empty", "html", "html with bom", "lfs pointer", "text", "picture"],
)
def test_other_files(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=reason) as caught:
        read_checkpoint(path)
    assert caught.value.hint
    assert caught.value.exit_code == 4


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        check_readable(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="not a file"):
        check_readable(tmp_path)


def test_huge_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "huge.pth"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 5 << 30)  # sparse: takes no space
    with pytest.raises(WeightsError, match="more than any model"):
        check_readable(path)


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["zip", "old", "plain pickle"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, form: str) -> None:
    path = tmp_path / "evil.pth"
    evil = {**WEIGHTS, "x": Payload(tmp_path / "ran")}
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(evil["x"]))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_python_objects_are_named_as_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "history.pth"
    torch.save({"state_dict": WEIGHTS, "history": Path("x")}, path)
    with pytest.raises(WeightsError, match="holds Python objects") as caught:
        read_checkpoint(path)
    assert "safetensors" in caught.value.hint


def test_compressed_archive_is_refused(tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    as_zip(plain)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as sink,
    ):
        for name in source.namelist():
            sink.writestr(name, source.read(name))
    with pytest.raises(WeightsError, match="compressed"):
        read_checkpoint(packed)
