"""An open video file: its packets counted, its frames decoded in order, and what shows that it is damaged."""

import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from trainable.data.video.container import complaint_about
from trainable.errors import VideoError

MOST_KEPT = 64 * 2**20  # bytes of packets kept between counting and decoding; a larger file is read twice
LOST_SECONDS, LOST_SHARE, LOST_FRAMES = 1.0, 0.05, 2  # that a declared duration may be off by: sound, rounding
AT_A_CONSTANT_RATE: Final = frozenset({"mpeg1video", "mpeg2video", "dvvideo"})
LARGEST_GAP = 2.5  # frames between two of such a codec: a film's are shown for one and a half, in turn
# Bytes that may follow the last frame in formats that end with it: a GIF's trailer and comments.
AFTER_THE_LAST_FRAME: Final = {"gif": 1024, "dv": 0, "yuv4mpegpipe": 0}


@dataclass(frozen=True)
class Extent:
    """How much there is of a video, before it is decoded.

    Attributes:
        packets: of its video stream that have a frame to show.
        pixels: of a frame, as its container states it.
        bytes: of the file.
    """

    packets: int
    pixels: int
    bytes: int


class OpenVideo:
    """An open video file with its packets counted.

    Attributes:
        extent: how much there is of it.
    """

    def __init__(self, path: Path, container: InputContainer) -> None:
        self._path, self._container = path, container
        self._stream = _video_stream(container)
        self._lost = 0  # frames that the decoder made nothing of
        self._packets: list[av.Packet[Any]] | None = []
        self.extent = self._count()

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator["OpenVideo"]:
        """Opens a file.

        Raises:
            VideoError: it holds no video that can be decoded, or was cut short.
        """
        if complaint := complaint_about(path):
            raise VideoError(complaint)
        with _open(path) as container:
            yield cls(path, container)

    def _count(self) -> Extent:
        """Reads all packets; those of the video are kept where they are not too many."""
        shown, kept, end, last, keyed = 0, 0, -math.inf, 0, False
        times: list[int] = []
        for packet in _demux(self._container):
            if packet.pts is not None and packet.time_base:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is not self._stream:
                continue
            keyed |= packet.is_keyframe
            if packet.size:
                if packet.is_corrupt:
                    raise VideoError(f"is damaged: its packet {shown} is not whole")
                shown += keyed and not packet.is_discard
                times += [] if packet.pts is None else [packet.pts]
                kept += packet.size
                last = (packet.pos or 0) + packet.size
            if self._packets is not None:
                self._packets.append(packet)
                if kept > MOST_KEPT:
                    self._packets = None
        self._keyed, self._end = keyed, end
        self._check_times(times)
        size = self._path.stat().st_size
        if size - last > AFTER_THE_LAST_FRAME.get(self._container.format.name, size):
            raise VideoError(f"is damaged: nothing can be read after byte {last} of {size}")
        return Extent(shown, self._stream.width * self._stream.height, size)

    def _check_times(self, times: list[int]) -> None:
        """Refuses gaps in a video of a codec that shows a frame at each moment.

        Raises:
            VideoError: there is one.
        """
        rate, unit = self._stream.codec_context.framerate, self._stream.time_base
        if self._stream.codec_context.name not in AT_A_CONSTANT_RATE or not rate or not unit or len(times) < 2:
            return
        gaps = np.diff(np.sort(times)) * float(unit * rate)
        if gaps.max() > LARGEST_GAP:
            at = float(np.sort(times)[gaps.argmax()] * unit)
            raise VideoError(f"is damaged: {gaps.max() - 1:.0f} frames are missing after {at:.2f} s")

    def frames(self) -> Iterator[VideoFrame]:
        """Decodes all packets, in order.

        Raises:
            VideoError: one of them does not decode.
        """
        if self._packets is None:
            with _open(self._path) as again:
                stream = again.streams[self._stream.index]
                yield from self._decoded(packet for packet in _demux(again) if packet.stream is stream)
        else:
            self._stream.codec_context.flush_buffers()
            yield from self._decoded(self._packets)

    def _decoded(self, packets: Iterable["av.Packet[Any]"]) -> Iterator[VideoFrame]:
        # Nothing can be decoded before the first key frame; a codec without such has none marked.
        started = itertools.dropwhile(lambda packet: self._keyed and not packet.is_keyframe, packets)
        number = 0
        for packet in started:
            try:
                frames = packet.decode()
            except av.error.InvalidDataError as error:
                raise VideoError(f"does not decode: frame {number}: {error.strerror}") from error
            for frame in frames:
                if not isinstance(frame, VideoFrame):
                    continue
                if frame.is_corrupt:
                    raise VideoError(f"is damaged: frame {number} does not decode whole")
                yield frame
                number += 1
        self._lost = self.extent.packets - number

    def check(self, messages: list[tuple[int, str, str]]) -> None:
        """Refuses what FFmpeg passed over with nothing but a message, and what lacks a part of its duration.

        Args:
            messages: level, part of FFmpeg and text of each.

        Raises:
            VideoError: the container is damaged, there is less than it declares, or the decoder left out frames.
        """
        own = self._container.format.name
        if said := next((text for _, name, text in messages if name == own), ""):
            raise VideoError(f"is damaged: {said.strip()}")
        declared = (self._container.duration or 0) / av.time_base
        # Where the decoder complains, no rounding explains what is missing.
        rounding = max(LOST_SECONDS, LOST_SHARE * declared)
        tolerance = LOST_FRAMES / float(self._stream.average_rate or 1) if messages else rounding
        if math.isfinite(self._end) and self._end < declared - tolerance:
            raise VideoError(f"is damaged: it has {self._end:.2f} of {declared:.2f} s")
        if messages and self._lost > 0:
            raise VideoError(f"is damaged: {self._lost} of {self.extent.packets} frames do not decode")


def _open(path: Path) -> InputContainer:
    # By its absolute path: FFmpeg takes "12:30.webm" for a protocol. Titles may be in any encoding.
    container = av.open(str(path.absolute()), metadata_errors="replace")
    for stream in container.streams.video:
        if getattr(stream, "codec", None) is not None:  # PyAV has no such attribute where FFmpeg knows no decoder
            stream.codec_context.thread_count = 1  # the cores decode other clips
    return container


def _demux(container: InputContainer) -> Iterator["av.Packet[Any]"]:
    """Yields all packets of the streams that the header names, each stream's end among them."""
    while True:
        try:
            yield from container.demux()
        except IndexError:  # a stream that begins in the middle: PyAV knows none such, and goes on behind its packet
            continue
        return


def _video_stream(container: InputContainer) -> VideoStream:
    """Returns the stream that a player shows."""
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or getattr(stream, "codec", None) is None:
        if container.streams.video:
            raise VideoError("is of a codec that is not known")
        raise VideoError("holds no video stream")
    if stream.disposition & av.stream.Disposition.attached_pic:
        raise VideoError("holds no video stream, only a cover picture")
    return stream
