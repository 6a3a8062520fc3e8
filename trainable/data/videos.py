"""Decodes one video file into the tokens of a view."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# PyAV must be loaded before decord: decord loads its libraries for the whole process, and a PyAV that
# comes later binds to decord's old libvpx and cannot write VP9 any more ("ABI version mismatch").
import av
import decord
import numpy as np
import numpy.typing as npt

from trainable.data.crops import CENTRE, Cut, cut_image
from trainable.data.view import View
from trainable.errors import VideoError

decord.logging.set_level(decord.logging.QUIET)

_MATROSKA: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = b"\x18\x53\x80\x67"


def read_clip(
    path: Path, view: View, cuts: Sequence[Cut] = (CENTRE,)
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Decodes the frames that a view takes of a video; decord seeks to a key frame where that saves decoding.

    Args:
        path: a video file of any container and codec that decord decodes (VP9, H.264, MPEG-4; not AV1).
        view: the frames to take, their size and how they are cut into tokens.
        cuts: where the clip is cut out of the frames (see `cuts_of`).

    Returns:
        The RGB tokens, shape (cuts, view.tokens, view.token_values), and the indices of the frames they were
        taken from, counted from the start of the video, shape (view.frames,).

    Raises:
        VideoError: the file cannot be read, is cut off, holds no video, or does not decode.
    """
    _check_container(path)
    try:
        # One thread: decord's default of all cores fails on VP9. The reader is dropped on return: it grows if kept.
        reader = decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1)
        indices = view.frame_indices(len(reader))
        taken, place = np.unique(indices, return_inverse=True)
        images = reader.get_batch(taken.tolist()).asnumpy()
    except (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError, AssertionError) as error:
        raise VideoError(f"{path}: does not decode: {_first_line(error)}") from error
    clips = (np.stack([cut_image(image, view.size, cut) for image in images])[place] for cut in cuts)
    return np.stack([view.to_tokens(clip) for clip in clips]), indices


def _check_container(path: Path) -> None:
    """Refuses what decord would report on stderr only, with a stack trace, or not at all."""
    try:
        # By its absolute path: FFmpeg takes "12:30.webm" for a protocol. Titles may be in any encoding.
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            streams = container.streams.video
            if not streams:
                raise VideoError(f"{path}: holds no video stream")
            codec = getattr(streams[0], "codec", None)  # PyAV has no such attribute where FFmpeg knows no decoder
            if codec is None:
                raise VideoError(f"{path}: is of a codec that is not known")
            if codec.canonical_name == "av1":
                raise VideoError(f"{path}: is AV1, which decord does not decode; VP9 and H.264 are fine")
        _check_complete(path)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: is not a readable video: {error.strerror}") from error


def _check_complete(path: Path) -> None:
    """Refuses a WebM or Matroska file that was cut off: it would decode as a shorter video."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.startswith(_MATROSKA):
        return
    header_size, at, _ = _ebml_size(head, len(_MATROSKA))
    at += header_size
    if head[at : at + 4] != _SEGMENT:
        return
    segment_size, at, unknown = _ebml_size(head, at + len(_SEGMENT))
    size = path.stat().st_size
    if not unknown and size < at + segment_size:
        raise VideoError(f"{path}: is cut off: it has {size} of {at + segment_size} bytes")


def _ebml_size(data: bytes, at: int) -> tuple[int, int, bool]:
    """Reads an EBML element size: its value, where the element's content starts, and whether it is left open."""
    length = 9 - data[at].bit_length()
    largest = (1 << 7 * length) - 1
    value = int.from_bytes(data[at : at + length], "big") & largest
    return value, at + length, value == largest


def _first_line(error: BaseException) -> str:
    """The message of a decord error without the times, source lines, failed checks and stack trace in it."""
    line = str(error).partition("\n")[0]
    return re.sub(r"\[[\d:]+\] \S+: (Check failed: .*\(\S+ vs\. \S+\) )?", "", line)
