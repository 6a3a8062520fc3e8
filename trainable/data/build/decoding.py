"""Decodes many videos in worker processes, in order, whatever happens to any of them.

Workers share nothing with the parent but file names, going in, and uint8 clips, coming out of a bounded number of jobs.
"""

import itertools
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainable.data.build.worker_processes import Allow, JobLost, WorkerProcesses
from trainable.data.store.codecs import PixelFormat, decode_jpeg, encode_jpeg
from trainable.data.video.crops import CENTRE, Cut
from trainable.data.video.open_video import Extent
from trainable.data.video.reader import read_clip
from trainable.data.video.view import View
from trainable.errors import VideoError
from trainable.hashing import digest

AHEAD = 3  # clips in flight for each worker: what bounds the memory

# The default time limit: a share for opening, reading at a slow disk's pace, and decoding at a tenth of a slow core's.
OPENING_SECONDS = 30.0
READ_BYTES, DECODED_PIXELS = 1e6, 5e6  # a second


@dataclass(frozen=True)
class Decoders:
    """Worker processes that decode, and what one clip may take of them; a clip that takes more is skipped.

    Attributes:
        processes: how many there are at a time.
        clip_seconds: from a clip's start to its end; None: as its length and size need, ten times what a slow core
            takes and half a minute.
        clip_memory: bytes.
    """

    processes: int
    clip_seconds: float | None = None
    clip_memory: int = 4 * 2**30

    def opening_seconds(self, path: Path) -> float:
        """Returns the time limit until it is known how much there is to decode."""
        size = path.stat().st_size if path.exists() else 0
        return self.clip_seconds or OPENING_SECONDS + size / READ_BYTES

    def decoding_seconds(self, extent: Extent) -> float | None:
        """Returns the time limit for the rest; None: what is left of the one before."""
        if self.clip_seconds is not None:
            return None
        pixels = max(extent.packets, 1) * extent.pixels
        return OPENING_SECONDS + extent.bytes / READ_BYTES + pixels / DECODED_PIXELS


@dataclass(frozen=True)
class Job:
    """A video to decode.

    Attributes:
        path: the file.
        cuts: its views.
    """

    path: Path
    cuts: tuple[Cut, ...] = (CENTRE,)


@dataclass(frozen=True)
class Decoded:
    """What a worker makes of a job.

    Attributes:
        frames: indices of the frames taken, shape (frames,).
        stored: what the store keeps of each view: tokens (tokens, token values), a JPEG (n,), or nothing.
        digests: the checksum of each view as it is stored; of the tokens, where nothing is.
        pixels: what a reader of the store will see of each view: (tokens, token values); empty where not asked for.
    """

    frames: npt.NDArray[np.int64]
    stored: tuple[npt.NDArray[np.uint8], ...]
    digests: tuple[int, ...]
    pixels: tuple[npt.NDArray[np.uint8], ...]


def decode_all(
    jobs: Iterable[Job],
    view: View,
    decoders: Decoders,
    *,
    pixels: PixelFormat = "raw",
    keep_pixels: bool = True,
) -> Generator[Decoded | VideoError, None, None]:
    """Decodes each of `jobs`, in order.

    Args:
        jobs: the videos.
        view: geometry of the clips.
        decoders: processes that decode.
        pixels: how the store keeps them.
        keep_pixels: hand over the pixels as well, for a teacher to look at.

    Yields:
        What became of each, or the error of a video that does not decode; also where it brings its worker process down,
        or takes longer or more memory than it may.
    """
    remaining = iter(jobs)
    pending: deque[tuple[Job, Future[Decoded]]] = deque()
    task = _Task(view, pixels, keep_pixels, decoders)
    with WorkerProcesses(task, decoders.processes, decoders.clip_memory) as processes:
        while True:
            for job in itertools.islice(remaining, decoders.processes * AHEAD - len(pending)):
                pending.append((job, processes.submit(job, decoders.opening_seconds(job.path))))
            if not pending:
                return
            job, future = pending.popleft()
            try:
                yield future.result()
            except VideoError as error:
                yield error
            except JobLost as lost:
                yield VideoError(f"{job.path}: {lost}", lost.log)


def or_raise(result: Decoded | VideoError) -> Decoded:
    """Returns what became of a video.

    Raises:
        VideoError: it did not decode.
    """
    if isinstance(result, VideoError):
        raise result
    return result


@dataclass(frozen=True)
class _Task:
    """Decodes one video, in a worker."""

    view: View
    pixels: PixelFormat
    keep_pixels: bool
    decoders: Decoders

    def __call__(self, job: Job, allow: Allow) -> Decoded:
        def on_extent(extent: Extent) -> None:
            if (seconds := self.decoders.decoding_seconds(extent)) is not None:
                allow(seconds)

        clips, frames = read_clip(job.path, self.view, job.cuts, on_extent)
        seen: tuple[npt.NDArray[np.uint8], ...] = tuple(clips)
        if self.pixels == "jpeg":
            stored = tuple(encode_jpeg(clip, self.view) for clip in clips)
            if self.keep_pixels:  # the teacher looks at what the student will see
                seen = tuple(decode_jpeg(data, self.view) for data in stored)
            digests = tuple(map(digest, stored))
        else:
            # The same arrays twice are pickled once.
            stored = seen if self.pixels == "raw" else ()
            digests = tuple(map(digest, seen))
        return Decoded(frames, stored, digests, seen if self.keep_pixels else ())
