"""Reads a clip out of a video file: the frames that decoding in order from the start gives.

A decoder that jumps into a video can give other frames than the video's own. It does so wherever a key frame is not a
clean start, or the container's times are no numbers of frames. Examples are AVI, MPEG-TS and PS, WMV, open groups of
pictures, and streams that were cut without decoding. So every packet is decoded, from the first key frame to the end.
That costs no more than jumping where a clip is short or has few key frames (`python -m benchmarks.decoding`). It also
finds what is damaged anywhere.
"""

import itertools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

import av
import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.video.frame import VideoFrame

from trainable.data.video.crops import CENTRE, Cut, cut_image
from trainable.data.video.open_video import Extent, OpenVideo
from trainable.data.video.view import View
from trainable.errors import VideoError

READING: Final = {"order": "decoded-in-order", "library": f"PyAV {av.__version__}"}  # as the manifest records it

LOG_LINES = 20  # kept of what a decoder says

# FFmpeg's messages go to the log of the clip, nowhere else; each by itself, not "repeated 3 more times".
av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False


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
            with OpenVideo.open(path) as video:
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


def _read(video: OpenVideo, view: View, cuts: Sequence[Cut]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Reads a clip, a second time where there are not as many frames as packets, as seldom happens."""
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


def _upright(frame: VideoFrame) -> npt.NDArray[np.uint8]:
    """Returns a frame in RGB, turned and mirrored as its container says, shape (height, width, 3).

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
