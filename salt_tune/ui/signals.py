"""Ctrl-C and SIGTERM end a command within a second, whatever it is doing.

A handler in Python runs only between two steps of the interpreter. So it does not run within a long call into torch, an
import, or a wait for a thread. The command is asked to end by an exception, and a thread ends it where that does not
help. What a command writes is whole at any moment, so nothing is lost either way.
"""

import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

SECONDS = 0.7  # that a command has to end by itself

WORDS: Final = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(WORDS[signal.Signals(number)])
        self.number = number


@contextmanager
def obeyed(leave: Callable[[int], NoReturn]) -> Iterator[None]:
    """Raises `Stopped` in the main thread at Ctrl-C and SIGTERM, and ends the process where that has no effect.

    A handler that is set within the block takes over, as long as it is set. A signal that the command was started to
    ignore (nohup, a job in the background of a script) stays ignored. Does nothing in any other thread than the main
    one, which alone is told of signals.

    Args:
        leave: ends the process at once; called with the number of the signal, from another thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    heard = [number for number in WORDS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _stop) for number in heard}
    told = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    over = threading.Event()
    threading.Thread(target=_watch, args=(reader, over, leave), name="signals", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(told)
        os.close(writer)  # ends the thread
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def asked_to_stop(
    ask: Callable[[], None], stopping: Callable[[], bool], gentle: Collection[int] = (signal.SIGINT, signal.SIGTERM)
) -> Iterator[None]:
    """Lets a signal ask for an end that takes its time; a second one, or one that is not gentle, leaves at once.

    Does nothing in any other thread than the main one, as `obeyed`.

    Args:
        ask: begins the end; called in the main thread, between two steps of the interpreter.
        stopping: whether the end has begun, by a signal or otherwise.
        gentle: the signals that ask first, of Ctrl-C and SIGTERM.

    Raises:
        KeyboardInterrupt: from within the block, for a signal that leaves at once.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        if number not in gentle or stopping():
            raise KeyboardInterrupt
        ask()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in WORDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _: FrameType | None) -> None:
    raise Stopped(number)


def _watch(reader: int, over: threading.Event, leave: Callable[[int], NoReturn]) -> None:
    """Runs in a thread: the system tells it of a signal by the pipe, also while the interpreter is busy."""
    try:
        while arrived := os.read(reader, 1):
            if arrived[0] in WORDS and signal.getsignal(arrived[0]) is _stop and not over.wait(SECONDS):
                leave(arrived[0])
    finally:
        os.close(reader)
