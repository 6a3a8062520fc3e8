"""Decodes many videos in worker processes, in order, whatever happens to any of them."""

import itertools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainable.data.videos import read_clip
from trainable.data.view import View
from trainable.errors import VideoError

Decoded = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]

AHEAD = 3  # clips in flight for each worker: what bounds the memory


def decode_all(paths: Iterable[Path], view: View, workers: int) -> Iterator[Decoded | VideoError]:
    """Decodes each of `paths`, in order.

    Yields:
        Tokens and frame indices (see `read_clip`), or the error of a video that does not decode; also where it brings
        its worker process down.
    """
    remaining = iter(paths)
    pending: deque[tuple[Path, Future[Decoded]]] = deque()
    pool = _pool(workers)
    try:
        while True:
            for path in itertools.islice(remaining, workers * AHEAD - len(pending)):
                pending.append((path, _submit(pool, path, view)))
            if not pending:
                return
            path, future = pending.popleft()
            try:
                yield future.result()
            except VideoError as error:
                yield error
            except BrokenProcessPool:
                # Any clip in flight may be the one: each is tried again in a process of its own.
                suspects = [path, *(other for other, _ in pending)]
                pending.clear()
                pool.shutdown(cancel_futures=True)
                yield from (_decode_alone(suspect, view) for suspect in suspects)
                pool = _pool(workers)
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, path: Path, view: View) -> Future[Decoded]:
    try:
        return pool.submit(read_clip, path, view)
    except BrokenProcessPool as error:  # a worker died since the last clip was asked for
        failed: Future[Decoded] = Future()
        failed.set_exception(error)
        return failed


def _decode_alone(path: Path, view: View) -> Decoded | VideoError:
    with _pool(1) as pool:
        try:
            return pool.submit(read_clip, path, view).result()
        except VideoError as error:
            return error
        except BrokenProcessPool:
            return VideoError(f"{path}: the decoder crashes on it")


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: the parent has threads. A worker imports decord, numpy and Pillow, but no torch.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """In a worker: leaves when the parent has died without a word; it would wait for the next clip for ever."""

    def watch() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
