"""What to fix first, as files: a page to read, numbers to process, a sheet of the worst cases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from hrpose.errors import InputError, OutputError
from hrpose.evaluate import chart
from hrpose.evaluate.chart import Html
from hrpose.evaluate.errors import KINDS, Case, Diagnosis
from hrpose.evaluate.sheet import Tile, draw_sheet
from hrpose.evaluate.summary import (
    BANDS,
    FIXES,
    Breakdown,
    diagnose_all,
    summarise,
    worst_cases,
)
from hrpose.evaluate.truth import GroundTruth
from hrpose.media.image import write_image
from hrpose.media.output import atomic_output, check_output
from hrpose.types import Frame, Poses

PAGE, NUMBERS, SHEET = "breakdown.html", "breakdown.json", "worst.jpg"


def check_folder(folder: Path, *, force: bool) -> None:
    """Makes the folder, and refuses what cannot be written there before any work is done.

    Raises:
        OutputError: A file exists (without ``force``), or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be made: {error.strerror}", hint="choose another folder"
        ) from error
    for name in (PAGE, NUMBERS, SHEET):
        check_output(folder / name, force=force)


def write_breakdown(
    truth: GroundTruth,
    results: Sequence[tuple[Frame, Poses]],
    folder: Path,
    *,
    force: bool = False,
    pictures: Sequence[int] | None = None,
    about: str = "",
) -> Breakdown:
    """Finds what went wrong and writes ``breakdown.html``, ``breakdown.json`` and ``worst.jpg``.

    Args:
        truth: The ground truth; pictures of the worst cases are read again, one at a time. One
            that cannot be read has a grey tile.
        results: Every picture's poses, once; ``Frame.index`` says which picture. Frames need no
            pixels.
        folder: Where to; made if it is not there.
        force: Replace existing files.
        pictures: Ids of the pictures that count; None is all. Where not all people of a picture
            are labelled, people found beside them count as false alarms.
        about: What was evaluated, in a line.

    Raises:
        ValueError: A picture comes twice, or its skeleton has no OKS sigmas.
        OutputError: A file exists (without ``force``) or cannot be written.
    """
    check_folder(folder, force=force)
    diagnoses = diagnose_all(truth, results, pictures=pictures)
    worst = worst_cases(diagnoses)
    breakdown = summarise(truth, diagnoses, worst, pictures=pictures)
    tiles = (_tile(truth, number, *row) for number, row in enumerate(worst, 1))
    write_image(folder / SHEET, draw_sheet(tiles), force=force)
    numbers = json.dumps(asdict(breakdown), indent=2, allow_nan=False) + "\n"
    for name, text in ((NUMBERS, numbers), (PAGE, _page(breakdown, about))):
        with atomic_output(folder / name, force=force) as part:
            part.write_text(text, encoding="utf-8")
    return breakdown


def _tile(truth: GroundTruth, number: int, diagnosis: Diagnosis, case: Case) -> Tile:
    title = f"{number}  {truth.pictures[diagnosis.picture].name}"
    try:
        return Tile(title, truth.frame(diagnosis.picture), diagnosis, case)
    except InputError:  # an evaluation has named it; or results of a file, without pictures
        return Tile(title, None, diagnosis, case)


def _page(breakdown: Breakdown, about: str) -> str:
    parts = [
        chart.paragraph(about, soft=True),
        chart.paragraph(_counts(breakdown)),
        chart.table(list(breakdown.metrics), [[float(v) for v in breakdown.metrics.values()]]),
        *_gains(breakdown),
        *_joints(breakdown),
        *_groups(breakdown),
        *_worst(breakdown),
        *_method(),
    ]
    return chart.page("Keypoint errors", parts)


def _counts(breakdown: Breakdown) -> str:
    counts = breakdown.outcomes
    people = counts["matched"] + counts["lost"] + counts["missed"]
    return (
        f"{breakdown.pictures} pictures, {people} labelled people: {counts['matched']} matched, "
        f"{counts['lost']} lost (right box, unusable pose), {counts['missed']} missed. Poses that "
        f"are nobody's: false alarms {counts['false alarm']}, duplicates {counts['duplicate']}."
    )


def _gains(breakdown: Breakdown) -> list[Html]:
    full = max(gain.gain for gain in breakdown.gains)
    several = ("keypoints", "everything")
    ordered = [g for g in breakdown.gains if g.name not in several]
    ordered.sort(key=lambda g: -g.gain)
    ordered += [g for g in breakdown.gains if g.name in several]
    rows = [
        [FIXES[g.name][1], g.ap, g.ap50, g.ap75, g.gain, chart.bar(g.gain, full)] for g in ordered
    ]
    return [
        chart.heading("What to fix first"),
        chart.paragraph("AP if one kind of error alone were put right, the rest left as it is."),
        chart.table(["put right", "AP", "AP50", "AP75", "gain", "gain in AP points"], rows),
    ]


