"""The native JSON: exact there and back, strict, streaming, described by its schema."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import io
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hrpose.errors import BadAnnotation
from hrpose.formats import native
from hrpose.formats.jsonl import JsonlWriter, iter_jsonl
from hrpose.formats.native import NativeWriter, iter_native, poses_of, read_native, schema
from hrpose.formats.pictures import shortest
from hrpose.formats.record import (
    Failure,
    Header,
    ModelRecord,
    Picture,
    VideoRecord,
    skeleton_of,
    source_of,
)
from hrpose.skeleton import COCO17, MPII16, Skeleton
from hrpose.types import Heatmaps, Poses, Size

MODEL = ModelRecord("pose", "hrnet_small.tag", "0f" * 32)
SETTINGS = {"detector": "none", "flip_test": True, "min_score": 0.3, "frame_batch": 4}
TINY = Skeleton("tiny", ("left_end", "right_end"), ((0, 1),), (1, 0))


def header(skeleton: Skeleton = COCO17) -> Header:
    return Header.of(skeleton, hrpose="0.1.0", models=[MODEL], settings=SETTINGS)


def make(people: int = 2, skeleton: Skeleton = COCO17, **changes: Any) -> Poses:
    random = np.random.default_rng(people)
    count = len(skeleton)
    poses = Poses(
        keypoints=random.normal(300, 200, (people, count, 2)).astype(np.float32),
        keypoint_scores=random.random((people, count), dtype=np.float32),
        boxes=random.normal(300, 200, (people, 4)).astype(np.float32),
        box_scores=random.random(people, dtype=np.float32),
        track_ids=np.arange(people) - 1,
        size=Size(640, 480),
        skeleton=skeleton,
        source="a.jpg",
    )
    return dataclasses.replace(poses, **changes)


def written(*items: Poses | tuple[str, str], skeleton: Skeleton = COCO17) -> bytes:
    file = io.BytesIO()
    with NativeWriter(file, header(skeleton)) as writer:
        for item in items:
            writer.write(item) if isinstance(item, Poses) else writer.fail(*item)
    return file.getvalue()


def assert_same(got: Poses, want: Poses) -> None:
    for field in dataclasses.fields(Poses):
        a, b = getattr(got, field.name), getattr(want, field.name)
        if isinstance(b, np.ndarray):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            assert a.tobytes() == b.tobytes(), field.name
        else:
            assert a == b, field.name


SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False)
SCORE = st.floats(0, 1, width=32)


@st.composite
def any_poses(draw: st.DrawFn) -> Poses:
    people = draw(st.integers(0, 3))
    measured = filled = None
    if people and draw(st.booleans()):
        measured = draw(arrays(np.float32, (people, 2, 2), elements=SINGLE))
        filled = draw(arrays(np.bool_, (people, 2)))
    source = draw(st.one_of(st.text(st.characters(codec="utf-8")), st.binary()))
    return Poses(
        keypoints=draw(arrays(np.float32, (people, 2, 2), elements=SINGLE)),
        keypoint_scores=draw(arrays(np.float32, (people, 2), elements=SCORE)),
        boxes=draw(arrays(np.float32, (people, 4), elements=SINGLE)),
        box_scores=draw(arrays(np.float32, (people,), elements=SCORE)),
        track_ids=draw(arrays(np.int64, (people,), elements=st.integers(-1, 2**63 - 1))),
        size=Size(draw(st.integers(1, 10**6)), draw(st.integers(1, 10**6))),
        skeleton=TINY,
        frame=draw(st.integers(0, 2**63 - 1)),
        time=draw(st.none() | st.floats(allow_nan=False, allow_infinity=False)),
        source=source if isinstance(source, str) else source.decode("utf-8", "surrogateescape"),
        damaged=draw(st.booleans()),
        measured=measured,
        filled=filled if filled is not None and filled.any() else None,
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(any_poses(), max_size=3))
def test_poses_come_back_bit_equal(items: list[Poses]) -> None:
    native, lines = written(*items, skeleton=TINY), io.BytesIO()
    with JsonlWriter(lines, header(TINY)) as writer:
        for item in items:
            writer.write(item)
    lines.seek(0)
    for back in (
        poses_of(read_native(native)),
        iter_native(io.BytesIO(native))[1],
        iter_jsonl(lines)[1],
    ):
        for got, want in zip(back, items, strict=True):
            assert isinstance(got, Poses)
            assert_same(got, want)


def smoothed(people: int = 2) -> Poses:
    poses = make(people)
    filled = np.zeros((people, 17), bool)
    filled[1, [3, 16]] = True
    return dataclasses.replace(poses, measured=poses.keypoints + 1, filled=filled, damaged=True)


def test_smoothed_people_have_both_values_and_marks() -> None:
    picture = json.loads(written(smoothed()))["pictures"][0]
    first, second = picture["people"]
    assert picture["damaged"] is True
    assert len(first["measured"]) == 17
    assert first["measured"][0][0] == pytest.approx(first["keypoints"][0][0] + 1)
    assert "filled" not in first
    assert second["filled"] == [3, 16]
    plain = json.loads(written(make()))["pictures"][0]
    assert not {"damaged", "measured", "filled"} & {*plain, *plain["people"][0]}


def test_heatmaps_are_not_written() -> None:
    maps = Heatmaps(np.zeros((2, 17, 4, 3), np.float16), np.zeros((2, 2, 3), np.float32))
    assert written(make(heatmaps=maps)) == written(make())


CLIP = VideoRecord(
    source="caf\udce9.mp4", status="degraded", reason="caf\udce9: 2 packets", width=640, height=480,
    rate=29.97, duration=3.5, frames=80, people=160, ids=2, undecodable=2, error_rate=0.025,
    notes=("no sound",),
)  # fmt: skip


def test_clips_stand_behind_the_pictures() -> None:
    file = io.BytesIO()
    with NativeWriter(file, header()) as writer:
        writer.write(make())
        writer.video(CLIP)
        writer.fail("b.jpg", "empty")
        writer.video(VideoRecord(source="b.mp4", status="error", reason="not a video"))
    data = file.getvalue()
    document = read_native(data)
    first, second = document.videos
    assert (source_of(first), first.frames, first.ids, first.rate) == (CLIP.source, 80, 2, 29.97)
    assert first.reason == "caf\N{REPLACEMENT CHARACTER}: 2 packets"
    assert json.loads(data)["videos"][1] == {
        "source": "b.mp4", "status": "error", "reason": "not a video", "frames": 0, "people": 0,
        "undecodable": 0, "flagged": 0, "cut_short": False, "error_rate": 0, "notes": [],
    }  # fmt: skip
    assert second.encodable() == second
    items = list(iter_native(io.BytesIO(data))[1])
    assert [type(item) for item in items] == [Poses, Failure, VideoRecord, VideoRecord]
    assert items[2:] == [first, second]


def test_a_clip_that_could_not_be_read_back_is_refused() -> None:
    writer = NativeWriter(io.BytesIO(), header())
    for bad in ({"rate": float("nan")}, {"rate": 0.0}, {"width": 0}, {"ids": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            writer.video(VideoRecord(source="a", status="ok", **bad))
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.video(CLIP)


def test_a_file_of_the_first_version_can_be_read() -> None:
    data = written(make(), ("b.jpg", "cut short"))
    assert b"videos" not in data
    assert read_native(data).videos == ()


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param({}, id="one line"),
        pytest.param({"indent": 1}, id="indented"),
    ],
)
def test_a_file_laid_out_anew_is_read_as_a_whole(layout: dict[str, int]) -> None:
    data = written(smoothed(), ("b.jpg", "cut short"))
    anew = json.dumps(json.loads(data), **layout).encode()
    found, items = iter_native(io.BytesIO(anew))
    first, second = items
    assert found.skeleton == header().skeleton
    assert isinstance(first, Poses)
    assert_same(first, smoothed())
    assert isinstance(second, Failure)


def test_reading_holds_one_picture_at_a_time() -> None:
    data = io.BytesIO(written(*[make()] * 100))
    _, items = iter_native(data)
    next(items)
    tracemalloc.start()
    count = sum(1 for _ in items)
    gc.collect()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 99
    assert peak < 100_000 < len(data.getvalue())


@settings(max_examples=100, deadline=None)
@given(arrays(np.uint32, 64))
def test_every_float32_survives_a_reader_that_goes_through_double(bits: np.ndarray) -> None:
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    back = np.array(json.loads(json.dumps(shortest(values))), np.float64).astype(np.float32)
    assert back.tobytes() == values.tobytes()


def test_numbers_are_short() -> None:
    assert b"412.8," in written(make(boxes=np.full((2, 4), 412.8, np.float32)))
    assert shortest(np.float32([0.1, 16777216, 3.4028235e38])) == [0.1, 16777216.0, 3.4028235e38]


def test_header_is_written_once_and_comes_back() -> None:
    data = written(make(), make(0), skeleton=COCO17)
    document = read_native(data)
    assert data.count(b'"left_ankle"') == 1
    assert data.startswith(b'{"format":"hrpose","version":1,')
    assert (document.hrpose, document.models, document.settings) == ("0.1.0", (MODEL,), SETTINGS)
    assert skeleton_of(document) is COCO17


def test_an_unknown_skeleton_comes_from_the_file() -> None:
    assert skeleton_of(read_native(written(skeleton=TINY))) == TINY


def test_keys_without_value_are_left_out() -> None:
    document = json.loads(written(make(2), make(1, time=0.0, frame=3)))
    still, moving = document["pictures"]
    assert "null" not in json.dumps(document)
    assert "time" not in still
    assert (moving["time"], moving["frame"], moving["status"]) == (0.0, 3, "ok")
    assert ["track_id" in person for person in still["people"]] == [False, True]
    assert len(still["people"][0]["keypoints"]) == 17
    assert still["people"][0]["score"] == pytest.approx(float(make(2).scores[0]))


def test_failures_stand_at_their_place_and_at_the_end() -> None:
    document = read_native(written(make(0), ("b.jpg", "cut short"), make(1), ("c.jpg", "empty")))
    kinds = [type(picture) for picture in document.pictures]
    assert kinds == [Picture, Failure, Picture, Failure]
    assert [(e.source, e.reason) for e in document.errors] == [
        ("b.jpg", "cut short"),
        ("c.jpg", "empty"),
    ]
    assert [len(poses) for poses in poses_of(document)] == [0, 1]


def test_names_that_are_not_utf8_survive() -> None:
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    data = written(make(source=name), (name, f"cannot open {name}"))
    document = read_native(data)
    assert json.loads(data)["pictures"][0]["source"] == "caf\N{REPLACEMENT CHARACTER}.jpg"
    assert [source_of(record) for record in (*document.pictures, *document.errors)] == [name] * 3
    assert next(iter(poses_of(document))).source == name


def test_lone_surrogates_of_windows_names_do_not_stop_a_run() -> None:
    assert read_native(written(make(source="a\ud800.jpg"))).pictures[0].source.startswith("a")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["keypoints", "keypoint_scores", "boxes", "box_scores", "time"])
def test_nan_and_infinity_are_never_written(field: str, bad: float) -> None:
    file = io.BytesIO()
    writer = NativeWriter(file, header())
    value: Any = bad
    if field != "time":
        value = getattr(make(), field).copy()
        value.flat[-1] = bad
    before = file.getvalue()
    with pytest.raises(ValueError, match=r"NaN|finite"):
        writer.write(make(**{field: value}))
    assert file.getvalue() == before


def test_wrong_arguments() -> None:
    writer = NativeWriter(io.BytesIO(), header())
    with pytest.raises(ValueError, match="mpii16"):
        writer.write(make(1, MPII16))
    with pytest.raises(ValueError, match="size is"):
        writer.write(make(size=Size(0, 0)))
    with pytest.raises(ValueError, match="threshold"):
        Header.of(COCO17, hrpose="1", settings={"threshold": float("nan")})
    with pytest.raises(ValueError, match="detector"):
        Header.of(COCO17, hrpose="1", settings={"detector": None})  # type: ignore[dict-item]
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(make())
    with pytest.raises(ValueError, match="closed"):
        writer.fail("a", "b")


def test_an_error_in_the_block_leaves_no_valid_document() -> None:
    file = io.BytesIO()
    with contextlib.suppress(OSError), NativeWriter(file, header()) as writer:
        writer.write(make())
        raise OSError("disk full")
    with pytest.raises(BadAnnotation):
        read_native(file.getvalue())


def test_memory_does_not_grow_with_pictures_or_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_LATER_IN_MEMORY", 1 << 12)

    class Sink(io.RawIOBase):
        size = 0

        def write(self, data: Any) -> int:
            self.size += len(data)
            return len(data)

    sink, poses = Sink(), make(1)
    with NativeWriter(sink, header()) as writer:  # type: ignore[arg-type]

        def run(times: int) -> None:
            for i in range(times * 10):
                writer.fail("broken.jpg", "truncated " * 5)
                if i % 10 == 0:
                    writer.write(poses)

        run(30)  # fills the buffers
        tracemalloc.start()
        run(200)
        gc.collect()  # empties CPython's free lists of tuples, which grow up to 2,000 each
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert sink.size > 300_000
    assert kept < 10_000


def change(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place: Any = document
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value


DAMAGE: dict[str, tuple[str, Any, str]] = {
    "no width": ("pictures.0.width", None, r"width.*pictures\[0\]"),
    "width as text": ("pictures.0.width", "640", r"int.*pictures\[0\]\.width"),
    "width 0": ("pictures.0.width", 0, r">= 1.*width"),
    "unknown key": ("pictures.0.colour", 1, r"colour.*pictures\[0\]"),
    "short box": ("pictures.0.people.1.box", [1, 2, 3], r"length 4.*people\[1\]\.box"),
    "short point": ("pictures.0.people.1.keypoints.4", [1, 2], r"keypoints\[4\]"),
    "16 points": ("pictures.0.people.1.keypoints.16", None, r"16 keypoints, expected 17.*\[1\]"),
    "beyond float32": ("pictures.0.people.0.box_score", 1e300, "box_score"),
    "huge track id": ("pictures.0.people.0.track_id", 2**70, "track_id"),
    "status": ("pictures.0.status", "maybe", r"maybe.*status"),
    "hash": ("models.0.sha256", "abc", "sha256"),
    "mirror": ("skeleton.mirror", [0, 1], "mirror"),
    "errors": ("errors", [], "errors"),
    "no pictures": ("pictures", None, "pictures"),
    "setting": ("settings.detector", [1], "settings"),
    "newer": ("version", 2, "version 2, this hrpose reads version 1"),
    "short measured": ("pictures.0.people.1.measured", [[1, 2]], r"1 measured.*\[1\]\.measured"),
    "filled twice": ("pictures.0.people.0.filled", [2, 2], r"filled.*people\[0\]"),
    "filled beyond": ("pictures.0.people.0.filled", [17], r"filled.*people\[0\]"),
    "clip without status": ("videos", [{"source": "a"}], r"status.*videos"),
    "other format": ("format", "else", "not a result|format"),
}


@pytest.mark.parametrize(("path", "value", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named(path: str, value: Any, message: str) -> None:
    document = json.loads(written(make(2), ("b.jpg", "cut short")))
    change(document, path, value)
    with pytest.raises(BadAnnotation, match=message):
        read_native(json.dumps(document).encode())


LINE_DAMAGE: dict[str, tuple[bytes, bytes, str]] = {
    "version": (b'"version":1', b'"version":2', "version 2, this hrpose reads"),
    "header": (b'"models":[', b'"models":[1,', "models"),
    "picture": (b'"width":640', b'"width":0', r"line 2: .*>= 1"),
    "16 points": (b'"keypoints":[[', b'"keypoints":[[0,0,0],[',
                  r"18 keypoints, expected 17 - at \$\.pictures\[0\]"),
    "no comma": (b"},\n", b"}\n", "line 3: a comma is missing"),
    "comma too many": (b"}\n]", b"},\n]", r"line 4: .*malformed"),
    "other errors": (b'"errors":[\n{"status":"error","source":"b', b'"errors":[\n'
                     b'{"status":"error","source":"c', "errors"),
    "no errors": (b'],"errors":[\n', b"],", "line 4: expected the list `errors`"),
    "cut": (b"\n]}\n", b"", "line 6: the file ends too early"),
    "more": (b"\n]}\n", b"\n]}\n{}", "does not end as it should"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), LINE_DAMAGE.values(), ids=LINE_DAMAGE)
def test_damage_is_found_line_by_line(old: bytes, new: bytes, message: str) -> None:
    data = written(make(1), ("b.jpg", "cut short"))
    assert old in data
    with pytest.raises(BadAnnotation, match=message):
        list(iter_native(io.BytesIO(data.replace(old, new, 1)))[1])


WHOLE = written(make(2), ("b.jpg", "cut short"))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="no keys"),
        pytest.param(b"[]", id="list"),
        pytest.param(WHOLE[:-3], id="cut at the end"),
        pytest.param(WHOLE[: len(WHOLE) // 2], id="cut in the middle"),
        pytest.param(b"[" * 10**5, id="deep"),
        pytest.param(b'{"a":' * 10**5, id="deep keys"),
        pytest.param(WHOLE.replace(b"a.jpg", b"\xff"), id="not utf-8"),
        pytest.param(WHOLE.replace(b"640", b"NaN"), id="NaN"),
        pytest.param(b"\x89PNG\r\n", id="png"),
    ],
)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnnotation):
        read_native(data)


def test_schema_accepts_what_is_written_and_refuses_damage() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    described = schema()
    json.dumps(described, allow_nan=False)
    check = jsonschema.Draft202012Validator(described)
    check.check_schema(described)
    file = io.BytesIO()
    with NativeWriter(file, header()) as writer:
        for poses in (make(2), make(0, time=1.5), make(source="\udcff"), smoothed()):
            writer.write(poses)
        writer.fail("b.jpg", "cut short")
        writer.video(CLIP)
    data = file.getvalue()
    assert not list(check.iter_errors(json.loads(data)))
    for name in (
        "no width",
        "width 0",
        "unknown key",
        "short box",
        "status",
        "hash",
        "newer",
        "clip without status",
    ):
        document = json.loads(data)
        path, value, _ = DAMAGE[name]
        change(document, path, value)
        assert list(check.iter_errors(document)), name
