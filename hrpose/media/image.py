"""Pictures in and out, by Pillow.

Order of checks: regular file, allowed format, pixel count from the header, and only then decoding.
A picture that is cut short or damaged is refused, never shown with its lower half grey.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hrpose.errors import BadImage, HrposeError, OutputError
from hrpose.media.output import atomic_output
from hrpose.media.source import require_file
from hrpose.options import MAX_PIXELS
from hrpose.types import Frame

# Almost all of Pillow's vulnerabilities were in formats not listed here. Not "MPO": naming it
# makes Pillow raise KeyError for unknown files; such pictures open through JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM")

_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_TIFF_BITS_PER_SAMPLE, _TIFF_PHOTOMETRIC = 258, 262
_WRITERS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_JPEG_MAX_SIDE = 65_500
_pillow_limit = threading.Lock()

Opener = Callable[[], BinaryIO]


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Frame:
    """Reads a picture, upright, as 8-bit RGB.

    The content decides the format, not the suffix. EXIF orientation is applied; transparent parts
    show white; 16 bits become the upper 8; of an animation or a multi-page file it is the first
    picture. Grey pictures of 32 bits or floats have no fixed range: see `_eight_bits`.

    Args:
        path: A local file.
        max_pixels: Refuse a picture whose header says more (width x height). Decoding takes up to
            about 10 bytes per pixel.

    Returns:
        Frame with image (3, H, W) uint8 RGB, index 0, no time, and ``path`` as source.

    Raises:
        BadImage: Missing, empty, no regular file, no picture of a known format, too large,
            damaged or cut short.
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels is {max_pixels}, expected at least 1")
    file = Path(path)
    require_file(file, error=BadImage)
    return _read(lambda: file.open("rb"), os.fspath(path), max_pixels)


def decode_image(
    data: bytes, name: str, *, max_pixels: int = MAX_PIXELS, upright: bool = True
) -> Frame:
    """Decodes a picture in memory, such as a member of a ZIP; otherwise as :func:`read_image`.

    Args:
        data: The file's bytes.
        name: What to call it in messages and in ``Frame.source``.
        max_pixels: As in :func:`read_image`.
        upright: Whether EXIF orientation is applied; labels of COCO are for pixels as stored.

    Raises:
        BadImage: No picture of a known format, too large, damaged or cut short.
    """
    return _read(lambda: io.BytesIO(data), name, max_pixels, upright)


def _read(opener: Opener, name: str, max_pixels: int, upright: bool = True) -> Frame:
    try:
        with warnings.catch_warnings():
            # "Corrupt EXIF data" and the like: the pixels count, and they raise when damaged.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            pixels = _decode(opener, name, max_pixels, upright)
    except HrposeError:
        raise
    except Exception as error:  # Pillow raises six kinds for damage, SyntaxError among them
        raise _explain(name, error) from error
    return Frame(image=torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), source=name)


def _explain(file: str, error: Exception) -> BadImage:
    if isinstance(error, UnidentifiedImageError):
        known = ", ".join(FORMATS)
        return BadImage(
            f"{file}: not a picture in a known format", hint=f"known: {known}; convert it to one"
        )
    if isinstance(error, MemoryError):
        return BadImage(f"{file}: not enough memory for this picture", hint="make it smaller first")
    if isinstance(error, OSError) and error.errno is not None:
        return BadImage(f"{file}: cannot be read: {error.strerror}", hint="check the permissions")
    reason = " ".join(str(error).split()) or type(error).__name__
    return BadImage(
        f"{file}: picture is damaged or cut short ({reason})",
        hint="copy or download the file again",
    )


@contextmanager
def _opened(opener: Opener, file: str, max_pixels: int) -> Iterator[Image.Image]:
    """An opened, not yet decoded picture of at most ``max_pixels``."""
    with opener() as stream:
        with _own_pixel_limit():
            image = Image.open(stream, formats=FORMATS)
        with image:
            width, height = image.size
            if width * height > max_pixels:
                raise BadImage(
                    f"{file}: picture of {width} x {height} pixels exceeds the limit of"
                    f" {max_pixels / 1e6:g} million",
                    hint="make it smaller, or raise the limit if you trust the file",
                )
            yield image


