"""Real clips against their manifests, and generated clips whose right answer is known."""

from __future__ import annotations

import collections
import csv
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hrpose.errors import BadVideo, OutputError
from hrpose.media.video import VideoReader, VideoReport, VideoWriter
from hrpose.types import Frame, Size

SIZE = Size(96, 64)


def _rows(shared: Path, folder: str) -> list[dict[str, str]]:
    with (shared / "data/media" / folder / "MANIFEST.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _quadrants(image: torch.Tensor) -> list[float]:
    grey = image.float().mean(dim=0)
    height, width = grey.shape[0] // 2, grey.shape[1] // 2
    parts = (grey[:height, :width], grey[:height, width:], grey[height:, :width])
    return [float(part.mean()) for part in (*parts, grey[height:, width:])]


def _picture_problem(reader: VideoReader, first: Frame, row: dict[str, str]) -> str:
    if reader.size != first.size or first.size != (int(row["width"]), int(row["height"])):
        return f"size {reader.size}"
    want = [float(value) for value in row["quadrant_means"].split()]
    if want and np.abs(np.subtract(_quadrants(first.image), want)).max() > 1.01:
        return f"quadrants {_quadrants(first.image)}, expected {want}"
    if abs((first.time or 0) - float(row["first_s"])) > 1e-3:
        return f"first at {first.time}"
    return "" if reader.rate == Fraction(row["fps"]) else f"rate {reader.rate}"


def _end_problem(report: VideoReport, last: float | None, row: dict[str, str]) -> str:
    if row["expect"] == "damaged":
        least, most = int(row["frames"]), int(row["frames_tolerant"])
        good = report.damaged and least <= report.decoded <= most
        return "" if good else f"{report}, expected {least} to {most} and a word of the damage"
    if report.damaged or report.decoded != int(row["frames"]):
        return f"{report}, expected {row['frames']}"
    return "" if abs((last or 0) - float(row["last_s"])) <= 1e-3 else f"last at {last}"


def _problem(path: Path, row: dict[str, str]) -> str:
    """What is wrong with reading one file of the table; empty if nothing."""
    try:
        reader = VideoReader(path)
    except BadVideo as error:
        if path.name not in error.message or not error.hint:
            return f"unhelpful message {error.message!r}"
        return "" if row["expect"] == "fail" else f"refused: {error.message}"
    with reader:
        if row["expect"] == "fail":
            return "was read"
        frames = iter(reader)
        first = next(frames)
        problem = _picture_problem(reader, first, row)
        last = collections.deque((frame.time for frame in frames), maxlen=1)
        return problem or _end_problem(reader.report, last[0] if last else first.time, row)


def test_every_odd_video(shared: Path) -> None:
    rows = _rows(shared, "video_odd")
    assert len(rows) >= 45
    folder = shared / "data/media/video_odd"
    slow = {"sample_edit_list.mp4", "edit_list_positive_shift.mp4"}  # a second each; see below
    problems = {
        row["file"]: problem
        for row in rows
        if row["file"] not in slow and (problem := _problem(folder / row["file"], row))
    }
    assert problems == {}


@pytest.mark.slow
def test_every_video_to_the_end(shared: Path) -> None:
    for folder in ("video_odd", "video_people"):
        for row in _rows(shared, folder):
            assert _problem(shared / "data/media" / folder / row["file"], row) == "", row["file"]


def test_first_frames_of_people_and_of_a_phone_clip(shared: Path) -> None:
    rows = [(row, "video_people") for row in _rows(shared, "video_people")]
    odd = {row["file"]: row for row in _rows(shared, "video_odd")}
    rows += [(odd[name], "video_odd") for name in ("sample_edit_list.mp4",)]
    assert len(rows) == 7
    for row, folder in rows:
        with VideoReader(shared / "data/media" / folder / row["file"]) as reader:
            first = next(iter(reader))
            assert _picture_problem(reader, first, row) == "", row["file"]
            assert reader.report.decoded == 1
            assert reader.frame_count is not None
            assert abs(reader.frame_count - int(row["header_frames"] or 0)) <= 1


def _picture(number: int, size: Size = SIZE) -> NDArray[np.uint8]:
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


def _write(path: Path, times: Sequence[float], **options: object) -> VideoWriter:
    settings: dict[str, object] = {"size": SIZE, "rate": Fraction(30), **options}
    with VideoWriter(path, **settings) as writer:  # type: ignore[arg-type]
        for number, time in enumerate(times):
            writer.write(_picture(number), time)
    return writer


def _read(path: Path) -> tuple[list[Frame], VideoReport]:
    with VideoReader(path) as reader:
        return list(reader), reader.report


CLOCKS = {
    "25": [i / 25 for i in range(60)],
    "30000/1001": [i * 1001 / 30000 for i in range(60)],
    "uneven": list(np.cumsum(np.random.default_rng(0).uniform(0.011, 0.2, 60))),
    "late start": [8.3333 + i / 30 for i in range(60)],
    "one frame late": [1 / 30 + i / 30 for i in range(60)],
    "gap": [i / 30 + (2 if i > 14 else 0) for i in range(60)],
    "one frame": [0.0],
}


@pytest.mark.parametrize("name", CLOCKS)
def test_frames_and_times_come_back(tmp_path: Path, name: str) -> None:
    times = CLOCKS[name]
    rate = Fraction(name) if name[0].isdigit() else Fraction(30)
    writer = _write(tmp_path / "a.mp4", times, rate=rate)
    frames, report = _read(tmp_path / "a.mp4")
    assert [_number(frame.image) for frame in frames] == list(range(len(times)))
    assert [frame.index for frame in frames] == list(range(len(times)))
    # one tick of the clock
    assert [frame.time for frame in frames] == pytest.approx(times, abs=float(writer.time_base))
    assert writer.time_base <= Fraction(1, 90_000)
    assert not report.damaged
    assert (report.decoded, report.declared) == (len(times), len(times))
    assert frames[0].source == str(tmp_path / "a.mp4")
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_a_steady_rate_is_exact(tmp_path: Path) -> None:
    rate = Fraction(30000, 1001)
    _write(tmp_path / "a.mp4", [float(i / rate) for i in range(40)], rate=rate)
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert (reader.rate, reader.frame_count) == (rate, 40)
        assert reader.duration == pytest.approx(float(40 / rate), abs=1e-5)
        assert [frame.time for frame in reader] == [float(i / rate) for i in range(40)]


def test_the_file_is_what_players_expect(tmp_path: Path) -> None:
    _write(tmp_path / "a.mp4", [i / 30 for i in range(70)])
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, limited
        keys = [i for i, frame in enumerate(container.decode(stream)) if frame.key_frame]
    assert max(np.diff(keys)) <= 30
    data = (tmp_path / "a.mp4").read_bytes()
    assert b"moof" not in data[: data.index(b"mdat")]  # an ordinary MP4 after close


def test_colours_survive(tmp_path: Path) -> None:
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (255, 255, 255), (0, 0, 0)]
    image = np.concatenate([np.full((64, 32, 3), c, dtype=np.uint8) for c in colours], axis=1)
    with VideoWriter(tmp_path / "a.mp4", size=Size(160, 64), rate=Fraction(25)) as writer:
        writer.write(image, 0.0)
    frames, _ = _read(tmp_path / "a.mp4")
    got = frames[0].image[:, 32, 16::32].T.tolist()
    assert np.abs(np.subtract(got, colours)).max() <= 5


