"""Ctrl-C and SIGTERM end a command at once and in a word, whatever it is doing."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from salt_tune.ui.signals import asked_to_stop
from tests.conftest import ROOT

# A command that says when it is there; `busy` is one long call into a library, as a teacher's step is.
COMMAND = """
import signal, sys, threading, time
import click
from salt_tune.ui.console import OneLineErrors

@click.command(cls=OneLineErrors)
@click.argument("how")
def main(how):
    print("there", flush=True)
    if how == "busy":
        import ctypes
        ctypes.CDLL(None).usleep(120_000_000)  # without the interpreter's lock, deaf to handlers in Python
    elif how == "waits":
        thread = threading.Thread(target=time.sleep, args=(120,))
        thread.start()
        thread.join()
    elif how == "cleans up":
        try:
            time.sleep(120)
        finally:
            print("cleaned", flush=True)
    elif how == "says it late":  # so that both threads that end it have come to say so
        write = sys.stderr.write
        sys.stderr.write = lambda text: (time.sleep(0.5), write(text))
        try:
            time.sleep(120)
        finally:
            time.sleep(0.8)
    elif how == "own handler":
        handled = threading.Event()
        signal.signal(signal.SIGINT, lambda *_: (print("handled", flush=True), handled.set()))
        print("waits", flush=True)
        handled.wait(120)
    return 0

main()
"""

SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


def begin(*command: str, **settings: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
@pytest.mark.parametrize("how", ["busy", "waits", "cleans up", "says it late"])
def test_it_ends_soon_with_one_word(how: str, number: int, code: int, word: str) -> None:
    process = begin("-c", COMMAND, how)
    assert process.stdout is not None and process.stdout.readline() == "there\n"
    time.sleep(0.3)
    sent = time.monotonic()
    process.send_signal(number)
    output, errors = process.communicate(timeout=300)
    assert time.monotonic() - sent < 60, "it waited for what it did, which takes two minutes"
    assert (process.returncode, errors.strip()) == (code, word)
    assert output == ("cleaned\n" if how == "cleans up" else "")


def test_a_handler_of_the_command_takes_over() -> None:
    process = begin("-c", COMMAND, "own handler")
    assert process.stdout is not None and process.stdout.readline() == "there\n"
    assert process.stdout.readline() == "waits\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert (process.returncode, output, errors) == (0, "handled\n", "")


def test_what_is_to_be_ignored_is_ignored() -> None:
    """As of a job that a script has put into the background."""
    process = begin("-c", COMMAND, "own", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert process.stdout is not None and process.stdout.readline() == "there\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 0


def catches(process: subprocess.Popen[str], number: int) -> bool:
    """Tells whether a process has set a handler for a signal, from Linux's account of it."""
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.parametrize("module", ["prepare", "search", "promote"])
def test_a_command_that_still_loads_says_nothing(module: str, tmp_path: Path) -> None:
    for delay in (0, 0.3, 0.8):
        process = begin("-m", f"salt_tune.{module}", "--store", str(tmp_path / "s"), start_new_session=True)
        # Python sets its own handler before it starts to load, and tells of Ctrl-C until the package has begun.
        for pythons in (True, False):
            while process.poll() is None and catches(process, signal.SIGINT) is not pythons:
                time.sleep(0.001)
        time.sleep(delay)
        with suppress(ProcessLookupError):  # it was over before
            os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=300)
        assert process.returncode in (-signal.SIGINT, 130, 2), (delay, errors)  # 2: as above
        assert "Traceback" not in errors and "KeyboardInterrupt" not in errors, (delay, errors)


def test_the_first_signal_asks_and_the_second_leaves() -> None:
    asked: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    for number in (signal.SIGINT, signal.SIGTERM):
        asked.clear()
        with asked_to_stop(lambda: asked.append("stop"), lambda: bool(asked)):
            signal.raise_signal(number)
            assert asked == ["stop"]
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
        assert asked == ["stop"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_is_not_gentle_leaves_at_once() -> None:
    asked: list[str] = []
    with pytest.raises(KeyboardInterrupt), asked_to_stop(lambda: asked.append("x"), bool, gentle=(signal.SIGINT,)):
        signal.raise_signal(signal.SIGTERM)
    assert asked == []


def test_in_another_thread_signals_are_left_alone() -> None:
    found: list[object] = []

    def work() -> None:
        with asked_to_stop(lambda: None, lambda: False):
            found.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
