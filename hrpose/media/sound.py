"""Sound from one file to another, packet by packet, as it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from hrpose.media.codecs import Container
from hrpose.media.container import DECODE_ERRORS

Window = tuple[float | None, float | None]

_SEARCHED_BEFORE = 3.0  # seconds: sound and pictures of one time may lie that far apart in a file
_NAMED = ("language", "title")


class SoundCopy:
    """Copies the audio packets of one file to another, in step with its pictures.

    Packets before time 0 are the run-in of an encoder, decoded and not heard. MP4 can say so of any
    codec, Matroska of some (Opus): there the others are left out, or all would move.

    Args:
        source: The file with the sound.
        target: Gets an audio stream for each of it that it can hold; not yet started.
        kind: What ``target`` is.
        window: Only packets that start in it are copied, in seconds of the source's clock. Its
            start is only a yes or no: the packets from the first picture on.
    """

    def __init__(
        self, source: InputContainer, target: OutputContainer, *, kind: Container, window: Window
    ) -> None:
        self.dropped: list[str] = []
        self._source, self._target, self._kind, self._window = source, target, kind, window
        self._streams: dict[int, AudioStream] = {}
        self._unwrap: dict[int, BitStreamFilterContext] = {}
        self._last_dts: dict[int, int] = {}
        self._offset = Fraction(0)
        self._packets: Iterator[Packet[AudioStream]] = iter(())
        self._waiting: Packet[AudioStream] | None = None
        holds = target.supported_codecs - kind.no_sound
        for stream in source.streams.audio:
            codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
            if codec in holds:
                self._streams[stream.index] = _added(target, stream)
                if codec == "aac" and not stream.codec_context.extradata:
                    # As in broadcasts, with a header (ADTS) in each packet. FFmpeg's muxer does
                    # this by itself, save with `delay_moov`, where it fails (8.1).
                    self._unwrap[stream.index] = BitStreamFilterContext("aac_adtstoasc", stream)
            else:
                self._note(f"{kind.name} cannot hold {codec} sound")

    def start(self, first: float, offset: Fraction) -> None:
        """Says when the first picture is shown; must come before :meth:`copy`.

        Args:
            first: In seconds of the source's clock.
            offset: Seconds to add to all of its times.
        """
        self._offset = offset
        if self._streams:
            begin = None if self._window[0] is None else first
            if begin is not None and begin > _SEARCHED_BEFORE:
                with suppress(*DECODE_ERRORS):  # then it is read from its beginning
                    self._source.seek(int((begin - _SEARCHED_BEFORE) * av.time_base))
            self._packets = self._read(begin)

    def copy(self, *, until: float) -> None:
        """Writes the packets that start at or before ``until`` (seconds of the target's clock)."""
        while (packet := self._waiting or next(self._packets, None)) is not None:
            self._waiting = packet
            assert packet.dts is not None  # _read saw to that
            if packet.dts * packet.time_base > until:
                return
            self._waiting = None
            self._write(packet)

    def _write(self, packet: Packet[AudioStream]) -> None:
        index, dts = packet.stream.index, packet.dts or 0
        if dts <= self._last_dts.get(index, -(2**62)):
            self._note("sound packets out of order left out")  # the muxer refuses them
            return
        self._last_dts[index] = dts
        try:
            plain = self._plain(packet, index)
        except DECODE_ERRORS:
            self._note("damaged sound packets left out")
            return
        for part in plain:
            part.stream = self._streams[index]
            self._target.mux(part)

    def _plain(self, packet: Packet[AudioStream], index: int) -> Sequence[Packet[Any]]:
        if index not in self._unwrap:
            return [packet]
        clock, parts = packet.time_base, self._unwrap[index].filter(packet)
        for part in parts:
            part.time_base = clock
        return parts

    def _read(self, begin: float | None) -> Iterator[Packet[AudioStream]]:
        """The packets of the window, with the target's times."""
        end, over = self._window[1], set()
        try:
            for packet in self._source.demux(self._chosen()):
                start = packet.pts if packet.dts is None else packet.dts
                if packet.size == 0 or start is None:
                    continue
                time = float(start * packet.time_base)
                if end is not None and time >= end:
                    over.add(packet.stream.index)
                    if over == self._streams.keys() or time > end + _SEARCHED_BEFORE:
                        return
                elif (begin is None or time >= begin) and self._fits(self._moved(packet, start)):
                    yield packet
        except DECODE_ERRORS:
            self._note("sound is damaged; copied up to there")

    def _chosen(self) -> tuple[AudioStream, ...]:
        return tuple(s for s in self._source.streams.audio if s.index in self._streams)

    def _moved(self, packet: Packet[AudioStream], dts: int) -> Packet[AudioStream]:
        ticks = round(self._offset / packet.time_base)
        packet.dts = dts + ticks
        packet.pts = None if packet.pts is None else packet.pts + ticks
        return packet

    def _fits(self, packet: Packet[AudioStream]) -> bool:
        """Whether the container can hold a packet of that time without moving all others."""
        clock, early = self._kind.time_base, -(packet.dts or 0) * packet.time_base
        if clock is None or early <= 0:
            return True
        context = packet.stream.codec_context  # its `delay` is the declared run-in, in samples
        declared = Fraction(context.delay, context.sample_rate or 1)
        return _ticks(early, clock) <= _ticks(declared, clock)

    def _note(self, text: str) -> None:
        if text not in self.dropped:
            self.dropped.append(text)


def _ticks(time: Fraction, clock: Fraction) -> int:
    return math.floor(time / clock + Fraction(1, 2))  # of positive times, as FFmpeg rounds


def _added(target: OutputContainer, stream: AudioStream) -> AudioStream:
    added = target.add_stream_from_template(stream)
    added.disposition = stream.disposition
    added.metadata.update({key: stream.metadata[key] for key in _NAMED if key in stream.metadata})
    return added