@pytest.mark.parametrize("size", [(97, 65), (96, 65), (97, 64), (1, 1), (3, 1)])
def test_odd_sizes_are_padded_by_the_edge(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    image = np.full((height, width, 3), 40, dtype=np.uint8)
    image[-1, :] = image[:, -1] = 200
    with VideoWriter(tmp_path / "a.mp4", size=Size(*size), rate=Fraction(25)) as writer:
        writer.write(image, 0.0)
    (frame,), _ = _read(tmp_path / "a.mp4")
    assert frame.size == (width + width % 2, height + height % 2)
    grown = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    difference = np.abs(frame.image.permute(1, 2, 0).numpy().astype(int) - grown)
    assert difference.mean() < 12
    assert difference[-1, -1].max() < 12


def _rotated(path: Path, degrees: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.set_display_rotation(degrees)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(_picture(0), format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_rotation_is_applied_and_baked_in(tmp_path: Path, degrees: int) -> None:
    _rotated(tmp_path / "a.mp4", degrees)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert next(container.decode(video=0)).rotation in (degrees, degrees - 360)
    want = np.rot90(_picture(0), degrees // 90)  # counter-clockwise
    (frame,), _ = _read(tmp_path / "a.mp4")
    assert frame.size == want.shape[1::-1]
    upright = frame.image.permute(1, 2, 0).numpy()
    assert np.abs(upright.astype(int) - want).mean() < 6
    with VideoWriter(tmp_path / "b.mp4", size=frame.size, rate=Fraction(25)) as writer:
        writer.write(upright, 0.0)
    (again,), _ = _read(tmp_path / "b.mp4")
    assert again.size == frame.size
    assert np.abs(again.image.permute(1, 2, 0).numpy().astype(int) - want).mean() < 8
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


def _sound(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(audio=0)
            if packet.size
        ]


@pytest.mark.parametrize("name", ["h264_aac.mp4", "sample_fragmented.mp4", "no_duration.webm"])
def test_sound_is_copied_packet_by_packet(tmp_path: Path, shared: Path, name: str) -> None:
    source, output = shared / "data/media/video_odd" / name, tmp_path / "a.mp4"
    with VideoReader(source) as reader:
        times = [frame.time or 0.0 for frame in reader]
        writer = _write(output, times, rate=reader.rate, audio_from=source)
    before, after = _sound(source), _sound(output)
    assert len(before) > 10
    assert [data for _, data in after] == [data for _, data in before]
    assert [time for time, _ in after] == pytest.approx([t for t, _ in before], abs=1e-4)
    frames, _ = _read(output)
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1.2e-5)
    assert writer.dropped_audio == []


def test_sound_is_written_while_the_video_is(tmp_path: Path, shared: Path) -> None:
    source = shared / "data/media/video_people/plaza.mp4"
    with VideoWriter(tmp_path / "a.mp4", size=SIZE, rate=Fraction(25), audio_from=source) as writer:
        for number in range(200):
            writer.write(_picture(number), number / 25)
    sizes, at = {"video": [], "audio": []}, 0
    with av.open(str(tmp_path / "a.mp4")) as container:
        for at, packet in enumerate(sorted(_packets(container), key=lambda p: p.pos or 0)):
            sizes[packet.stream.type].append(at)
    assert at > 400
    # interleaved in the file: half of the video comes neither before nor after all of the sound
    middle = sizes["video"][100]
    before = sum(position < middle for position in sizes["audio"])
    assert 0.1 < before / len(sizes["audio"]) < 0.6


def _packets(container: av.container.InputContainer) -> Iterator[av.Packet]:
    return (packet for packet in container.demux() if packet.size)


def test_sound_that_mp4_cannot_hold_is_named(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("wmav2", rate=44100)
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 2048), np.float32), "fltp", "stereo")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    writer = _write(tmp_path / "a.mp4", [0.0, 0.1], audio_from=tmp_path / "a.avi")
    assert writer.dropped_audio == ["MP4 cannot hold wmav2 sound"]
    assert len(_read(tmp_path / "a.mp4")[0]) == 2


def test_times_that_do_not_grow_are_moved(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.04, 0.08, 0.0, 0.04, 0.08]
    writer = _write(tmp_path / "a.mp4", times, rate=Fraction(25))
    frames, _ = _read(tmp_path / "a.mp4")
    tick = float(writer.time_base)
    want = [0.0, 0.04, 0.04 + tick, 0.08, 0.12, 0.16, 0.2]
    assert [frame.time for frame in frames] == pytest.approx(want, abs=1e-9)
    assert writer.moved == 2


def test_times_before_zero_shift_all(tmp_path: Path) -> None:
    _write(tmp_path / "a.mp4", [-0.5, -0.4, 0.0, 0.1])
    frames, _ = _read(tmp_path / "a.mp4")
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.5, 0.6], abs=1e-9)


