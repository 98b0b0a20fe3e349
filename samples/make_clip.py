"""Makes `clip.mp4`: a slow camera move over the photographs of this folder, with a quiet tone.

    python samples/make_clip.py

The result depends on nothing but the pictures and the versions of PyAV and Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

FOLDER = Path(__file__).resolve().parent
SIDE = 480  # of the square clip, pixels
RATE = 25  # frames per second
SHOT = 25  # frames per photograph
AUDIO_RATE = 44_100  # samples per second

# One camera move per photograph: the square (left, top, side) in its pixels, first and last.
MOVES = {
    "astronaut.jpg": ((0.0, 0.0, 512.0), (40.0, 10.0, 400.0)),
    "photographer.png": ((72.0, 40.0, 420.0), (0.0, 0.0, 512.0)),
    "grace_hopper.jpg": ((0.0, 40.0, 512.0), (50.0, 20.0, 430.0)),
}


def pictures() -> Iterator[Image.Image]:
    """Yields the frames, square RGB pictures, in display order."""
    for name, (first, last) in MOVES.items():
        photograph = Image.open(FOLDER / name).convert("RGB")
        for step in range(SHOT):
            part = step / (SHOT - 1)
            part = part * part * (3 - 2 * part)  # starts and stops gently
            left, top, side = (a + (b - a) * part for a, b in zip(first, last, strict=True))
            box = (left, top, left + side, top + side)
            yield photograph.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)


def tone(samples: int) -> NDArray[np.float32]:
    """Returns a (1, samples) tone of 440 Hz that swells once per photograph."""
    time = np.arange(samples) / AUDIO_RATE
    swell = np.sin(np.pi * time * RATE / SHOT) ** 2
    return (0.1 * swell * np.sin(2 * np.pi * 440 * time)).astype(np.float32)[None]


def main() -> None:
    with av.open(str(FOLDER / "clip.mp4"), "w", options={"movflags": "faststart"}) as clip:
        video = clip.add_stream("libx264", rate=RATE)
        video.width = video.height = SIDE
        video.pix_fmt = "yuv420p"
        # one thread: x264's result depends on their number
        video.options = {"crf": "25", "preset": "slow", "threads": "1"}
        audio = clip.add_stream("aac", rate=AUDIO_RATE, layout="mono")
        for index, picture in enumerate(pictures()):
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            clip.mux(video.encode(frame))
        sound = tone(len(MOVES) * SHOT * AUDIO_RATE // RATE)
        waves = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
        waves.sample_rate, waves.pts = AUDIO_RATE, 0
        clip.mux(audio.encode(waves))
        clip.mux(video.encode(None))
        clip.mux(audio.encode(None))


if __name__ == "__main__":
    main()
