"""Models that a user has trained: files that say themselves which network they are for.

The trainer writes JSON values into the header of its safetensors files: ``model``, the row of the
zoo that gave the network, and what the run had of its own: ``input``, ``codec`` and ``skeleton``.
A skeleton has the same form there and in the files of ``hrpose train pose --skeleton``::

    {"name": "star", "keypoints": ["top", "left", "right"], "edges": [["top", "left"], [0, 2]],
     "mirror": [["left", "right"]], "upper_body": ["top"], "sigmas": [0.1, 0.1, 0.1]}

All but ``keypoints`` may be left out; without ``mirror`` the names tell left from right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import safetensors

from hrpose.crop import CropSpec
from hrpose.errors import HrposeError, WeightsError
from hrpose.skeleton import SKELETONS, Skeleton
from hrpose.types import Codec, Size
from hrpose.zoo.specs import SPECS, ModelSpec, find_spec

_FIELDS = ("name", "keypoints", "edges", "mirror", "sigmas", "upper_body")
_SIDES = re.compile(r"left|right|(?<![a-z])[lr](?![a-z])", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}


def description(crop: CropSpec, codec: Codec, skeleton: Skeleton) -> dict[str, object]:
    """What a file of weights needs to say beside its ``model``, as JSON values by name."""
    return {
        "input": list(crop.size),
        "codec": asdict(codec),
        "skeleton": skeleton_document(skeleton),
    }


def find_model(name: str) -> tuple[ModelSpec, Path | None]:
    """A row of the zoo by its name, or what a file of the user's says of itself.

    Args:
        name: ``arch.tag``, ``arch``, or the path of a file that ``hrpose train`` has written;
            a row goes before a file of its name.

    Returns:
        The model, and the file if it is one.

    Raises:
        UsageError: Neither a row nor a file.
        WeightsError: A file that does not say what it is.
    """
    path = Path(name)
    if name in SPECS or not path.is_file():
        return find_spec(name), None
    return spec_of(path), path


def spec_of(path: Path) -> ModelSpec:
    """What a file says of itself, as a row that is named like the file.

    Raises:
        WeightsError: It says nothing, or nothing that can be understood.
    """
    about = read_header(path)
    if "model" not in about:
        raise WeightsError(
            f"{path} does not say which model it is for",
            hint=f"import it by 'hrpose models add {path} --as NAME'",
        )
    try:
        spec = find_spec(about["model"])
        if spec.crop is not None and spec.codec is not None:
            spec = replace(
                spec,
                crop=replace(spec.crop, size=_size(about.get("input", spec.crop.size))),
                codec=Codec(**about["codec"]) if "codec" in about else spec.codec,
                skeleton=skeleton_from(about["skeleton"]) if "skeleton" in about else spec.skeleton,
            )
    except (HrposeError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} says of itself what this hrpose does not understand: {error}",
            hint="another version of hrpose may have written it",
        ) from error
    name = str(path).encode(errors="replace").decode()  # result files hold it as UTF-8
    return replace(
        spec, name=name, file=path.name, licence="the user's own", source=name,
        metric=None, url=None, sha256=None, sha256_prefix=None, megabytes=0, embedded=False,
    )  # fmt: skip


def read_header(path: Path) -> dict[str, Any]:
    """The JSON values in the header of a safetensors file; nothing for any other file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
    except (safetensors.SafetensorError, OSError):
        return {}
    about = {}
    for name, text in texts.items():
        try:
            about[name] = json.loads(text)
        except ValueError:  # other programs write plain text
            about[name] = text
    return about


def _size(values: Sequence[int]) -> Size:
    width, height = values
    return Size(int(width), int(height))


def skeleton_document(skeleton: Skeleton) -> dict[str, object]:
    """A skeleton as JSON values; :func:`skeleton_from` reads them."""
    pairs = [[i, k] for i, k in enumerate(skeleton.mirror) if i < k]
    return {**asdict(skeleton), "mirror": pairs}


def skeleton_from(document: object) -> Skeleton:
    """A skeleton from JSON values.

    Args:
        document: An object as in the module's docstring; keypoints are named, or counted from 0.

    Returns:
        The known skeleton if it is one of :data:`hrpose.skeleton.SKELETONS`, else a new one.

    Raises:
        ValueError: It is not such an object; says what is wrong.
    """
    if not isinstance(document, Mapping) or "keypoints" not in document:
        raise ValueError("a skeleton is an object with 'keypoints'")
    if unknown := sorted(document.keys() - set(_FIELDS)):
        raise ValueError(f"a skeleton has no {unknown[0]!r}, only {', '.join(_FIELDS)}")
    names = document["keypoints"]
    if not _all(names, str) or not names:
        raise ValueError("keypoints is no list of names")

    def indices(items: object, field: str, count: int | None = None) -> tuple[int, ...]:
        if not isinstance(items, Sequence) or isinstance(items, str):
            raise ValueError(f"{field}: {items!r} is no list")
        if count is not None and len(items) != count:
            raise ValueError(f"{field}: {items!r} does not name {count} keypoints")
        return tuple(_index(item, names, field) for item in items)

    edges = [indices(edge, "edges", 2) for edge in _list(document, "edges")]
    mirror = mirror_by_name(names)
    if document.get("mirror") is not None:
        pairs = [indices(pair, "mirror", 2) for pair in _list(document, "mirror")]
        swap = {pair[i]: pair[1 - i] for pair in pairs for i in (0, 1)}
        mirror = tuple(swap.get(i, i) for i in range(len(names)))
    sigmas = _list(document, "sigmas")
    if not _all(sigmas, int | float):
        raise ValueError("sigmas is no list of numbers")
    made = Skeleton(
        name=str(document.get("name") or "custom"),
        keypoints=tuple(names),
        edges=tuple((edge[0], edge[1]) for edge in edges),
        mirror=mirror,
        sigmas=tuple(map(float, sigmas)),
        upper_body=indices(_list(document, "upper_body"), "upper_body"),
    )
    return SKELETONS[made.name] if SKELETONS.get(made.name) == made else made


def mirror_by_name(names: Iterable[str]) -> tuple[int, ...]:
    """The permutation that swaps names which differ in left and right, or l and r, only.

    >>> mirror_by_name(["nose", "left_eye", "right_eye", "L_ear", "R_ear", "left_tail"])
    (0, 2, 1, 4, 3, 5)
    """
    index = {name: i for i, name in enumerate(names)}
    twins = {name: _SIDES.sub(_swap, name) for name in index}
    # `lEFT` has the twin `right`, which has another
    mutual = (twins.get(twin) == name for name, twin in twins.items())
    pairs = zip(index, twins.values(), mutual, strict=True)
    return tuple(index[twin if paired else name] for name, twin, paired in pairs)


def _swap(found: re.Match[str]) -> str:
    side = found.group()
    other = _OTHER[side.lower()]
    return other.upper() if side.isupper() else other.title() if side.istitle() else other


def _list(document: Mapping[str, Any], field: str) -> Sequence[Any]:
    items = document.get(field) or []
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise ValueError(f"{field} is no list")
    return items


def _all(items: object, kind: Any) -> bool:
    return (
        isinstance(items, Sequence)
        and not isinstance(items, str)
        and all(isinstance(item, kind) and not isinstance(item, bool) for item in items)
    )


def _index(item: object, names: Sequence[str], field: str) -> int:
    if isinstance(item, str) and item in names:
        return names.index(item)
    if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < len(names):
        return item
    raise ValueError(f"{field}: {item!r} is none of the {len(names)} keypoints")
