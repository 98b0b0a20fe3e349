"""Compressed packets of one video stream: all of them, or from the last useful key frame on.

A frame needs the key frame before it and everything between. What comes earlier need not be
decoded, so a span is found in one of two ways: by the index of the container, or by reading on
without decoding. Both end at packets, not at frames; the reader checks what comes out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeAlias, cast

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from hrpose.media.container import DECODE_ERRORS

_MAX_FAILED_READS = 64  # in a row; then the rest of the file is given up
_PATIENCE, _PAUSE = 10.0, 0.005  # seconds that a camera may stay silent, and between two looks
_MAX_HELD_BYTES = 64 << 20
# Containers with an index of key frames and times that only grow.
_INDEXED = frozenset({"mov", "matroska"})
_STEPS_BACK = 8

VideoPacket: TypeAlias = "Packet[VideoStream]"  # generic for type checkers only


class Packets:
    """Reads packets on and on, over places that cannot be read.

    Attributes:
        unreadable: Places that gave an error.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, *, live: bool) -> None:
        self._container, self._stream, self._live = container, stream, live
        self.unreadable = 0

    def __iter__(self) -> Iterator[VideoPacket]:
        """All packets from here on, the empty one that flushes the decoder last."""
        failed, silent_since = 0, None
        while failed < _MAX_FAILED_READS:
            try:
                for packet in self._container.demux(self._stream):
                    failed, silent_since = 0, None
                    yield packet
                return
            except BlockingIOError:
                if self._live:  # a camera without a new picture
                    now = time.monotonic()
                    silent_since = silent_since or now
                    if now - silent_since > _PATIENCE:
                        break
                    time.sleep(_PAUSE)
                else:  # a demuxer that has met rubbish it can skip
                    failed += 1
            except DECODE_ERRORS:
                failed += 1
                self.unreadable += 1
                if self._live:  # the connection is gone
                    break
        self.unreadable += not self._live
        yield cast("VideoPacket", Packet())

    def seek(self, tick: int) -> Iterator[VideoPacket] | None:
        """Packets from a key frame on that is shown at ``tick`` or before; None: not to be found.

        Indexes hold decoding times, and with B-frames a key frame is shown later than that, hence
        the steps back.
        """
        target = tick
        for step in range(_STEPS_BACK):
            try:
                self._container.seek(target, stream=self._stream)
            except DECODE_ERRORS:
                return None
            packets = iter(self)
            first = next(packets)
            if first.pts is None or not first.is_keyframe:
                return None
            if first.pts <= tick:
                return chain([first], packets)
            earlier = first.pts if first.dts is None else min(first.pts, first.dts)
            target = min(earlier, target) - 2**step
        return None


def is_indexed(container: InputContainer) -> bool:
    """Whether seeking in such a container can be relied on."""
    return not _INDEXED.isdisjoint(container.format.name.split(","))


def from_key_frame(
    packets: Iterator[VideoPacket], is_early: Callable[[int], bool]
) -> Iterator[VideoPacket]:
    """Passes over the packets that no frame from a certain time on needs.

    Args:
        packets: In decoding order; the first should be a key frame's.
        is_early: Whether a presentation time, in ticks, lies before that time.

    Yields:
        From the last key frame before the first packet that is not early, or has no time.
    """
    held: list[VideoPacket] = []
    size = 0
    for packet in packets:
        if packet.is_keyframe and packet.pts is not None and is_early(packet.pts):
            held.clear()
            size = 0
        held.append(packet)
        size += packet.size
        if packet.pts is None or not is_early(packet.pts) or size > _MAX_HELD_BYTES:
            break
    while held:
        yield held.pop(0)
    yield from packets
