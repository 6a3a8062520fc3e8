"""Reads a clip out of a video file: the frames that decoding in order from the start gives.

A decoder that jumps into a video gives other frames than the video's own wherever a key frame is not a clean start, or
the container's times are no numbers of frames: AVI, MPEG-TS and PS, WMV, open groups of pictures, streams that were cut
without decoding. So every packet is decoded, from the first key frame to the end. That costs no more than jumping where
a clip is short or has few key frames (`python -m benchmarks.decoding`), and it finds what is damaged anywhere.
"""

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import av
import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from trainable.data.video.container import complaint_about
from trainable.data.video.crops import CENTRE, Cut, cut_image
from trainable.data.video.view import View
from trainable.errors import VideoError

READING: Final = {"order": "decoded-in-order", "library": f"PyAV {av.__version__}"}  # as the manifest records it

MOST_KEPT = 64 * 2**20  # bytes of packets kept between counting and decoding; a larger file is read twice
LOST_SECONDS, LOST_SHARE, LOST_FRAMES = 1.0, 0.05, 2  # that a declared duration may be off by: sound, rounding
AT_A_CONSTANT_RATE: Final = frozenset({"mpeg1video", "mpeg2video", "dvvideo"})
LARGEST_GAP = 2.5  # frames between two of such a codec: a film's are shown for one and a half, in turn
LOG_LINES = 20  # kept of what a decoder says

# FFmpeg's messages go to the log of the clip, nowhere else; each by itself, not "repeated 3 more times".
av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False


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


def read_clip(
    path: Path,
    view: View,
    cuts: Sequence[Cut] = (CENTRE,),
    on_extent: Callable[[Extent], None] = lambda _: None,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Decodes the frames that a view takes of a video.

    Frames count in the order of presentation. Those that the container drops (edit lists, discard flags) do not count,
    nor what comes before the first key frame. A frame is turned as its container says.

    Args:
        path: a video file of any container and codec that FFmpeg decodes.
        view: the frames to take, their size and how they are cut into tokens.
        cuts: where the clip is cut out of the frames (see `cuts_of`).
        on_extent: told how much there is to decode, before it is decoded.

    Returns:
        The RGB tokens, shape (cuts, view.tokens, view.token_values), and the indices of the frames they were
        taken from, counted from the start of the video, shape (view.frames,).

    Raises:
        VideoError: the file cannot be read, is cut short or damaged, holds no video, or does not decode. Its `log` has
            what the decoder said.
    """
    with av.logging.Capture() as messages:
        try:
            with _Video.open(path) as video:
                on_extent(video.extent)
                video.check(messages)
                tokens, indices = _read(video, view, cuts)
                video.check(messages)
                return tokens, indices
        except VideoError as error:
            raise VideoError(f"{path}: {error}", _as_log(messages)) from error
        except MemoryError as error:
            raise VideoError(f"{path}: needs more memory to decode than it may take", _as_log(messages)) from error
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{path}: is not a readable video: {error.strerror}", _as_log(messages)) from error


def _read(video: "_Video", view: View, cuts: Sequence[Cut]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Nearly always there are as many frames as packets; where there are not, the second reading knows how many."""
    expected = video.extent.packets
    for _ in range(2):
        indices = view.frame_indices(max(expected, 1))
        wanted = set(indices.tolist())
        taken: dict[int, list[npt.NDArray[np.uint8]]] = {}
        count = 0
        for count, frame in enumerate(video.frames(), start=1):
            if count - 1 in wanted:
                image = _upright(frame)
                taken[count - 1] = [cut_image(image, view.size, cut) for cut in cuts]
        if not count:
            raise VideoError("holds no frame")
        if count == expected:
            clips = (np.stack([taken[index][number] for index in indices.tolist()]) for number in range(len(cuts)))
            return np.stack([view.to_tokens(clip) for clip in clips]), indices
        expected = count
    raise VideoError("decodes to another number of frames each time")


class _Video:
    """An open video file, whose packets have been counted.

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
    def open(cls, path: Path) -> Iterator["_Video"]:
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
        if size - last > _AFTER_THE_LAST_FRAME.get(self._container.format.name, size):
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
    """All packets of the streams that the header names, each stream's end among them."""
    while True:
        try:
            yield from container.demux()
        except IndexError:  # a stream that begins in the middle: PyAV knows none such, and goes on behind its packet
            continue
        return


def _video_stream(container: InputContainer) -> VideoStream:
    """The stream that a player shows."""
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or getattr(stream, "codec", None) is None:
        if container.streams.video:
            raise VideoError("is of a codec that is not known")
        raise VideoError("holds no video stream")
    if stream.disposition & av.stream.Disposition.attached_pic:
        raise VideoError("holds no video stream, only a cover picture")
    return stream


# Bytes that may follow the last frame in formats that end with it: a GIF's trailer and comments.
_AFTER_THE_LAST_FRAME: Final = {"gif": 1024, "dv": 0, "yuv4mpegpipe": 0}


def _upright(frame: VideoFrame) -> npt.NDArray[np.uint8]:
    """A frame in RGB, turned and mirrored as its container says, shape (height, width, 3).

    Raises:
        VideoError: it is to be turned by something else than quarters.
    """
    image = cast(npt.NDArray[np.uint8], frame.to_ndarray(format="rgb24"))
    matrix = cast("Buffer | None", frame.side_data.get("DISPLAYMATRIX"))
    if matrix is None:
        return image
    a, b, _, c, d, *_ = np.frombuffer(memoryview(matrix), np.int32) // 2**16
    # The columns of the image go along (a, b), its rows along (c, d), both in the picture that is shown.
    if (abs(a), abs(b), abs(c), abs(d)) == (0, 1, 1, 0):
        image, a, d = image.transpose(1, 0, 2), c, b
    elif (abs(a), abs(b), abs(c), abs(d)) != (1, 0, 0, 1):
        raise VideoError("is to be turned by an angle that is no multiple of 90 degrees")
    return np.ascontiguousarray(image[:: int(d), :: int(a)])


def _as_log(messages: list[tuple[int, str, str]]) -> tuple[str, ...]:
    lines = dict.fromkeys(f"{name}: {' '.join(text.split())}" for _, name, text in messages)
    return tuple(itertools.islice(lines, LOG_LINES))
