"""Which colour means what."""

from __future__ import annotations

Colour = tuple[int, int, int]

# Blue and orange differ in hue and in lightness for every common colour blindness.
LIMB: dict[str, Colour] = {
    "left": (41, 162, 255),
    "right": (255, 133, 27),
    "middle": (236, 236, 228),
}
JOINT: dict[str, Colour] = {
    "left": (168, 220, 255),
    "right": (255, 208, 158),
    "middle": (255, 255, 255),
}
DARK: Colour = (18, 20, 26)
PAPER: Colour = (255, 255, 255)

# Okabe and Ito 2008, "Color universal design", without black; the first ones are least like limbs.
PEOPLE: tuple[Colour, ...] = (
    (240, 228, 66),
    (204, 121, 167),
    (0, 158, 115),
    (213, 94, 0),
    (86, 180, 233),
    (230, 159, 0),
    (0, 114, 178),
)


def of_person(track_id: int) -> Colour:
    """The colour of a person in every frame: that of the id, white without one."""
    return PEOPLE[track_id % len(PEOPLE)] if track_id >= 0 else PAPER


def ink_on(colour: Colour) -> Colour:
    """Dark or white, whichever is read better on a colour."""
    red, green, blue = colour
    return DARK if 0.3 * red + 0.59 * green + 0.11 * blue > 110 else PAPER
