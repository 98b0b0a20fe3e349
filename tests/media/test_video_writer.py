"""What is written comes back: pictures, times, colours and sound, in every container."""

from __future__ import annotations

import errno
import math
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from multiprocessing.context import ForkServerContext
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from hrpose.errors import BadVideo, OutputError, UsageError
from hrpose.media import codecs
from hrpose.media.codecs import CONTAINERS, ENCODERS
from hrpose.media.video import VideoReader, VideoReport
from hrpose.media.video_writer import Original, VideoWriter
from hrpose.options import CODECS, Encoding
from hrpose.types import Frame, Size

SIZE = Size(96, 64)
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
PAIRS = [(suffix, codec) for suffix, kind in CONTAINERS.items() for codec in kind.codecs]
NAMES = {"h264": "h264", "h265": "hevc", "vp9": "vp9", "av1": "libdav1d"}  # of the decoders
NOISE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)

Image = NDArray[np.uint8]


def _picture(number: int, size: Size = SIZE) -> Image:
    """Four quadrants of known grey, and the frame number as 8 columns of black or white."""
    image = np.full((size.height, size.width, 3), 60, dtype=np.uint8)
    image[: size.height // 2, : size.width // 2] = 180
    image[size.height // 2 :, size.width // 2 :] = 120
    for bit in range(8):
        image[20:44, bit * 12 : bit * 12 + 12] = 255 * (number >> bit & 1)
    return image


def _number(image: torch.Tensor) -> int:
    grey = image.float().mean(dim=0)[26:38]
    return sum(
        (grey[:, bit * 12 + 4 : bit * 12 + 8].mean() > 128).item() << bit for bit in range(8)
    )


def _writer(path: Path, **options: object) -> VideoWriter:
    settings: dict[str, object] = {"size": SIZE, "rate": Fraction(30), **options}
    return VideoWriter(path, **settings)  # type: ignore[arg-type]


def _write(
    path: Path,
    times: Sequence[float],
    picture: Callable[[int], Image] = _picture,
    **options: object,
) -> VideoWriter:
    with _writer(path, **options) as writer:
        for number, time in enumerate(times):
            writer.write(picture(number), time)
    return writer


def _noise(number: int) -> Image:
    return np.roll(NOISE, number * 7, axis=1)


def _read(path: Path) -> tuple[list[Frame], VideoReport]:
    with VideoReader(path) as reader:
        return list(reader), reader.report


def _times(frames: Sequence[Frame]) -> list[float | None]:
    return [frame.time for frame in frames]


def _seconds(count: int, rate: Fraction | int = 30) -> list[float]:
    return [float(i / rate) for i in range(count)]


CLOCKS = {
    "25": _seconds(30, 25),
    "30000/1001": _seconds(30, Fraction(30000, 1001)),
    "uneven": list(np.cumsum(np.random.default_rng(0).uniform(0.011, 0.2, 30))),
    "late start": [8.3333 + i / 30 for i in range(30)],
    "one frame late": [1 / 30 + i / 30 for i in range(30)],
    "gap": [i / 30 + (2 if i > 14 else 0) for i in range(30)],
    "one frame": [0.0],
    "one late frame": [1.25],
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", CLOCKS)
def test_frames_and_times_come_back(tmp_path: Path, name: str, suffix: str) -> None:
    times, path = CLOCKS[name], tmp_path / f"a{suffix}"
    rate = Fraction(name) if name[0].isdigit() else Fraction(30)
    writer = _write(path, times, rate=rate)
    frames, report = _read(path)
    assert [_number(frame.image) for frame in frames] == list(range(len(times)))
    half_a_tick = float(writer.time_base) / 2 + 1e-9
    assert _times(frames) == pytest.approx(times, abs=half_a_tick)
    assert writer.time_base <= Fraction(1, 1000 if suffix in (".mkv", ".webm") else 90_000)
    assert not report.damaged
    assert report.decoded == len(times)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_last_frame_lasts(tmp_path: Path, suffix: str) -> None:
    path, rate = tmp_path / f"a{suffix}", Fraction(30000, 1001)
    writer = _write(path, [float((i + 5) / rate) for i in range(8)], rate=rate)
    with av.open(str(path)) as container:
        assert container.duration is not None
        end = container.duration / av.time_base
        video = container.streams.video[0]
        if suffix in (".mp4", ".mov"):  # declare a length, Matroska the time of the end
            assert video.duration is not None
            assert video.duration * video.time_base == 8 / rate
            end = float((video.start_time + video.duration) * video.time_base)
        assert end == pytest.approx(float(13 / rate), abs=float(writer.time_base))
        assert video.average_rate == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize(("suffix", "codec"), PAIRS)
def test_every_codec_in_every_container(
    tmp_path: Path, suffix: str, codec: str, full_range: bool
) -> None:
    path, times = tmp_path / f"a{suffix}", [0.5, 0.53, 0.6, 0.65, 0.9, 1.0]
    encoding, original = Encoding(codec=codec), Original(full_range=full_range)
    writer = _write(path, times, encoding=encoding, original=original)
    frames, report = _read(path)
    assert [_number(frame.image) for frame in frames] == list(range(len(times)))
    assert _times(frames) == pytest.approx(times, abs=float(writer.time_base) / 2 + 1e-9)
    greys = [float(frames[0].image[:, y, x].float().mean()) for y, x in ((5, 5), (60, 90), (60, 5))]
    assert greys == pytest.approx([180, 120, 60], abs=4)
    assert not report.damaged
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        next(container.decode(video=0))
        assert (context.name, context.pix_fmt) in [
            (NAMES[codec], "yuv420p"),
            (NAMES[codec], "yuvj420p"),  # what FFmpeg calls full range of H.264
        ]
        assert (context.colorspace, context.color_range) == (1, 2 if full_range else 1)


def test_without_a_wish_the_container_chooses(tmp_path: Path) -> None:
    found = {}
    for suffix in CONTAINERS:
        _write(tmp_path / f"a{suffix}", [0.0])
        with av.open(str(tmp_path / f"a{suffix}")) as container:
            found[suffix] = container.streams.video[0].codec_context.name
    assert found == {".mp4": "h264", ".m4v": "h264", ".mov": "h264", ".mkv": "h264", ".webm": "vp9"}


def test_the_tables_and_the_options_know_the_same_codecs() -> None:
    assert tuple(ENCODERS) == CODECS
    assert {codec for kind in CONTAINERS.values() for codec in kind.codecs} == set(CODECS)


@pytest.mark.parametrize(
    ("name", "encoding", "message", "hint"),
    [
        ("a.avi", Encoding(), "a.avi: no known kind", ".mp4, .m4v, .mov, .mkv or .webm"),
        ("a", Encoding(), "no known kind", ".mp4"),
        ("a.webm", Encoding("h264"), "WebM cannot hold h264", "holds vp9 and av1; h264 goes into"),
        ("a.MOV", Encoding("av1"), "MOV cannot hold av1", "into .mp4, .m4v, .mkv and .webm"),
        ("a.mp4", Encoding(quality=52), "0-51, not 52", "lower is better"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(
    tmp_path: Path, name: str, encoding: Encoding, message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        _writer(tmp_path / name, encoding=encoding)
    assert hint in caught.value.hint
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "values", [{"codec": "mpeg4"}, {"quality": -1}, {"quality": 64}], ids=lambda v: str(v)
)
def test_impossible_encodings(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Encoding(**values)  # type: ignore[arg-type]


def test_an_encoder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(codecs.ENCODERS, "av1", replace(ENCODERS["av1"], name="libnothing"))
    with pytest.raises(OutputError, match=r"a\.mkv: PyAV .* without libnothing.* av1") as caught:
        _writer(tmp_path / "a.mkv", encoding=Encoding("av1"))
    assert caught.value.exit_code == 5
    assert "another codec" in caught.value.hint


@pytest.mark.parametrize("codec", CODECS)
def test_a_larger_quality_number_makes_a_smaller_file(tmp_path: Path, codec: str) -> None:
    sizes = []
    for quality in (15, None, 50):
        path = tmp_path / f"{quality}.mp4"
        _write(path, [0.0, 0.04], _noise, encoding=Encoding(codec, quality))
        sizes.append(path.stat().st_size)
    assert sizes[0] > 1.15 * sizes[1] > 1.3 * sizes[2]


def test_a_steady_rate_is_exact(tmp_path: Path) -> None:
    rate = Fraction(30000, 1001)
    _write(tmp_path / "a.mp4", _seconds(40, rate), rate=rate)
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert (reader.rate, reader.frame_count) == (rate, 40)
        assert reader.duration == pytest.approx(float(40 / rate), abs=1e-5)
        assert _times(list(reader)) == _seconds(40, rate)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_file_is_what_players_expect(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    _write(path, _seconds(70))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        container.seek(0)
        keys = [i for i, frame in enumerate(container.decode(stream)) if frame.key_frame]
    assert max(np.diff(keys)) <= 20
    shown = [packet.pts for packet in packets]
    assert shown != sorted(shown)  # B-frames
    data = path.read_bytes()
    if suffix == ".mp4":
        assert b"moof" not in data[: data.index(b"mdat")]  # an ordinary MP4 after close
    else:
        assert b"\x1c\x53\xbb\x6b" in data  # cues: it can be searched


# Colours ----------------------------------------------------------------------------------------

CARD = [
    *[(200, 30, 30), (30, 200, 30), (30, 30, 200), (230, 230, 30)],
    *[(0, 0, 0), (16, 16, 16), (128, 128, 128), (255, 255, 255)],
]


def _card() -> Image:
    return np.concatenate([np.full((64, 32, 3), colour, np.uint8) for colour in CARD], axis=1)


def _shown(image: torch.Tensor) -> NDArray[np.int64]:
    return image[:, 32, 16::32].T.numpy().astype(np.int64)


def _filmed(path: Path, space: Colorspace, span: ColorRange) -> None:
    """The card as another program would encode it; BT.601 is 6 among FFmpeg's colour spaces."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 256, 64, "yuv420p"
        stream.codec_context.colorspace = 1 if space == Colorspace.ITU709 else 6
        stream.codec_context.color_range = span
        frame = av.VideoFrame.from_ndarray(_card(), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=space, dst_color_range=span)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("space", [Colorspace.ITU601, Colorspace.ITU709], ids=["601", "709"])
@pytest.mark.parametrize("span", [ColorRange.MPEG, ColorRange.JPEG], ids=["limited", "full"])
def test_colours_and_their_range_survive(
    tmp_path: Path, space: Colorspace, span: ColorRange, suffix: str
) -> None:
    _filmed(tmp_path / "in.mp4", space, span)
    (frame,), _ = _read(tmp_path / "in.mp4")
    assert np.abs(_shown(frame.image) - CARD).max() <= 5  # of the reader
    path, image = tmp_path / f"out{suffix}", frame.image.permute(1, 2, 0).numpy()
    original = Original(full_range=span == ColorRange.JPEG)
    _write(path, [0.0], lambda _: image, size=frame.size, original=original)
    (again,), _ = _read(path)
    assert np.abs(_shown(again.image) - CARD).max() <= 6
    with av.open(str(path)) as container:
        raw = next(container.decode(video=0))
        assert (raw.colorspace, raw.color_range) == (1, span)
        luma = raw.to_ndarray()[32, 16:256:32]
        # black and white as the range has them
        want = (0, 255) if span == ColorRange.JPEG else (16, 235)
        assert [luma[4], luma[7]] == pytest.approx(want, abs=2)


def test_a_real_clip_of_full_range(tmp_path: Path, shared: Path) -> None:
    with VideoReader(shared / "data/media/video_odd/bt601_full_range.mp4") as reader:
        before = next(iter(reader))
    image = before.image.permute(1, 2, 0).numpy()
    original = Original(full_range=True)
    _write(tmp_path / "a.mp4", [0.0], lambda _: image, size=before.size, original=original)
    (after,), _ = _read(tmp_path / "a.mp4")
    difference = (after.image.float() - before.image.float()).abs()
    assert difference.mean() < 4
    # the reader's rounding, twice; limited taken for full would be 15
    assert abs(float((after.image.float() - before.image.float()).mean())) < 1.5


@pytest.mark.parametrize("size", [(97, 65), (96, 65), (97, 64), (1, 1), (3, 1)])
def test_odd_sizes_are_padded_by_the_edge(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    image = np.full((height, width, 3), 40, dtype=np.uint8)
    image[-1, :] = image[:, -1] = 200
    _write(tmp_path / "a.mp4", [0.0], lambda _: image, size=Size(*size))
    (frame,), _ = _read(tmp_path / "a.mp4")
    assert frame.size == (width + width % 2, height + height % 2)
    grown = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    difference = np.abs(frame.image.permute(1, 2, 0).numpy().astype(int) - grown)
    assert difference.mean() < 12
    assert difference[-1, -1].max() < 12


@pytest.mark.parametrize("codec", ["h265", "vp9", "av1"])
def test_odd_sizes_in_other_codecs(tmp_path: Path, codec: str) -> None:
    size, path = Size(97, 65), tmp_path / "a.mkv"
    _write(path, [0.0], lambda n: _picture(n + 5, size), size=size, encoding=Encoding(codec))
    (frame,), _ = _read(path)
    assert (frame.size, _number(frame.image)) == ((98, 66), 5)


def test_pictures_of_another_size_are_scaled(tmp_path: Path) -> None:
    with _writer(tmp_path / "a.mp4") as writer:
        writer.write(_picture(5), 0.0)
        writer.write(np.kron(_picture(9), np.ones((2, 2, 1), np.uint8)), 0.04)
    frames, _ = _read(tmp_path / "a.mp4")
    assert [(frame.size, _number(frame.image)) for frame in frames] == [(SIZE, 5), (SIZE, 9)]


def test_times_that_do_not_grow_are_moved(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.04, 0.08, 0.0, 0.04, 0.08]
    writer = _write(tmp_path / "a.mp4", times, rate=Fraction(25))
    frames, _ = _read(tmp_path / "a.mp4")
    tick = float(writer.time_base)
    want = [0.0, 0.04, 0.04 + tick, 0.08, 0.12, 0.16, 0.2]
    assert _times(frames) == pytest.approx(want, abs=1e-9)
    assert writer.moved == 2


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("codec", CODECS)
def test_few_frames(tmp_path: Path, codec: str, count: int) -> None:
    for suffix in (".mp4", ".mkv"):
        path = tmp_path / f"a{suffix}"
        _write(path, _seconds(count), _noise, encoding=Encoding(codec))
        assert _times(_read(path)[0]) == pytest.approx(_seconds(count), abs=6e-4)


def test_frames_within_one_millisecond_keep_their_order(tmp_path: Path) -> None:
    times = [0.0, 0.0003, 0.0006, 0.01]
    writer = _write(tmp_path / "a.mkv", times)
    frames, _ = _read(tmp_path / "a.mkv")
    assert [_number(frame.image) for frame in frames] == [0, 1, 2, 3]
    assert _times(frames) == pytest.approx([0.0, 0.001, 0.002, 0.01])
    assert writer.moved == 2


def test_times_before_zero_shift_all(tmp_path: Path) -> None:
    _write(tmp_path / "a.mp4", [-0.5, -0.4, 0.0, 0.1])
    frames, _ = _read(tmp_path / "a.mp4")
    assert _times(frames) == pytest.approx([0, 0.1, 0.5, 0.6], abs=1e-9)


# Sound ------------------------------------------------------------------------------------------

RATE = 48_000


def _audio(container: av.container.OutputContainer, codec: str, language: str) -> None:
    stream = container.add_stream(codec, rate=RATE)
    stream.layout, stream.bit_rate = "stereo", 64_000
    stream.metadata["language"] = language


def _encode_audio(container: av.container.OutputContainer, seconds: float) -> None:
    for stream in container.streams.audio:
        context = stream.codec_context
        for start in range(0, int(seconds * RATE), context.frame_size):
            wave = np.sin(np.arange(start, start + context.frame_size) ** 2 / 3e7) / 3
            data = np.tile(wave.astype(np.float32), (2, 1))
            if context.format.name == "s16":  # Opus
                data = np.ascontiguousarray(data.T.reshape(1, -1) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(data, context.format.name, "stereo")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def talkie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds of AAC (with its run-in before 0) and Opus, and marks."""
    path = tmp_path_factory.mktemp("sound") / "talkie.mp4"
    with av.open(str(path), "w") as container:
        container.metadata.update(
            title="Two voices", creation_time="2024-05-06T07:08:09.000000Z", location="+48.1+11.5/"
        )
        _audio(container, "aac", "eng")
        _audio(container, "libopus", "deu")
        container.start_encoding()
        _encode_audio(container, 8)
    return path


Sound = list[tuple[float, bytes]]


def _sound(path: Path, number: int = 0) -> Sound:
    with av.open(str(path)) as container:
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(audio=number)
            if packet.size
        ]


def _streams(path: Path) -> list[tuple[str, str]]:
    with av.open(str(path)) as container:
        return [(s.codec_context.name, s.language or "") for s in container.streams.audio]


def _same(after: Sound, before: Sound, *, shift: float = 0.0, tick: float) -> bool:
    """Whether the bytes are those, at those times."""
    return [data for _, data in after] == [data for _, data in before] and [
        time for time, _ in after
    ] == pytest.approx([time + shift for time, _ in before], abs=tick)


HELD = {
    ".mp4": ([("aac", "eng"), ("opus", "deu")], []),
    ".mov": ([("aac", "eng")], ["MOV cannot hold opus sound"]),
    ".mkv": ([("aac", "eng"), ("opus", "deu")], []),
    ".webm": ([("opus", "deu")], ["WebM cannot hold aac sound"]),
}


@pytest.mark.parametrize("suffix", HELD)
def test_all_sound_that_fits_is_copied(tmp_path: Path, talkie: Path, suffix: str) -> None:
    path, (streams, dropped) = tmp_path / f"a{suffix}", HELD[suffix]
    writer = _write(path, _seconds(20), original=Original(talkie))
    assert writer.dropped_audio == dropped
    assert _streams(path) == streams
    before = {"aac": _sound(talkie, 0), "opus": _sound(talkie, 1)}
    assert before["aac"][0][0] < -0.02  # run-in of the encoder
    if suffix == ".mkv":
        del before["aac"][0]  # else it moved everything, see `sound`
    for number, (codec, _) in enumerate(streams):
        assert len(before[codec]) > 370
        # half a millisecond of either file
        assert _same(_sound(path, number), before[codec], tick=0.0011)
    frames, _ = _read(path)
    assert _times(frames) == pytest.approx(_seconds(20), abs=float(writer.time_base) / 2 + 1e-9)


@pytest.mark.parametrize("name", ["h264_aac.mp4", "sample_fragmented.mp4", "no_duration.webm"])
def test_sound_of_real_clips(tmp_path: Path, shared: Path, name: str) -> None:
    source, output = shared / "data/media/video_odd" / name, tmp_path / "a.mp4"
    with VideoReader(source) as reader:
        times = [time for time in _times(list(reader)) if time is not None]
        _write(output, times, rate=reader.rate, original=Original(source))
    before = _sound(source)
    assert len(before) > 10
    assert _same(_sound(output), before, tick=1e-4)
    assert _times(_read(output)[0]) == pytest.approx(times, abs=1.2e-5)


def test_sound_of_a_broadcast_gets_the_headers_of_a_file(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.ts"), "w") as container:
        _audio(container, "aac", "eng")
        container.start_encoding()
        _encode_audio(container, 0.5)
    for suffix in (".mp4", ".mkv"):
        _write(tmp_path / f"a{suffix}", _seconds(5), original=Original(tmp_path / "a.ts"))
        with av.open(str(tmp_path / f"a{suffix}")) as container:
            heard = sum(frame.samples for frame in container.decode(audio=0))
        assert heard >= 0.5 * RATE


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("window", "first"),
    [((2.0, 2.5), 2.013), ((6.0, 6.4), 6.0), ((0.0, 0.5), 0.0), ((7.5, None), 7.52)],
)
def test_the_sound_of_a_window(
    tmp_path: Path,
    talkie: Path,
    suffix: str,
    window: tuple[float, float | None],
    first: float,
) -> None:
    path, times = tmp_path / f"a{suffix}", [first + i / 25 for i in range(10)]
    _write(path, times, rate=Fraction(25), original=Original(talkie, window))
    frames, _ = _read(path)
    tick = float(CONTAINERS[suffix].time_base or 1e-5)
    assert _times(frames) == pytest.approx(_seconds(10, 25), abs=tick)
    end = window[1] or math.inf
    for number, (codec, _) in enumerate(_streams(path)):
        whole = _sound(talkie, codec == "opus")
        wanted = [packet for packet in whole if first <= packet[0] < end]
        assert len(wanted) >= 18
        assert _same(_sound(path, number), wanted, shift=-first, tick=0.0011)


def test_a_window_without_a_start_moves_nothing(tmp_path: Path, talkie: Path) -> None:
    _write(tmp_path / "a.mp4", _seconds(5), original=Original(talkie, (None, 0.5)))
    wanted = [packet for packet in _sound(talkie) if packet[0] < 0.5]
    assert _same(_sound(tmp_path / "a.mp4"), wanted, tick=1e-4)


def test_no_sound_and_the_marks(tmp_path: Path, talkie: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"a{suffix}"
        _write(path, [0.0], encoding=Encoding(audio=False), original=Original(talkie))
        assert _streams(path) == []
        with av.open(str(path)) as container:
            marks = {key.lower(): value for key, value in container.metadata.items()}
        assert marks["title"] == "Two voices"
        assert marks["creation_time"] == "2024-05-06T07:08:09.000000Z"
        assert "location" not in marks


def test_sound_can_end_early(tmp_path: Path, talkie: Path) -> None:
    with _writer(tmp_path / "a.mp4", original=Original(talkie)) as writer:
        for time in _seconds(15):
            writer.write(_picture(0), time)
        writer.end_sound()
    assert _sound(tmp_path / "a.mp4")[-1][0] == pytest.approx(14 / 30, abs=0.03)


def test_sound_is_written_while_the_video_is(tmp_path: Path, talkie: Path) -> None:
    _write(tmp_path / "a.mp4", _seconds(200, 25), original=Original(talkie))
    positions: dict[str, list[int]] = {"video": [], "audio": []}
    with av.open(str(tmp_path / "a.mp4")) as container:
        for packet in container.demux():
            if packet.size:
                positions[packet.stream.type].append(packet.pos or 0)
    # half of the video comes neither before nor after all of the sound
    middle = sorted(positions["video"])[100]
    assert 0.3 < np.mean(np.less(positions["audio"], middle)) < 0.7


def test_sound_that_mp4_cannot_hold_is_named(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("wmav2", rate=44100)
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 2048), np.float32), "fltp", "stereo")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    writer = _write(tmp_path / "a.mp4", [0.0, 0.1], original=Original(tmp_path / "a.avi"))
    assert writer.dropped_audio == ["MP4 cannot hold wmav2 sound"]
    assert len(_read(tmp_path / "a.mp4")[0]) == 2


# Files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("model failed"), KeyboardInterrupt()])
def test_an_error_in_the_block_leaves_no_file(tmp_path: Path, error: BaseException) -> None:
    def interrupted() -> None:
        with _writer(tmp_path / "a.mkv") as writer:
            writer.write(_picture(0), 0.0)
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_no_frames_leave_no_file(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        with pytest.raises(OutputError, match="no frames"):
            _write(tmp_path / f"a{suffix}", [])
    assert os.listdir(tmp_path) == []


def test_an_existing_output_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"precious")
    with pytest.raises(OutputError, match="already exists"):
        _write(tmp_path / "a.mp4", [0.0])
    assert (tmp_path / "a.mp4").read_bytes() == b"precious"
    _write(tmp_path / "a.mp4", [0.0], force=True)
    assert len(_read(tmp_path / "a.mp4")[0]) == 1


def test_the_input_is_never_the_output(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    _write(source, [0.0, 0.1])
    before = source.read_bytes()
    (tmp_path / "twin.mp4").hardlink_to(source)
    for output in (source, tmp_path / "twin.mp4"):
        for encoding in (Encoding(), Encoding(audio=False)):
            with pytest.raises(OutputError, match="is the input"):
                _write(output, [0.0], force=True, encoding=encoding, original=Original(source))
    assert source.read_bytes() == before


def test_an_original_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(BadVideo, match=r"gone\.mp4"):
        _write(tmp_path / "a.mp4", [0.0], original=Original(tmp_path / "gone.mp4"))
    assert os.listdir(tmp_path) == []


@contextmanager
def _small_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # Python ignores SIGXFSZ
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_cannot_grow_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    with (
        _small_files(),
        pytest.raises(OutputError, match=rf"a\{suffix}.*cannot be written") as caught,
    ):
        _write(tmp_path / f"a{suffix}", _seconds(200), _noise)
    assert caught.value.exit_code == 5
    assert os.listdir(tmp_path) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KB; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("frames", [200, 4])
def test_a_full_disk_leaves_nothing(tiny_disk: Path, suffix: str, frames: int) -> None:
    path = tiny_disk / f"a{suffix}"
    if frames < 10:  # it fills at the very end: a page is left
        (tiny_disk / "filler").write_bytes(bytes(31 * 4096))
    with pytest.raises(OutputError, match=os.strerror(errno.ENOSPC)) as caught:
        _write(path, _seconds(frames), _noise)
    assert "space" in caught.value.hint
    assert caught.value.exit_code == 5
    assert set(os.listdir(tiny_disk)) <= {"filler"}


KILLS = [(suffix, CONTAINERS[suffix].codecs[0]) for suffix in SUFFIXES]
KILLS += [(".mkv", "h265"), (".webm", "av1")]


def _write_until_killed(folder: Path, talkie: Path) -> None:
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                _writer(
                    folder / f"{codec}{original.path is None}{suffix}",
                    encoding=Encoding(codec),
                    original=original,
                )
            )
            for suffix, codec in KILLS
            for original in (Original(), Original(talkie))
        ]
        fragments = _writer(folder / "long.mp4", original=Original(talkie), long=True)
        writers.append(stack.enter_context(fragments))
        for number in range(150):
            for writer in writers:
                writer.write(_noise(number), number / 30)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.xdist_group("processes")
def test_a_killed_writer_leaves_no_final_file_but_a_playable_part(
    tmp_path: Path, talkie: Path, processes: ForkServerContext
) -> None:
    process = processes.Process(target=_write_until_killed, args=(tmp_path, talkie))
    process.start()
    process.join(60)
    hangs = process.is_alive()
    process.kill()
    assert not hangs
    assert process.exitcode == -signal.SIGKILL
    parts = list(tmp_path.iterdir())
    assert len(parts) == 2 * len(KILLS) + 1
    for part in parts:
        assert part.name.startswith(".")
        assert ".part." in part.name
        frames, _ = _read(part)
        # 20 frames at most in the muxer; the rest in the encoder, most in that of AV1
        assert 150 - len(frames) <= (60 if "av1" in part.name else 36), part.name
        assert _times(frames) == pytest.approx(_seconds(len(frames)), abs=6e-4), part.name


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rate": Fraction(0)}, "rate"),
        ({"rate": Fraction(-5)}, "rate"),
        ({"rate": Fraction(90_000)}, "rate"),
        ({"size": Size(0, 5)}, "size"),
    ],
)
def test_arguments_are_checked(tmp_path: Path, options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        _write(tmp_path / "a.mp4", [0.0], **options)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("image", "time"),
    [
        (np.zeros((64, 96), np.uint8), 0.0),
        (np.zeros((64, 96, 3), np.float32), 0.0),
        (np.zeros((64, 96, 3), np.uint8), float("nan")),
    ],
)
def test_pictures_are_checked(tmp_path: Path, image: Image, time: float) -> None:
    with (
        pytest.raises(ValueError, match="expected"),
        _writer(tmp_path / "a.mp4") as writer,
    ):
        writer.write(image, time)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("codec", "size"), [("h264", Size(20_000, 2)), ("av1", Size(20_000, 2)), ("h265", Size(2, 2))]
)
def test_a_size_that_the_encoder_cannot_do_is_said(tmp_path: Path, codec: str, size: Size) -> None:
    with (
        pytest.raises(OutputError, match=f"{size.width} x {size.height}"),
        _writer(tmp_path / "a.mp4", size=size, encoding=Encoding(codec)) as writer,
    ):
        writer.write(np.zeros((size.height, size.width, 3), np.uint8), 0.0)
    assert os.listdir(tmp_path) == []


# Memory -----------------------------------------------------------------------------------------


def _resident() -> int:
    """Kilobytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def _growth(path: Path, frames: int, *, long: bool = False) -> float:
    """Kilobytes of memory per 1,000 frames, by a line through the last three quarters."""
    picture, seen = np.zeros((48, 64, 3), np.uint8), []
    with _writer(path, size=Size(64, 48), long=long) as writer:
        for number in range(frames):
            picture[number % 48] = number % 251
            writer.write(picture, number / 30)
            if number % 50 == 0:
                seen.append((number / 1000, _resident()))
    x, y = np.array(seen[len(seen) // 4 :]).T
    return float(np.polyfit(x, y, 1)[0])


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    assert _growth(tmp_path / "a.mp4", 3_000) < 200


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_memory_does_not_grow_in_an_hour(tmp_path: Path, suffix: str) -> None:
    # the index of an MP4 lists every frame and is written last: about 80 bytes each
    limit = 100 if suffix in (".mp4", ".mov") else 20
    assert _growth(tmp_path / f"a{suffix}", 100_000) < limit


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_memory_of_long_ones_does_not_grow(tmp_path: Path, suffix: str) -> None:
    assert _growth(tmp_path / f"a{suffix}", 100_000, long=True) < 20


def _boxes(data: bytes) -> list[str]:
    """The names of the outermost boxes of an MP4 (ISO/IEC 14496-12, 4.2)."""
    names, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        names.append(data[at + 4 : at + 8].decode("latin1"))
        at += int.from_bytes(data[at + 8 : at + 16]) if size == 1 else size
    return names


def test_long_ones_have_the_same_sound(tmp_path: Path, talkie: Path) -> None:
    for long in (False, True):
        _write(tmp_path / f"{long}.mp4", _seconds(60), original=Original(talkie), long=long)
    assert _sound(tmp_path / "True.mp4") == _sound(tmp_path / "False.mp4") != []


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_long_ones_stay_in_fragments(tmp_path: Path, suffix: str) -> None:
    times = [5.0, 5.04, 5.08, 5.2, *(5.3 + time for time in _seconds(60))]
    for long in (False, True):
        path = tmp_path / f"{long}{suffix}"
        with _writer(path, long=long) as writer:
            for i, time in enumerate(times):
                writer.write(_picture(i), time)
        with VideoReader(path) as reader:
            assert [frame.time for frame in reader] == pytest.approx(times, abs=1e-5)
            assert not reader.report.damaged
        assert ("moof" in _boxes(path.read_bytes())) is long