def test_pictures_of_another_size_are_scaled(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", size=SIZE, rate=Fraction(25)) as writer:
        writer.write(_picture(5), 0.0)
        writer.write(np.kron(_picture(9), np.ones((2, 2, 1), np.uint8)), 0.04)
    frames, _ = _read(tmp_path / "a.mp4")
    assert [(frame.size, _number(frame.image)) for frame in frames] == [(SIZE, 5), (SIZE, 9)]


@pytest.mark.parametrize("error", [RuntimeError("model failed"), KeyboardInterrupt()])
def test_an_error_in_the_block_leaves_no_file(tmp_path: Path, error: BaseException) -> None:
    def interrupted() -> None:
        with VideoWriter(tmp_path / "a.mp4", size=SIZE, rate=Fraction(25)) as writer:
            writer.write(_picture(0), 0.0)
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_no_frames_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no frames"):
        _write(tmp_path / "a.mp4", [])
    assert os.listdir(tmp_path) == []


def test_an_existing_output_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"precious")
    with pytest.raises(OutputError, match="already exists"):
        _write(tmp_path / "a.mp4", [0.0])
    assert (tmp_path / "a.mp4").read_bytes() == b"precious"
    _write(tmp_path / "a.mp4", [0.0], force=True)
    assert len(_read(tmp_path / "a.mp4")[0]) == 1