_SHARES = [f"{kind} %" for kind in KINDS]


def _percents(shares: dict[str, float]) -> list[float]:
    return [100 * shares[kind] for kind in KINDS]


def _joints(breakdown: Breakdown) -> list[Html]:
    total = sum(joint.labelled for joint in breakdown.joints)
    lost = sum(joint.oks_lost for joint in breakdown.joints)
    rows: list[list[object]] = [
        [
            joint.name.replace("_", " "),
            joint.labelled,
            chart.stacked(joint.shares),
            *_percents(joint.shares),
            100 * joint.mirrored,
            100 * joint.median,
            joint.oks_lost,
        ]
        for joint in breakdown.joints
    ]
    all_of_them = chart.stacked(breakdown.shares)
    mirrored = sum(joint.mirrored * joint.labelled for joint in breakdown.joints) / max(total, 1)
    numbers = [*_percents(breakdown.shares), 100 * mirrored]
    rows.append(["all", total, all_of_them, *numbers, None, lost])
    titles = ["keypoint", "labelled", "", *_SHARES, "left/right %", "median error", "OKS lost"]
    return [
        chart.heading("By keypoint"),
        chart.kinds_key(),
        chart.table(titles, rows),
        chart.paragraph(
            "Over matched people. Left/right: the part of inversion that is at the partner on the "
            "other side. Median error: percent of the root of the person's area. OKS lost: points "
            "of the mean OKS, in percent, that this keypoint costs.",
            soft=True,
        ),
    ]


_GROUP_TITLES = {
    "size": "By size: root of the person's area, px",
    "labelled": "By number of labelled keypoints",
    "crowding": "By crowding: greatest IoU of the box with another person's",
}


def _groups(breakdown: Breakdown) -> list[Html]:
    titles = ["", "people", "matched %", "mean OKS", "OKS 0.5 %", "OKS 0.75 %", "", *_SHARES]
    parts = []
    for by, lows in BANDS.items():
        ends = [f"to {high:g}" for high in lows[1:]]
        rows = [
            [
                f"{group.low:g} {end}",
                group.people,
                100 * group.matched,
                100 * group.oks,
                100 * group.recall50,
                100 * group.recall75,
                chart.stacked(group.shares),
                *_percents(group.shares),
            ]
            for group, end in zip(
                (group for group in breakdown.groups if group.by == by),
                [*ends, "and more"],
                strict=True,
            )
        ]
        parts += [chart.heading(_GROUP_TITLES[by]), chart.table(titles, rows)]
    note = (
        "An upper limit belongs to the next row. Missed people count with OKS 0; OKS 0.5 % is the "
        "share of people with at least that OKS."
    )
    return [*parts, chart.paragraph(note, soft=True)]


def _worst(breakdown: Breakdown) -> list[Html]:
    rows = [
        [
            number,
            worst.picture,
            worst.outcome,
            100 * worst.oks,
            100 * worst.score,
            "; ".join(f"{kind}: {_names(joints)}" for kind, joints in worst.errors.items()),
        ]
        for number, worst in enumerate(breakdown.worst, 1)
    ]
    titles = ["", "picture", "outcome", "OKS %", "score %", "keypoints"]
    return [
        chart.heading("Worst cases"),
        chart.link(SHEET, f"Contact sheet: {SHEET}"),
        chart.table(titles, rows),
    ]


def _names(joints: Sequence[str]) -> str:
    return ", ".join(joint.replace("_", " ") for joint in joints)


def _method() -> list[Html]:
    return [
        chart.heading("How it was counted"),
        chart.paragraph(
            "Ronchi and Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose "
            "Estimation, ICCV 2017. A keypoint's similarity to a label is exp(-d² / (2 s² k²)), "
            "s² the person's area, k twice the COCO sigma. Good: at least 0.85 to its own label; "
            "jitter: 0.5 to 0.85; inversion: below, but 0.5 to another keypoint of the same "
            "person; swap: 0.5 to a keypoint of another person; miss: near no label. Poses are "
            "matched with people by falling score from an OKS of 0.1 on. Lost people (a pose "
            "left over whose box overlaps that of a person left over by half) are not of the "
            "paper.",
            soft=True,
        ),
    ]
