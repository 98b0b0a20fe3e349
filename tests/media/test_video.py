"""Generated clips whose right answer is known: what is read, what is refused, what is told."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from hrpose.errors import BadVideo
from hrpose.media.video import VideoReader
from hrpose.options import Span
from hrpose.types import Size

LOSSLESS = {"x264-params": "qp=4:log-level=none"}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "H.264": ("mp4", {}),
    "H.264, 10 bits": ("mp4", {"pixels": "yuv420p10le"}),
    "H.264, 10 bits, 4:2:2": ("mkv", {"pixels": "yuv422p10le"}),
    "H.264, full range": ("mp4", {"pixels": "yuvj420p"}),
    "H.264, interlaced": ("mp4", {"options": {"x264-params": "tff=1:log-level=none"}}),
    "H.264, odd size": ("mp4", {"pixels": "yuv444p", "size": Size(97, 65)}),
    "MPEG-2, interlaced": (
        "ts",
        {"codec": "mpeg2video", "options": {"flags": "+ilme+ildct", "qscale": "2"}},
    ),
    "HEVC": ("mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}),
    "HEVC, 10 bits": (
        "mkv",
        {
            "codec": "libx265",
            "pixels": "yuv420p10le",
            "options": {"x265-params": "log-level=none"},
        },
    ),
    "AV1": ("mp4", {"codec": "libsvtav1", "options": {"preset": "12"}}),
    "VP8": ("webm", {"codec": "libvpx", "options": {"b": "2M", "cpu-used": "8"}}),
    "VP9": ("webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}}),
    "MJPEG": ("avi", {"codec": "mjpeg", "pixels": "yuvj420p"}),
    "MPEG-4": ("avi", {"codec": "mpeg4"}),
    "GIF": ("gif", {"codec": "gif", "pixels": "rgb8"}),
    "FFV1": ("mkv", {"codec": "ffv1", "pixels": "yuv444p"}),
    "ProRes, interlaced": (
        "mov",
        {"codec": "prores_ks", "pixels": "yuv422p10le", "options": {"flags": "+ilme+ildct"}},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_of_every_kind(tmp_path: Path, studio: Any, kind: str) -> None:
    suffix, settings = KINDS[kind]
    path = studio.film(tmp_path / f"a.{suffix}", range(7, 19), **settings)
    with VideoReader(path) as reader:
        frames = list(reader)
        assert [studio.number(frame.image) for frame in frames] == list(range(7, 19))
        steps = np.diff([frame.time or 0 for frame in frames])
        assert steps == pytest.approx(1 / 25, abs=0.011 if suffix == "gif" else 1e-3)
        assert reader.size == settings.get("size", studio.size)
        assert not reader.report.damaged
        assert reader.full_range is ("yuvj" in settings.get("pixels", ""))
    want = studio.picture(7, reader.size)
    off = np.abs(frames[0].image.permute(1, 2, 0).numpy().astype(int) - want)
    assert off.mean() < (14 if suffix == "gif" else 6)  # of 256 colours
    interlaced = "interlaced" in kind
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame is interlaced


def test_uneven_times_are_exact(tmp_path: Path, studio: Any) -> None:
    ticks = [3, 4, 6, 7, 20, 21, 22, 31, 33, 60]
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = studio.size
        stream.codec_context.time_base = Fraction(1, 25)
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(studio.picture(number), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames, report = studio.read(tmp_path / "a.mp4")
    assert [frame.time for frame in frames] == [tick / 25 for tick in ticks]
    assert [studio.number(frame.image) for frame in frames] == list(range(10))
    assert [frame.index for frame in frames] == list(range(10))
    assert (report.decoded, report.declared, report.damaged) == (10, 10, False)
    assert [str(event) for event in report.events] == ["frame 9: no frame from 1.320 s to 2.400 s"]


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_rotation_is_applied(tmp_path: Path, studio: Any, degrees: int) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = studio.size
        stream.set_display_rotation(degrees)
        picture = av.VideoFrame.from_ndarray(studio.picture(0), format="rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    (frame,), _ = studio.read(tmp_path / "a.mp4")
    want = np.rot90(studio.picture(0), degrees // 90)  # counter-clockwise
    assert frame.size == want.shape[1::-1]
    assert np.abs(frame.image.permute(1, 2, 0).numpy().astype(int) - want).mean() < 6


def test_a_cover_picture_is_not_the_video(tmp_path: Path, studio: Any) -> None:
    clip = studio.film(tmp_path / "a.mp4", range(3))
    cover = tmp_path / "cover.mp4"
    with av.open(str(clip)) as source, av.open(str(cover), "w") as target:
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
    assert studio.numbers(cover) == [0, 1, 2]
    assert {frame.size for frame in studio.read(cover)[0]} == {studio.size}


def test_frames_without_times_follow_the_rate(tmp_path: Path, studio: Any) -> None:
    path = studio.film(tmp_path / "a.h264", range(12))
    frames, report = studio.read(path)
    assert [studio.number(frame.image) for frame in frames] == list(range(12))
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(12)])
    assert report.declared is None


def test_a_change_of_size_and_a_new_beginning_are_told(tmp_path: Path, studio: Any) -> None:
    small = studio.film(tmp_path / "a.ts", range(5))
    large = studio.film(tmp_path / "b.ts", range(5, 10), size=Size(192, 128))
    joined = tmp_path / "c.ts"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    frames, report = studio.read(joined)
    assert [frame.size for frame in frames] == [(96, 64)] * 5 + [(192, 128)] * 5
    assert [(event.frame, event.kind) for event in report.events] == [(5, "size"), (5, "back")]
    assert "from 96 x 64 to 192 x 128" in report.events[0].text
    assert not report.damaged


def test_large_frames_are_refused_by_the_header(tmp_path: Path, studio: Any) -> None:
    path = studio.film(tmp_path / "a.mp4", range(1))
    with pytest.raises(BadVideo, match="96 x 64"):
        VideoReader(path, max_pixels=96 * 64 - 1)
    VideoReader(path, max_pixels=96 * 64).close()


def test_names_are_names_not_protocols(
    tmp_path: Path, studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.film(tmp_path / "a.mp4", range(1))
    monkeypatch.chdir(tmp_path)
    for name in ("a:b.mp4", "http:x.mp4", "-dash.mp4", "100%d.mp4", os.fsdecode(b"caf\xe9.mp4")):
        os.link("a.mp4", name)
        with VideoReader(name) as reader:
            assert next(iter(reader)).source == name


def test_a_playlist_reaches_neither_the_network_nor_files(tmp_path: Path, studio: Any) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    studio.film(tmp_path / "a.mp4", range(1))
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
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


def test_a_closed_reader_gives_nothing_more(tmp_path: Path, studio: Any) -> None:
    reader = VideoReader(studio.film(tmp_path / "a.mp4", range(3)))
    frames = iter(reader)
    assert next(frames).time == 0.0
    reader.close()
    reader.close()
    assert list(frames) == []
    assert list(reader) == []


def test_a_second_loop_goes_on(tmp_path: Path, studio: Any) -> None:
    with VideoReader(studio.film(tmp_path / "a.mp4", range(3))) as reader:
        assert next(iter(reader)).index == 0
        assert [frame.index for frame in reader] == [1, 2]


def test_closing_waits_for_the_thread_that_reads(tmp_path: Path, studio: Any) -> None:
    reader = VideoReader(studio.film(tmp_path / "a.mp4", range(30)))
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.extend(frame.index for frame in reader))
    thread.start()
    reader.close()  # while the other thread is somewhere in the file: no crash
    thread.join(10)
    assert seen == list(range(len(seen)))


def test_a_packet_of_garbage_is_counted_and_passed_over(tmp_path: Path, studio: Any) -> None:
    path = studio.film(tmp_path / "a.avi", range(40), codec="mjpeg", pixels="yuvj420p")
    studio.damage(path, 20)
    frames, report = studio.read(path)
    assert [studio.number(frame.image) for frame in frames] == [n for n in range(40) if n != 20]
    assert str(report) == "39 of 40 frames, 1 packets undecodable"
    assert report.error_rate == pytest.approx(1 / 40)


def test_frames_the_decoder_doubts_are_marked(tmp_path: Path, studio: Any) -> None:
    path = studio.film(tmp_path / "a.mp4", range(20), options={"g": "100", "bf": "0"})
    for packet in (5, 6, 7):
        studio.damage(path, packet)
    frames, report = studio.read(path)
    assert report.damaged
    assert report.flagged == sum(frame.damaged for frame in frames)
    assert report.flagged + report.undecodable > 0
    assert not any(frame.damaged for frame in frames if (frame.time or 0) < 5 / 25)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_clip_cut_short_misses_what_its_header_declares(
    tmp_path: Path, studio: Any, suffix: str
) -> None:
    container = {"movflags": "faststart"} if suffix == "mp4" else {}
    path = studio.film(tmp_path / f"a.{suffix}", range(100), container=container)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    frames, report = studio.read(path)
    assert report.cut_short
    assert 20 < len(frames) < 80
    assert report.expected == pytest.approx(100, abs=3)
    assert report.error_rate == pytest.approx(1 - len(frames) / 100, abs=0.03)
    assert f"{len(frames)} of " in str(report)
    assert not studio.read(path, Span(None, 0.4))[1].damaged  # that part is whole


def test_many_files_leave_nothing_behind(tmp_path: Path, studio: Any) -> None:
    path = studio.film(tmp_path / "a.mp4", range(2))
    for _ in range(20):
        with VideoReader(path) as reader:
            assert next(iter(reader)).index == 0
    del reader
    gc.collect()
    kinds = ("InputContainer", "VideoCodecContext", "VideoFrame", "VideoReader")
    left = [kind for one in gc.get_objects() if (kind := type(one).__name__) in kinds]
    assert left == []


def test_reading_holds_few_frames(tmp_path: Path, studio: Any) -> None:
    seen: list[weakref.ref[torch.Tensor]] = []
    most = 0
    with VideoReader(studio.film(tmp_path / "a.mp4", range(60))) as reader:
        for frame in reader:
            seen.append(weakref.ref(frame.image))
            most = max(most, sum(image() is not None for image in seen))
    assert len(seen) == 60
    assert most <= 3
