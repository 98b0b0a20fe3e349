"""The table of shared/data/media/images, and generated pictures whose right answer is known."""

from __future__ import annotations

import csv
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hrpose.errors import BadImage, OutputError
from hrpose.media.image import read_image, write_image

# The manifest's means drop alpha or depend on the decoder; here alpha shows white.
TRANSPARENT = {"p_trns_single.png", "transparent.png", "grey-8bit-alpha.png", "delay.png"}
TRANSPARENT |= {"animated-loop-3.gif", "animated-loop-3.webp"}
EXPECTED_COUNT = 73


def _rows(shared: Path) -> list[dict[str, str]]:
    with (shared / "data/media/images/MANIFEST.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _quadrants(image: torch.Tensor) -> list[float]:
    grey = image.float().mean(dim=0)
    height, width = grey.shape[0] // 2, grey.shape[1] // 2
    parts = (grey[:height, :width], grey[:height, width:], grey[height:, :width])
    return [float(part.mean()) for part in (*parts, grey[height:, width:])]


def _problem(folder: Path, row: dict[str, str]) -> str:
    """What is wrong with reading one file of the table; empty if nothing."""
    path, expect = folder / row["file"], row["expect"]
    try:
        frame = read_image(path)
    except BadImage as error:
        if row["file"] not in error.message or not error.hint:
            return f"unhelpful message {error.message!r}"
        return "refused" if expect == "read" else ""
    if expect in ("fail", "damaged"):
        return "was read"
    if "x".join(map(str, frame.size)) != row["upright_size"]:
        return f"size {frame.size}, expected {row['upright_size']}"
    if row["file"] in TRANSPARENT:
        return ""
    for column, got in (
        ("rgb_mean", frame.image.float().mean(dim=(1, 2)).tolist()),
        ("quadrant_means", _quadrants(frame.image)),
    ):
        want = [float(value) for value in row[column].split()]
        if want and np.abs(np.subtract(got, want)).max() > 1.01:
            return f"{column} {got}, expected {want}"
    return ""


def test_every_file_of_the_media_folder(shared: Path) -> None:
    rows = _rows(shared)
    assert len(rows) >= EXPECTED_COUNT
    folder = shared / "data/media/images"
    problems = {row["file"]: problem for row in rows if (problem := _problem(folder, row))}
    assert problems == {}


def test_transparent_files_show_white(shared: Path) -> None:
    for name in sorted(TRANSPARENT):
        path = shared / "data/media/images" / name
        with Image.open(path) as image:
            layers = np.asarray(image.convert("RGBA"), dtype=np.float64)
        alpha = layers[..., 3:] / 255
        want = layers[..., :3] * alpha + 255 * (1 - alpha)
        got = read_image(path).image.permute(1, 2, 0).numpy()
        assert np.abs(got - want).max() <= 1.01, name


def test_the_result_is_a_frame_with_the_source_as_given(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)).save(path)
    frame = read_image(str(path))
    assert frame.source == str(path)
    assert (frame.index, frame.time, frame.size) == (0, None, (3, 2))
    assert frame.image.is_contiguous()
    assert frame.image[:, 0, 1].tolist() == [3, 4, 5]  # x = 1, y = 0: red, green, blue


# Where the marker, stored at the upper left, is seen after turning by each EXIF orientation.
CORNERS = {1: "ul", 2: "ur", 3: "lr", 4: "ll", 5: "ul", 6: "ur", 7: "lr", 8: "ll"}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("orientation", sorted(CORNERS))
def test_exif_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    stored = np.zeros((32, 48, 3), dtype=np.uint8)
    stored[:16, :24] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    Image.fromarray(stored).save(path, exif=exif)
    frame = read_image(path)
    assert frame.size == ((48, 32) if orientation <= 4 else (32, 48))
    bright = int(np.argmax(_quadrants(frame.image)))
    assert ("ul", "ur", "ll", "lr")[bright] == CORNERS[orientation]


@pytest.mark.parametrize("garbage", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff"])
def test_unreadable_exif_is_no_reason_to_refuse(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 4), "red").save(path, exif=garbage)
    assert read_image(path).size == (8, 4)


def _ramp(dtype: type, top: float) -> np.ndarray:
    return np.linspace(0, top, 64 * 8).reshape(8, 64).astype(dtype)