@contextmanager
def _own_pixel_limit() -> Iterator[None]:
    # Pillow's limit is global, warns from 89.5 MP on and cannot be raised per call. The header
    # has just been read and nothing decoded when ours takes over, so it is lifted for that moment.
    with _pillow_limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _decode(opener: Opener, file: str, max_pixels: int, upright: bool) -> NDArray[np.uint8]:
    """Returns (H, W, 3) RGB, writable."""
    with _opened(opener, file, max_pixels) as image:
        if image.format == "PNG":
            image.verify()  # loading skips the checksums of the pixel data; verify ends the image
    with _opened(opener, file, max_pixels) as image:
        image.load()
        turned = ImageOps.exif_transpose(image) if upright else image
        if turned.mode in _DEEP_MODES:
            grey = _eight_bits(turned, _sample_bits(image), inverted=_white_is_zero(image))
            return np.repeat(grey[:, :, None], 3, axis=2)
        return np.array(_flat_rgb(turned))


def _flat_rgb(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layers = image.convert("RGBA")
    flat = Image.new("RGB", image.size, "white")
    flat.paste(layers, mask=layers)
    return flat


def _sample_bits(image: Image.Image) -> int:
    """Bits per sample of a deep grey picture; 0 where the file leaves the range open."""
    if image.mode.startswith("I;16"):
        tags = getattr(image, "tag_v2", {})
        return int(tags.get(_TIFF_BITS_PER_SAMPLE, (16,))[0])
    return 16 if image.format == "PNG" else 0


def _white_is_zero(image: Image.Image) -> bool:
    # Pillow turns such pictures right for 8 bits, not for 16.
    return (
        image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == 0
    )


def _eight_bits(image: Image.Image, bits: int, *, inverted: bool) -> NDArray[np.uint8]:
    """Returns (H, W) grey values of a picture of more than 8 bits.

    Of ``bits`` known bits the upper eight are taken. Otherwise the largest value tells the scale:
    up to 1 is 0-1, up to 255 is 8 bits, up to 65535 is 16 bits, beyond that it becomes white.
    Negative and non-finite values are black.
    """
    values = np.asarray(image)
    if bits:
        grey = (np.clip(values, 0, 2**bits - 1) >> max(bits - 8, 0)).astype(np.uint8)
        return 255 - grey if inverted else grey
    real = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)
    top = float(real.max())
    if top <= 1 and image.mode == "F":
        scaled = np.rint(real * 255)
    elif top <= 255:
        scaled = np.rint(real)
    else:
        scaled = real / (256 if top <= 65535 else top / 255)
    return np.asarray(scaled, dtype=np.uint8)


def write_image(
    path: Path, image: NDArray[np.uint8], *, force: bool = False, inputs: Sequence[Path] = ()
) -> None:
    """Writes a picture as JPEG or PNG, by the suffix; the file appears whole or not at all.

    Args:
        path: Ends in .jpg, .jpeg or .png.
        image: (H, W, 3) uint8 RGB.
        force: Replace an existing file.
        inputs: Files that must not be overwritten.

    Raises:
        OutputError: Another suffix, or the file cannot be written.
    """
    path = Path(path)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image is {image.shape} {image.dtype}, expected (H, W, 3) uint8 RGB")
    kind = _WRITERS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(f"{path}: unknown picture suffix", hint="use .jpg or .png")
    if kind == "JPEG" and max(image.shape) > _JPEG_MAX_SIDE:
        raise OutputError(f"{path}: too large for JPEG", hint="use .png")
    # 4:4:4, because half-size chroma smears the thin coloured lines of a drawing.
    options = {"quality": 92, "subsampling": 0} if kind == "JPEG" else {}
    with atomic_output(path, force=force, inputs=inputs) as temporary:
        Image.fromarray(np.ascontiguousarray(image)).save(temporary, format=kind, **options)
