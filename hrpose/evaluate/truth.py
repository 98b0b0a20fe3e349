"""What an evaluation on COCO is given: labelled pictures, and boxes from a file."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hrpose import geometry
from hrpose.errors import BadAnnotation, HrposeError, InputError
from hrpose.evaluate.protocol import OFFICIAL, Protocol
from hrpose.formats.coco import PERSON, read_detections
from hrpose.media.ahead import read_ahead
from hrpose.media.store import Pictures
from hrpose.run import Unreadable
from hrpose.skeleton import COCO17
from hrpose.types import Detections, Frame, Size

if TYPE_CHECKING:
    from pycocotools.coco import COCO

AHEAD = 8  # decoded pictures that wait for the networks

_NOBODY = Detections(torch.zeros(0, 4), torch.zeros(0))


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a ground-truth file.

    Attributes:
        id: Its ``image_id``.
        name: File name.
        shard: Name of the ZIP that holds it, or "".
        size: Width and height that the file states.
        complete: Whether every person in it is labelled (``gt_complete``; COCO's own files say
            nothing, and are).
    """

    id: int
    name: str
    shard: str
    size: Size
    complete: bool


class GroundTruth:
    """A COCO ``person_keypoints`` file with its pictures.

    Args:
        annotations: The JSON file.
        images: Folders and ZIP files of the pictures; to score results of a file none is needed.
        protocol: Says whether EXIF counts, and what becomes of the boxes.

    Attributes:
        coco: The file as pycocotools holds it; where ids of annotations are 0, missing or
            repeated, all are numbered anew from 1.
        pictures: All pictures, in the order of the file.
        unreadable: Pictures that the latest run of :meth:`frames` has left out so far.

    Raises:
        InputError: The file or a folder is missing.
        BadAnnotation: The file is not in COCO's form; names the entry.
        HrposeError: pycocotools is not installed.
    """

    def __init__(
        self, annotations: Path, images: Sequence[Path] = (), *, protocol: Protocol = OFFICIAL
    ) -> None:
        self._file, self._protocol = annotations, protocol
        self._store = (
            Pictures(images, cache_bytes=0, upright=protocol.apply_exif) if images else None
        )
        self.coco = _load(annotations)
        self.pictures = [
            Picture(
                entry["id"],
                entry["file_name"],
                entry.get("shard", ""),
                Size(entry["width"], entry["height"]),
                entry.get("gt_complete", True),
            )
            for entry in self.coco.dataset["images"]
        ]
        self.unreadable: list[Unreadable] = []

    @property
    def ids(self) -> list[int]:
        """Picture ids by ``Frame.index``."""
        return [picture.id for picture in self.pictures]

    @property
    def complete(self) -> list[int] | None:
        """Ids of the pictures whose people are all labelled; None if that is all of them."""
        ids = [picture.id for picture in self.pictures if picture.complete]
        return ids if len(ids) < len(self.pictures) else None

    def require_keypoints(self) -> None:
        """Checks that OKS can be computed.

        Raises:
            BadAnnotation: Somebody has other keypoints than COCO's 17, or nobody has any.
        """
        people = [a for a in self.coco.dataset["annotations"] if a["category_id"] == PERSON]
        other = next((a for a in people if len(a["keypoints"]) != 3 * len(COCO17)), None)
        if other is not None:
            raise BadAnnotation(
                f"{self._file}: annotation {other['id']} has {len(other['keypoints']) // 3}"
                f" keypoints, and COCO's OKS is defined for {len(COCO17)}",
                hint="--task boxes measures boxes alone",
            )
        if not any(a["num_keypoints"] for a in people):
            raise BadAnnotation(
                f"{self._file}: nobody in it has labelled keypoints",
                hint="take person_keypoints_*.json, not instances_*.json; or --task boxes",
            )

    def frames(self) -> Iterator[Frame]:
        """Yields the pictures as frames whose index is the position in ``pictures``.

        One that cannot be read is left out and goes to ``unreadable``; its people count as missed.

        Raises:
            InputError: Not one could be read.
        """
        self.unreadable = []
        for reading in read_ahead(range(len(self.pictures)), self._reading, ahead=AHEAD):
            if isinstance(reading, Unreadable):
                self.unreadable.append(reading)
            else:
                yield reading
        if len(self.unreadable) == len(self.pictures):
            raise self.unreadable[0].error

    def _reading(self, index: int) -> Frame | Unreadable:
        try:
            return self.frame(index)
        except InputError as error:
            return Unreadable(self.pictures[index].name, error)

    def frame(self, index: int) -> Frame:
        """Reads one picture; ``index`` is its position in ``pictures``.

        Raises:
            InputError: It is not there, is damaged, or has another size than its labels say.
        """
        picture = self.pictures[index]
        if self._store is None:
            raise InputError(f"{picture.name}: not found", hint="name the pictures by --images")
        image = self._store.read(picture.name, shard=picture.shard)
        if image.shape[1:] != (picture.size.height, picture.size.width):
            raise InputError(
                f"{picture.name}: is {image.shape[2]}x{image.shape[1]}, its labels are for"
                f" {picture.size.width}x{picture.size.height}",
                hint="--images and --data do not belong together, or the labels want --exif",
            )
        return Frame(image, index=index, source=picture.name)

    def boxes(self, frames: Sequence[Frame]) -> list[Detections]:
        """A detector that knows the truth: the boxes of labelled people, score 1.

        Crowds and people without a labelled keypoint or without area are left out; the boxes are
        cleaned as the protocol says.
        """
        return [self._boxes(self.pictures[frame.index]) for frame in frames]

    def _boxes(self, picture: Picture) -> Detections:
        cleaned = (
            _cleaned(entry["bbox"], picture.size, self._protocol.truth_boxes)
            for entry in self.coco.imgToAnns.get(picture.id, ())
            if entry["category_id"] == PERSON and not entry["iscrowd"] and entry["area"] > 0
            if any(entry["keypoints"][2::3])
        )
        rows = [(x1, y1, x2, y2) for x1, y1, x2, y2 in cleaned if x2 >= x1 and y2 >= y1]
        return Detections(torch.tensor(rows).view(-1, 4).float(), torch.ones(len(rows)))


