"""Decodes many videos in worker processes, in order, whatever happens to any of them.

Workers share nothing with the parent but file names, going in, and uint8 clips, coming out of a bounded number of jobs.
"""

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainable.data.codecs import PixelFormat, decode_jpeg, encode_jpeg
from trainable.data.crops import CENTRE, Cut
from trainable.data.hashing import digest
from trainable.data.videos import read_clip
from trainable.data.view import View
from trainable.errors import VideoError

AHEAD = 3  # clips in flight for each worker: what bounds the memory


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
    jobs: Iterable[Job], view: View, workers: int, *, pixels: PixelFormat = "raw", keep_pixels: bool = True
) -> Iterator[Decoded | VideoError]:
    """Decodes each of `jobs`, in order.

    Args:
        jobs: the videos.
        view: geometry of the clips.
        workers: processes that decode.
        pixels: how the store keeps them.
        keep_pixels: hand over the pixels as well, for a teacher to look at.

    Yields:
        What became of each, or the error of a video that does not decode; also where it brings its worker process down.
    """
    task = _Task(view, pixels, keep_pixels)
    remaining = iter(jobs)
    pending: deque[tuple[Job, Future[Decoded]]] = deque()
    pool = _pool(workers)
    try:
        while True:
            for job in itertools.islice(remaining, workers * AHEAD - len(pending)):
                pending.append((job, _submit(pool, task, job)))
            if not pending:
                return
            job, future = pending.popleft()
            try:
                yield future.result()
            except VideoError as error:
                yield error
            except BrokenProcessPool:
                # Any clip in flight may be the one: each is tried again in a process of its own.
                suspects = [job, *(other for other, _ in pending)]
                pending.clear()
                pool.shutdown(cancel_futures=True)
                yield from (_decode_alone(task, suspect) for suspect in suspects)
                pool = _pool(workers)
    finally:
        pool.shutdown(cancel_futures=True)


def or_raise(result: Decoded | VideoError) -> Decoded:
    """What became of a video.

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

    def __call__(self, job: Job) -> Decoded:
        clips, frames = read_clip(job.path, self.view, job.cuts)
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


def _submit(pool: ProcessPoolExecutor, task: _Task, job: Job) -> Future[Decoded]:
    # A worker that starts inherits that Ctrl-C waits, until it ignores it: it would end with a traceback before.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(task, job)
    except BrokenProcessPool as error:  # a worker died since the last clip was asked for
        failed: Future[Decoded] = Future()
        failed.set_exception(error)
        return failed
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _decode_alone(task: _Task, job: Job) -> Decoded | VideoError:
    with _pool(1) as pool:
        try:
            return _submit(pool, task, job).result()
        except VideoError as error:
            return error
        except BrokenProcessPool:
            return VideoError(f"{job.path}: the decoder crashes on it")


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: the parent has threads. A worker imports decord, numpy and Pillow, but no torch.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_follow_parent)


def _follow_parent() -> None:
    """In a worker: leaves Ctrl-C to the parent, and leaves when that has died without a word."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