@pytest.mark.parametrize(
    ("suffix", "dtype", "top", "scale"),
    [
        (".png", np.uint16, 65535, 256),
        (".png", np.uint16, 4095, 256),  # dim stays dim: the depth is known
        (".tif", np.uint16, 65535, 256),
        (".tif", np.int32, 255, 1),
        (".tif", np.int32, 65535, 256),
        (".tif", np.float32, 1.0, 1 / 255),
        (".tif", np.float32, 255.0, 1),
        (".tif", np.float32, 65535.0, 256),
        (".tif", np.float32, 1e9, 1e9 / 255),
    ],
)
def test_deep_grey(tmp_path: Path, suffix: str, dtype: type, top: float, scale: float) -> None:
    values = _ramp(dtype, top)
    Image.fromarray(values).save(tmp_path / f"deep{suffix}")
    image = read_image(tmp_path / f"deep{suffix}").image.numpy().astype(float)
    assert np.abs(image - values / scale).max() <= 1
    assert image.max() == pytest.approx(top / scale, abs=1)
    assert (image[0] == image[1]).all()
    assert (image[0] == image[2]).all()


def test_float_with_holes_is_read(tmp_path: Path) -> None:
    values = _ramp(np.float32, 1.0)
    values[0, :3] = [np.nan, np.inf, -5]
    Image.fromarray(values).save(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif").image[0]
    assert image[0, :3].tolist() == [0, 0, 0]
    assert image[-1, -1] == 255


def _tiff16(values: np.ndarray, *, photometric: int, samples: int, bits: int = 16) -> bytes:
    """An uncompressed little-endian TIFF of 16 bits a sample, which Pillow cannot write."""
    data = values.astype("<u2").tobytes()
    height, width = values.shape[:2]
    extra = struct.pack(f"<{samples}H", *[bits] * samples)
    start = 8 + 2 + 9 * 12 + 4
    pixels = start + (len(extra) if samples > 2 else 0)
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, samples, start if samples > 2 else bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, pixels),
        (277, 3, 1, samples),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
    ]
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries))
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return head + table + (extra if samples > 2 else b"") + data


def test_16_bit_rgb_tiff(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 3))
    (tmp_path / "a.tif").write_bytes(_tiff16(values, photometric=2, samples=3))
    image = read_image(tmp_path / "a.tif").image.permute(1, 2, 0).numpy()
    assert (image == values >> 8).all()


@pytest.mark.parametrize(("photometric", "first"), [(1, 0), (0, 255)])
def test_16_bit_tiff_where_zero_is_white(tmp_path: Path, photometric: int, first: int) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(_tiff16(_ramp(np.uint16, 65535), photometric=photometric, samples=1))
    image = read_image(path).image
    assert image[:, 0, 0].tolist() == [first] * 3
    assert image[:, -1, -1].tolist() == [255 - first] * 3


