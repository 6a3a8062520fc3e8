"""Commands that go on without a terminal: in a session of their own, watched until they have settled.

A command has settled when its run is its own, and nothing that the user asked for can be wrong any more. Until then
what it says is shown, its exit code is that of the command that started it, and Ctrl-C ends it.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from salt_tune.ui.console import Deserted, console
from salt_tune.ui.format import shell_command
from salt_tune.ui.signals import Stopped

SETTLES: Final = "SALT_TUNE_SETTLES"  # in the environment: number of the pipe that hears of it
LOOKS_UP: Final = 0.1  # seconds between looks at what it says
PIECE: Final = 2**16  # bytes

Settled = Callable[[Path, Path], None]  # called with the run, and the file where what is said goes from then on


def is_detached() -> bool:
    """Tells whether `detach` has started this process, and `settling` has not been called."""
    return SETTLES in os.environ


def detach(module: str, words: Sequence[str]) -> int:
    """Starts `python -m MODULE WORDS...` in a session of its own, and returns when it has settled or ended.

    It writes to files, not to this process: so it goes on whatever becomes of this process and of the terminal.

    Returns:
        0 once it has settled; otherwise its exit code.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM came before; it is told, too.
    """
    hears, tells = os.pipe()
    with TemporaryFile() as output, TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True,
            pass_fds=(tells,), env={**os.environ, SETTLES: str(tells)},
        )  # fmt: skip
        os.close(tells)
        relay = _Relay({output.fileno(): sys.stdout.fileno(), errors.fileno(): sys.stderr.fileno()})
        try:
            while not select.select([hears], [], [], LOOKS_UP)[0] and process.poll() is None:
                relay()
            told = os.read(hears, PIECE) if select.select([hears], [], [], 0)[0] else b""
            code = 0 if told else process.wait()
        except KeyboardInterrupt as stopped:
            process.send_signal(stopped.number if isinstance(stopped, Stopped) else signal.SIGINT)
            process.wait()
            raise
        finally:
            relay()
            os.close(hears)
    if told:
        _say_where(**json.loads(told))
    return code if code >= 0 else 128 - code


def _say_where(run: str, pid: int) -> None:
    with contextlib.suppress(Deserted):  # it goes on all the same
        console.print(f"{run}: runs as process {pid}, without this terminal")
        console.print(f"look:  {shell_command('salt_tune.status', run)}")
        console.print(f"read:  {shell_command('salt_tune.logs', run, '--follow')}")
        console.print(f"stop:  {shell_command('salt_tune.stop', run)}")


class _Relay:
    """Copies what files have got since the last call.

    Args:
        targets: of each file where to; a target that is read no more is left out.
    """

    def __init__(self, targets: dict[int, int]) -> None:
        self._targets, self._copied = targets, dict.fromkeys(targets, 0)

    def __call__(self) -> None:
        sys.stdout.flush()
        for source, target in self._targets.items():
            for piece in _pieces(source, self._copied[source]):
                self._copied[source] += len(piece)
                with contextlib.suppress(BrokenPipeError):
                    os.write(target, piece)


def _pieces(file: int, start: int = 0) -> Iterator[bytes]:
    """Yields what a file holds from `start` on."""
    while piece := os.pread(file, PIECE, start):
        start += len(piece)
        yield piece


def settling() -> Settled:
    """Returns what a command that `detach` has started calls once it has settled.

    From here on the process outlives its terminal, and what it starts does not learn of the pipe.
    """
    tells = int(os.environ.pop(SETTLES))
    os.set_inheritable(tells, False)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return partial(_settle, tells)


def stay(run: Path, log: Path) -> None:
    """Does nothing: the `Settled` of a command that stays with its terminal."""


def _settle(tells: int, run: Path, log: Path) -> None:
    """Lets what has been said, and all that will be, go to `log`; tells the process that waits."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, f"--- process {os.getpid()}, {datetime.now():%Y-%m-%d %H:%M:%S}\n".encode())
    for said in (sys.stdout.fileno(), sys.stderr.fileno()):
        for piece in _pieces(said):
            os.write(file, piece)
        os.dup2(file, said)
    os.close(file)
    with contextlib.suppress(BrokenPipeError):  # the process that started this one was killed
        os.write(tells, json.dumps({"run": str(run), "pid": os.getpid()}).encode())
    os.close(tells)
