"""Pictures by name, from folders, shards and ZIP files, with a limited memory."""

from __future__ import annotations

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from hrpose.errors import InputError
from hrpose.media import store
from hrpose.media.store import Pictures


def png(value: int, size: tuple[int, int] = (20, 10)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One plain picture, one deeper, and two shards that hold pictures of the same name."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "plain.png").write_bytes(png(1))
    (tmp_path / "deep/inner.png").write_bytes(png(2))
    for i, name in enumerate(("one.zip", "two.zip")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("same.png", png(10 + i))
            archive.writestr(f"own{i}.png", png(20 + i))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "shard", "value"),
    [
        ("plain.png", "", 1),
        ("deep/inner.png", "", 2),
        ("same.png", "one.zip", 10),
        ("same.png", "two.zip", 11),
        ("own1.png", "two.zip", 21),
    ],
)
def test_from_a_folder(folder: Path, name: str, shard: str, value: int) -> None:
    pictures = Pictures([folder])
    for _ in range(2):  # the second from memory
        image = pictures.read(name, shard=shard)
        assert image.shape == (3, 10, 20)
        assert image[:, 4, 4].tolist() == [value, 0, 0]


@pytest.mark.parametrize("shard", ["", "two.zip"])
def test_from_a_zip_that_is_a_root(folder: Path, shard: str) -> None:
    pictures = Pictures([folder / "two.zip"])
    assert int(pictures.read("own1.png", shard=shard)[0, 0, 0]) == 21


def test_several_roots(folder: Path) -> None:
    pictures = Pictures([folder / "deep", folder / "one.zip"])
    assert int(pictures.read("inner.png")[0, 0, 0]) == 2
    assert int(pictures.read("own0.png")[0, 0, 0]) == 20


@pytest.mark.parametrize(
    ("name", "shard"),
    [("none.png", ""), ("none.png", "one.zip"), ("same.png", "none.zip"), ("deep", "")],
)
def test_what_is_not_there_is_named(folder: Path, name: str, shard: str) -> None:
    with pytest.raises(InputError, match=name) as caught:
        Pictures([folder]).read(name, shard=shard)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("roots", [[], ["nowhere"], ["plain.png"]], ids=str)
def test_bad_roots(folder: Path, roots: list[str]) -> None:
    with pytest.raises(InputError, match=roots[0] if roots else "no picture folder"):
        Pictures([folder / root for root in roots])


def test_text_instead_of_a_picture(folder: Path) -> None:
    (folder / "plain.png").write_text("not a picture")
    with pytest.raises(InputError, match=r"plain\.png"):
        Pictures([folder]).read("plain.png")


def test_memory_holds_what_fits_and_no_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    decode = store.decode_image

    def counted(data: bytes, name: str, **options: bool) -> object:
        decoded.append(name)
        return decode(data, name, **options)

    monkeypatch.setattr(store, "decode_image", counted)
    one = 3 * 10 * 20
    pictures = Pictures([folder], cache_bytes=2 * one)
    names = ["plain.png", "deep/inner.png", "own0.png"]
    for _ in range(3):
        for name in names:
            pictures.read(name, shard="one.zip" if name == "own0.png" else "")
    assert [decoded.count(name) for name in names] == [1, 1, 3]


def test_threads_share_a_shard(folder: Path) -> None:
    pictures = Pictures([folder], cache_bytes=0)
    asked = [("same.png", "one.zip", 10), ("own1.png", "two.zip", 21), ("plain.png", "", 1)] * 30
    with ThreadPoolExecutor(4) as pool:
        values = pool.map(lambda a: int(pictures.read(a[0], shard=a[1])[0, 0, 0]), asked)
        assert list(values) == [value for *_, value in asked]
