"""Makes ``skeletons.jpg``, the picture of the README: the photographs with what hrpose drew.

Run ``python .readme/make_skeletons.py`` in the repository, after ``pip install -e .``.
"""

from pathlib import Path

import cv2
import numpy as np

import hrpose
from hrpose.media import write_image

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent / "samples"
PHOTOS = ("astronaut.jpg", "grace_hopper.jpg", "photographer.png")
HEIGHT = 480  # px


def main() -> None:
    """Draws the photographs and puts them side by side."""
    pose = hrpose.load()
    panels = []
    for name in PHOTOS:
        frame = hrpose.read_image(SAMPLES / name)
        drawn = hrpose.draw(frame, pose(frame))
        width = round(frame.size.width * HEIGHT / frame.size.height)
        panels.append(cv2.resize(drawn, (width, HEIGHT), interpolation=cv2.INTER_AREA))
    write_image(HERE / "skeletons.jpg", np.concatenate(panels, axis=1), force=True)


if __name__ == "__main__":
    main()