class FileBoxes:
    """People from a COCO file of detections, found by the ids of the ground truth's pictures.

    A picture that the file does not list has no people: result lists leave out such pictures.

    Args:
        path: The JSON file; of its boxes those of category 1 count.
        truth: Whose pictures these are.
        protocol: Says which scores suffice and whether boxes are cut to the picture.

    Raises:
        InputError: The file cannot be read.
        BadAnnotation: It has another form, or not one box of these pictures.
    """

    def __init__(self, path: Path, truth: GroundTruth, *, protocol: Protocol = OFFICIAL) -> None:
        self._pictures, self._protocol = truth.pictures, protocol
        self._found = read_detections(path)
        if self._found.keys().isdisjoint(truth.ids):
            raise BadAnnotation(
                f"{path}: not one box of a picture of the data",
                hint="its image_id must be the ids of the pictures in --data",
            )

    def __call__(self, frames: Sequence[Frame]) -> list[Detections]:
        """The boxes of each frame, best first."""
        return [self._of(self._pictures[frame.index]) for frame in frames]

    def _of(self, picture: Picture) -> Detections:
        found = self._found.get(picture.id, _NOBODY)
        sure = found.scores >= self._protocol.box_threshold
        clipped = self._protocol.clip_detections
        boxes = geometry.clip(found.boxes, picture.size) if clipped else found.boxes
        return Detections(boxes[sure], found.scores[sure])


def _cleaned(bbox: Sequence[float], size: Size, how: str) -> tuple[float, float, float, float]:
    """A ground-truth box as xyxy, its ends before its starts if nothing is left of it."""
    x, y, w, h = bbox
    right, bottom = size.width - 1, size.height - 1
    if how == "raw":
        return x, y, x + w, y + h
    x1, y1 = max(0.0, x), max(0.0, y)
    if how == "clipped":
        return x1, y1, min(right, x + w), min(bottom, y + h)
    # coco.py:162-182: a box that starts outside moves in before it is cut, with its whole width
    return x1, y1, min(right, x1 + max(0, w - 1)), min(bottom, y1 + max(0, h - 1))


def _load(path: Path) -> COCO:
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise HrposeError(
            "pycocotools is not installed", hint="pip install 'hrpose[eval]'"
        ) from error
    coco = COCO()
    try:
        document = json.loads(path.read_bytes())
        _check(document)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="check --data") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadAnnotation(
            f"{path}: not a COCO keypoint file: {reason}",
            hint="it needs the lists 'images', 'annotations' and 'categories'",
        ) from error
    coco.dataset = document
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _check(document: dict[str, Any]) -> None:
    """Refuses what pycocotools would trip over later, and fills in what it takes for granted."""
    if not document["images"]:
        raise ValueError("it lists no pictures")
    document.setdefault("categories", [{"id": PERSON, "name": "person"}])
    _each(document["images"], "images", _check_picture)
    known = {entry["id"] for entry in document["images"]}
    if len(known) < len(document["images"]):
        raise ValueError("two pictures have one id")
    people = document["annotations"]
    _each(people, "annotations", lambda entry: _check_person(entry, known))
    ids = {entry.get("id") or 0 for entry in people}
    if 0 in ids or len(ids) < len(people):  # pycocotools takes 0 for "no match"
        for i, entry in enumerate(people, start=1):
            entry["id"] = i


def _each(entries: list[dict[str, Any]], name: str, check: Any) -> None:
    for i, entry in enumerate(entries):
        try:
            check(entry)
        except KeyError as error:
            raise ValueError(f"{error} is missing - at $.{name}[{i}]") from error
        except (ValueError, TypeError) as error:
            raise ValueError(f"{error} - at $.{name}[{i}]") from error


def _check_picture(entry: dict[str, Any]) -> None:
    for field, kind in (("id", int), ("file_name", str), ("width", int), ("height", int)):
        if not isinstance(entry[field], kind):
            raise TypeError(f"{field} is {entry[field]!r}, expected {kind.__name__}")


def _check_person(entry: dict[str, Any], known: set[int]) -> None:
    if entry["image_id"] not in known:
        raise ValueError(f"image {entry['image_id']!r} is not listed")
    numbers = [*entry["bbox"], entry["area"]]
    if len(numbers) != 5 or not all(isinstance(n, int | float) for n in numbers):
        raise ValueError("bbox and area are not four numbers and one")
    points = entry.setdefault("keypoints", [0] * 3 * len(COCO17))
    if len(points) % 3:
        raise ValueError(f"keypoints are {len(points)} numbers, expected triples")
    entry.setdefault("num_keypoints", sum(v > 0 for v in points[2::3]))
    entry.setdefault("iscrowd", 0)
    entry["category_id"]
