"""Makes ``failures.jpg``, the picture of the model cards: photographs that the models get wrong.

Run ``python .readme/make_failures.py`` in the repository, after ``pip install -e .``.
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

import hrpose
from hrpose.media import write_image

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent / "samples"
HEIGHT = 360  # px


def main() -> None:
    """An upside-down person, one of 70 px, and the samples' own failures, side by side."""
    pose = hrpose.load()
    hopper, astronaut, photographer = (
        hrpose.read_image(SAMPLES / name)
        for name in ("grace_hopper.jpg", "astronaut.jpg", "photographer.png")
    )
    small = torch.from_numpy(
        cv2.resize(
            photographer.image.permute(1, 2, 0).numpy(), (104, 104), interpolation=cv2.INTER_AREA
        )
    ).permute(2, 0, 1)
    frames = (
        replace(hopper, image=hopper.image.flip(1, 2).contiguous()),
        replace(photographer, image=small.contiguous()),
        astronaut,
        photographer,
    )
    panels = []
    for frame in frames:
        drawn = hrpose.draw(frame, pose(frame), hrpose.Style(overlay=("skeleton", "boxes")))
        width = round(frame.size.width * HEIGHT / frame.size.height)
        panels.append(cv2.resize(drawn, (width, HEIGHT), interpolation=cv2.INTER_AREA))
    write_image(HERE / "failures.jpg", np.concatenate(panels, axis=1), force=True)


if __name__ == "__main__":
    main()