def _png16(values: np.ndarray, colour: int) -> bytes:
    height, width, channels = values.shape
    rows = values.astype(">u2").reshape(height, width * channels)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    )


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_16_bit_png_with_colour_or_alpha(tmp_path: Path, colour: int, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, channels))
    (tmp_path / "a.png").write_bytes(_png16(values, colour))
    image = read_image(tmp_path / "a.png").image.permute(1, 2, 0).numpy().astype(float)
    real = values / 257
    alpha = real[..., -1:] / 255 if channels in (2, 4) else 1.0
    want = real[..., : 3 if channels > 2 else 1] * alpha + 255 * (1 - alpha)
    assert np.abs(image - want).max() < 2.5


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_transparent_parts_are_white_not_what_they_hide(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    if mode in ("RGBA", "LA"):
        hidden = Image.new(mode, (4, 2), (0,) * len(mode))
        hidden.paste(Image.new(mode, (2, 2), (0,) * (len(mode) - 1) + (255,)), (0, 0))
        hidden.save(path)
    else:
        image = Image.new(mode, (4, 2), 0)
        image.putpixel((0, 0), 1 if mode != "RGB" else (1, 1, 1))
        if mode == "P":
            image.putpalette([0, 0, 0, 0, 0, 0] + [9] * 762)
        image.save(path, transparency=(0, 0, 0) if mode == "RGB" else 0)
    image = read_image(path).image
    assert image[:, 1, 3].tolist() == [255, 255, 255]
    assert image[:, 0, 0].max() <= 1


def test_half_transparent_black_is_grey(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").image.unique().tolist() == [127]


@pytest.mark.parametrize(
    ("mode", "colour", "want"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("P", 1, (10, 200, 30)),
        ("RGB", (200, 30, 10), (200, 30, 10)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
    ],
)
def test_colour_models(tmp_path: Path, mode: str, colour: object, want: tuple[int, ...]) -> None:
    image = Image.new(mode, (16, 16), colour)  # type: ignore[arg-type]
    if mode == "P":
        image.putpalette([0, 0, 0, 10, 200, 30])
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.tif")
    image.save(path, quality=100) if mode == "CMYK" else image.save(path)
    got = read_image(path).image[:, 8, 8].tolist()
    assert np.abs(np.subtract(got, want)).max() <= 3


@pytest.mark.parametrize(("suffix", "kind"), [(".gif", "GIF"), (".webp", "WEBP"), (".tif", "TIFF")])
def test_the_first_of_several_pictures(tmp_path: Path, suffix: str, kind: str) -> None:
    pages = [Image.new("RGB", (16, 16), name) for name in ("red", "blue")]
    path = tmp_path / f"a{suffix}"
    pages[0].save(path, format=kind, save_all=True, append_images=pages[1:])
    red, _, blue = read_image(path).image[:, 8, 8].tolist()
    assert red > 240
    assert blue < 16


def test_a_phone_picture_with_a_second_one_inside(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (16, 16), name) for name in ("red", "blue")]
    pages[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=pages[1:])
    assert read_image(tmp_path / "a.jpg").image[0].float().mean() > 240


def _noise(suffix: str, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=suffix, **options)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF"])
def test_pictures_cut_short_are_refused(tmp_path: Path, kind: str, keep: float) -> None:
    data = _noise(kind)
    path = tmp_path / "cut"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(BadImage, match="cut") as caught:
        read_image(path)
    assert caught.value.hint


def test_a_jpeg_without_its_last_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(_noise("JPEG", progressive=False)[:-200])
    with pytest.raises(BadImage, match=r"a\.jpg.*cut short"):
        read_image(tmp_path / "a.jpg")


def test_a_flipped_bit_in_a_png_is_refused(tmp_path: Path) -> None:
    for position in (200, 5000, -30):
        data = bytearray(_noise("PNG", compress_level=0))
        data[position] ^= 1
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(BadImage, match="damaged"):
            read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "file is empty"),
        (b"this is text\n", "not a picture in a known format"),
        (b"<html><body>404</body></html>", "not a picture in a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture in a known format"),
    ],
    ids=["empty", "text", "html", "eps"],
)
def test_other_content_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(BadImage, match=rf"a\.jpg: .*{reason}") as caught:
        read_image(tmp_path / "a.jpg")
    assert caught.value.hint


def test_pipes_devices_and_folders_are_refused_without_opening(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero"), tmp_path, tmp_path / "missing.jpg"):
        with pytest.raises(BadImage):
            read_image(path)


def test_the_header_decides_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = (
        struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + bytes(4))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(BadImage, match=r"bomb\.png: picture of 50000 x 50000 .* 100 million"):
        read_image(tmp_path / "bomb.png")


def test_the_limit_is_ours_not_pillows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", max_pixels=100).size == (10, 10)
    assert Image.MAX_IMAGE_PIXELS == 10
    with pytest.raises(BadImage, match="10 x 10"):
        read_image(tmp_path / "a.png", max_pixels=99)
    with pytest.raises(ValueError, match="max_pixels"):
        read_image(tmp_path / "a.png", max_pixels=0)


def test_a_name_that_is_not_unicode(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", path)
    assert read_image(path).size == (3, 2)


@pytest.mark.parametrize(("name", "tolerance"), [("a.png", 0), ("a.jpg", 6), ("a.JPEG", 6)])
def test_written_pictures_come_back(tmp_path: Path, name: str, tolerance: int) -> None:
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    image[:, :10], image[:, 10:20], image[:, 20:] = (250, 10, 20), (10, 240, 20), (10, 20, 230)
    write_image(tmp_path / name, image)
    back = read_image(tmp_path / name).image.permute(1, 2, 0).numpy().astype(int)
    assert np.abs(back - image).max() <= tolerance
    assert os.listdir(tmp_path) == [name]
    with pytest.raises(OutputError, match="already exists"):
        write_image(tmp_path / name, image)
    write_image(tmp_path / name, image[::-1, ::-1], force=True)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    with pytest.raises(OutputError, match="suffix"):
        write_image(tmp_path / "a.gif", image)
    with pytest.raises(OutputError, match="too large for JPEG"):
        write_image(tmp_path / "a.jpg", np.zeros((1, 66_000, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="expected"):
        write_image(tmp_path / "a.png", image[..., 0])
    with pytest.raises(ValueError, match="float"):
        write_image(tmp_path / "a.png", image.astype(float))  # type: ignore[arg-type]
    Image.new("RGB", (2, 2)).save(tmp_path / "in.png")
    with pytest.raises(OutputError, match="is the input"):
        write_image(tmp_path / "in.png", image, force=True, inputs=[tmp_path / "in.png"])
    assert os.listdir(tmp_path) == ["in.png"]
