"""Videos whose frames have their number written on them, so that a test can read off which frame it got."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]

BITS, BLOCKS = 12, 6  # of a number, and along a side of the square in the middle that they are written in


def stamped(numbers: Iterable[int], height: int = 48, width: int = 64) -> Images:
    """Frames (frames, height, width, 3), each with its number in black and white blocks, and their opposites below."""
    bits = (np.array(list(numbers))[:, None] >> np.arange(BITS)) & 1
    blocks = np.concatenate([bits, 1 - bits], axis=1).reshape(len(bits), 4, BLOCKS)
    square = np.full((len(bits), BLOCKS, BLOCKS), 0.5)
    square[:, 1:5] = blocks
    block = min(height, width) // BLOCKS
    side, grey = block * BLOCKS, np.kron(square, np.ones((block, block))) * 190 + 30
    images = np.full((len(bits), height, width, 3), 90, np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    images[:, top : top + side, left : left + side] = grey[..., None].astype(np.uint8)
    return images


def numbers_on(images: Images) -> list[int]:
    """The numbers written on frames (frames, height, width, 3), which may have any size; -1: not to be read."""
    numbers = []
    for image in images:
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        middles = ((np.arange(BLOCKS) + 0.5) * side / BLOCKS).astype(int)
        seen = image[top + middles[1:5, None], left + middles].astype(int).mean(axis=-1).reshape(2, BITS)
        bits = seen[0] > seen[1]
        sure = np.abs(seen[0] - seen[1]).min() > 60
        numbers.append(int((bits << np.arange(BITS)).sum()) if sure else -1)
    return numbers


@dataclass(frozen=True)
class Kind:
    """How a video is written.

    Attributes:
        name: file, whose ending chooses the container unless `container` does.
        codec: the encoder.
        options: of the encoder.
        container: the muxer.
        pixels: the pixel format.
        size: height and width.
        rate: frames a second.
        bit_rate: of the encoder; None: its own.
    """

    name: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)
    container: str | None = None
    pixels: str = "yuv420p"
    size: tuple[int, int] = (48, 64)
    rate: int | Fraction = 30
    bit_rate: int | None = 4_000_000


@contextmanager
def priority_kept() -> Iterator[None]:
    """Gives this process its priority back: of root, the AV1 encoder makes it a real-time one, which starves others."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def write(path: Path, kind: Kind, numbers: Sequence[int], times: Sequence[int] | None = None) -> Path:
    """Writes frames with these numbers.

    Args:
        path: the file.
        kind: how.
        numbers: of the frames.
        times: when each is shown, in units of 1 / rate; None: one after the other.
    """
    with priority_kept(), av.open(str(path), "w", format=kind.container) as container:
        stream: Any = container.add_stream(kind.codec, rate=kind.rate, options=kind.options)
        stream.height, stream.width = kind.size
        stream.pix_fmt = kind.pixels
        if kind.bit_rate:
            stream.bit_rate = kind.bit_rate
        for place, image in enumerate(stamped(numbers, *kind.size)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = place if times is None else times[place]
            frame.time_base = 1 / Fraction(kind.rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def copy_stream(source: Path, path: Path, *, start: int = 0, container: str | None = None, keep: bool = False) -> Path:
    """Copies packets without decoding, as `ffmpeg -ss ... -c copy` does.

    Args:
        source: the video.
        path: the copy.
        start: what is to be shown first, as a frame of the source: the copy begins with the key frame before it, and
            its times say that what comes before is not to be shown.
        container: the muxer; None: as the name says.
        keep: begin with the first packet, key frame or not.
    """
    with av.open(str(source)) as read, av.open(str(path), "w", format=container) as written:
        stream = read.streams.video[0]
        copied = written.add_stream_from_template(stream)
        frame = int(1 / (stream.average_rate * stream.time_base))  # type: ignore[operator]
        packets = [packet for packet in read.demux(stream) if packet.size]
        origin = min(packet.pts for packet in packets if packet.pts is not None)
        shown = origin + start * frame
        keys = [
            place
            for place, packet in enumerate(packets)
            if packet.is_keyframe and packet.pts is not None and packet.pts <= shown
        ]
        for packet in packets[0 if keep else keys[-1] :]:
            assert packet.pts is not None
            packet.pts -= shown
            if packet.dts is not None:
                packet.dts -= shown
            packet.stream = copied
            written.mux(packet)
    return path


def in_order(path: Path) -> Images:
    """All frames of a video, decoded one after the other by the plainest means there are."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