@pytest.mark.parametrize("how", ["inputs", "audio_from"])
def test_the_input_is_never_the_output(tmp_path: Path, how: str) -> None:
    source = tmp_path / "in.mp4"
    _write(source, [0.0, 0.1])
    before = source.read_bytes()
    (tmp_path / "twin.mp4").hardlink_to(source)
    given = {"inputs": [source]} if how == "inputs" else {"audio_from": source}
    for output in (source, tmp_path / "twin.mp4"):
        with pytest.raises(OutputError, match="is the input"):
            _write(output, [0.0], force=True, **given)
    assert source.read_bytes() == before


def test_disk_full_leaves_no_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)

    def fill() -> None:
        with VideoWriter(tmp_path / "a.mp4", size=SIZE, rate=Fraction(25)) as writer:
            for number in range(200):
                writer.write(np.roll(noise, number * 7, axis=1), number / 25)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"a\.mp4.*cannot be written"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


KILLED = """
import sys, os, signal
from fractions import Fraction
from pathlib import Path
import numpy as np
from hrpose.media.video_writer import VideoWriter
from hrpose.types import Size
noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
with VideoWriter(Path(sys.argv[1]), size=Size(96, 64), rate=Fraction(30)) as writer:
    for number in range(150):
        writer.write(np.roll(noise, number * 7, axis=1), number / 30)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_no_final_file_but_a_playable_part(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    command = [sys.executable, "-c", KILLED, str(target)]
    done = subprocess.run(command, check=False, timeout=60, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    (part,) = tmp_path.iterdir()
    assert part.name.startswith(".a.mp4.")
    assert part.name.endswith(".part.mp4")
    frames, _ = _read(part)
    assert 90 <= len(frames) < 150  # at most 60 lost
    assert [f.time for f in frames] == pytest.approx([i / 30 for i in range(len(frames))], abs=1e-5)


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
        _write(tmp_path / "a.mp4", [0.0], **options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("image", "time"),
    [
        (np.zeros((64, 96), np.uint8), 0.0),
        (np.zeros((64, 96, 3), np.float32), 0.0),
        (np.zeros((64, 96, 3), np.uint8), float("nan")),
    ],
)
def test_pictures_are_checked(tmp_path: Path, image: NDArray[np.uint8], time: float) -> None:
    with (
        pytest.raises(ValueError, match="expected"),
        VideoWriter(tmp_path / "a.mp4", size=SIZE, rate=Fraction(25)) as writer,
    ):
        writer.write(image, time)
    assert os.listdir(tmp_path) == []


def test_too_large_for_the_encoder_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="20000 x 2"),
        VideoWriter(tmp_path / "a.mp4", size=Size(20_000, 2), rate=Fraction(25)) as writer,
    ):
        writer.write(np.zeros((2, 20_000, 3), np.uint8), 0.0)
    assert os.listdir(tmp_path) == []


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    _write(tmp_path / "a.mp4", [0.0, 0.1, 0.2])
    cover = tmp_path / "cover.mp4"
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(cover), "w") as target:
        art = target.add_stream("mjpeg", rate=25)
        art.width, art.height, art.pix_fmt = 32, 32, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic
        video = target.add_stream_from_template(source.streams.video[0])
        black = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        target.mux(art.encode(black))
        target.mux(art.encode(None))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                target.mux(packet)
    frames, _ = _read(cover)
    assert [frame.size for frame in frames] == [SIZE] * 3


def test_frames_without_times_follow_the_rate(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.h264"), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(_picture(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames, report = _read(tmp_path / "a.h264")
    assert [_number(frame.image) for frame in frames] == list(range(30))
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(30)])
    assert report.declared is None


def test_large_frames_are_refused_by_the_header(tmp_path: Path) -> None:
    _write(tmp_path / "a.mp4", [0.0])
    with pytest.raises(BadVideo, match="96 x 64"):
        VideoReader(tmp_path / "a.mp4", max_pixels=96 * 64 - 1)
    VideoReader(tmp_path / "a.mp4", max_pixels=96 * 64).close()


def test_names_are_names_not_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "a.mp4", [0.0])
    monkeypatch.chdir(tmp_path)
    for name in ("a:b.mp4", "http:x.mp4", "-dash.mp4", "100%d.mp4", os.fsdecode(b"caf\xe9.mp4")):
        os.link("a.mp4", name)
        with VideoReader(name) as reader:
            assert next(iter(reader)).source == name
    _write(Path("concat:out.mp4"), [0.0])
    assert (tmp_path / "concat:out.mp4").stat().st_size > 0


def test_a_playlist_reaches_neither_the_network_nor_files(tmp_path: Path) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    _write(tmp_path / "a.mp4", [0.0])
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            for entry in (f"http://127.0.0.1:{server.server_port}/x.ts", "a.mp4"):
                text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{entry}\n#EXT-X-ENDLIST\n"
                for content in (text, f"ffconcat version 1.0\nfile {entry}\n"):
                    (tmp_path / "list.mp4").write_text(content)
                    with pytest.raises(BadVideo, match=r"list\.mp4: not a video file"):
                        VideoReader(tmp_path / "list.mp4")
        finally:
            server.shutdown()
            thread.join()
    assert asked == []


def test_a_closed_reader_gives_nothing_more(tmp_path: Path) -> None:
    _write(tmp_path / "a.mp4", [0.0, 0.1, 0.2])
    reader = VideoReader(tmp_path / "a.mp4")
    frames = iter(reader)
    assert next(frames).time == 0.0
    reader.close()
    reader.close()
    assert list(frames) == []
    assert list(reader) == []


def test_a_second_loop_goes_on(tmp_path: Path) -> None:
    _write(tmp_path / "a.mp4", [0.0, 0.1, 0.2])
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert next(iter(reader)).index == 0
        assert [frame.index for frame in reader] == [1, 2]


def test_garbage_in_the_middle_is_counted_and_passed_over(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuvj420p"
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(_picture(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(tmp_path / "a.avi")) as container:
        hit = [p for p in container.demux(video=0) if p.size][20]
        start, length = hit.pos, hit.size
    data = bytearray((tmp_path / "a.avi").read_bytes())
    data[start + 8 : start + length] = bytes(length - 8)
    (tmp_path / "b.avi").write_bytes(data)
    frames, report = _read(tmp_path / "b.avi")
    numbers = [_number(frame.image) for frame in frames]
    assert numbers == [n for n in range(40) if n != 20]
    assert report.undecodable == 1
    assert "1 packets undecodable" in str(report)
