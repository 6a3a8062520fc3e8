"""Runs the stages of a pipeline side by side, with a bounded number of items between them."""

import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _End(Generic[T]):
    error: BaseException | None = None


def ahead(items: Iterator[T], depth: int = 1) -> Generator[T, None, None]:
    """Iterates over `items` in a thread of its own, up to `depth` items ahead; its errors come out here.

    Closing the iterator that is returned (or an error of its consumer) ends the thread, which closes `items`.
    """
    waiting: queue.Queue[T | _End[T]] = queue.Queue(depth)
    abandoned = threading.Event()

    def put(item: T | _End[T]) -> None:
        while not abandoned.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put(item)
                if abandoned.is_set():
                    break
            put(_End())
        except BaseException as error:  # raised again in the consumer's thread
            put(_End(error))
        finally:
            if close := getattr(items, "close", None):
                close()

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        abandoned.set()
        thread.join()
