"""Commands in processes that are forked from one that has loaded what they load: seconds less of each.

The process they come from is Python's own fork server, one a test process. It has loaded other packages alone, and none
of this project: what a command does as it starts, it still does.
"""

import atexit
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

PRELOADED = (
    "scipy.stats",
    "pandas",
    "pyarrow.parquet",
    "torch",
    "timm",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.neighbors",
    "sklearn.pipeline",
    "av",
    "rich.progress",
    "click",
    "optuna",
    "ray.tune",
)


class Forked(subprocess.Popen[str]):
    """A command `python -m MODULE ARGUMENTS...` in a forked process, its output captured.

    It is used as its base is, which starts nothing here. It has no pipes, so a command that says much is not held up.

    Args:
        folder: working directory.
        module: its full name.
        arguments: of the command.
        environment: all environment variables; those that Python or a preloaded package reads as it starts have no
            effect.
        leads: whether it leads a process group of its own, as a shell has it.
    """

    def __init__(
        self,
        folder: Path,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        leads: bool = False,
    ) -> None:
        self.args = [sys.executable, "-m", module, *arguments]
        self.stdin = self.stdout = self.stderr = None
        # By name: handing over what is open takes a thread here, which tells of a process that is killed meanwhile.
        self._files = (NamedTemporaryFile(), NamedTemporaryFile())  # noqa: SIM115
        names = [file.name for file in self._files]
        target = (folder, module, [*arguments], {**environment}, leads, *names)
        self._process = fork_server().Process(target=_run, args=target)
        self._process.start()
        self.pid = self._process.pid or 0
        _begun.append(self)

    def poll(self) -> int | None:
        """Returns the exit code, minus the signal's number where one ended it; None while it runs."""
        self.returncode: int | None = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit code once it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not.
        """
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def communicate(
        self,
        input: str | None = None,  # noqa: ARG002
        timeout: float | None = None,
    ) -> tuple[str, str]:
        """Returns all that it said on standard output and error, once it has ended; it has no input."""
        self.wait(timeout)
        return tuple(map(_read, self._files))  # type: ignore[return-value]

    def send_signal(self, sig: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)


_begun: list[Forked] = []


def _end_all() -> None:
    for process in _begun:  # one that a test left would be waited for
        process.kill()


def run_forked(
    folder: Path, module: str, arguments: Sequence[str], environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Runs a `Forked` to its end, or to that of `timeout` seconds, as `subprocess.run` does.

    Raises:
        subprocess.TimeoutExpired: it was killed then.
    """
    process = Forked(folder, module, arguments, environment)
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as expired:
        process.kill()
        output, errors = process.communicate()
        raise subprocess.TimeoutExpired(process.args, timeout, output, errors) from expired
    return subprocess.CompletedProcess(process.args, process.wait(), output, errors)


@cache
def fork_server() -> ForkServerContext:
    """Returns what forks; started with a token of its own for Ray, which reads that as it is loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED])
    kept = dict(os.environ)
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    multiprocessing.forkserver.ensure_running()
    os.environ.clear()
    os.environ.update(kept)
    atexit.register(_end_all)
    return context


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _run(
    folder: Path, module: str, arguments: list[str], environment: dict[str, str], leads: bool, *files: str
) -> None:
    """Makes this process what the command's own would be, and runs it."""
    if leads:
        os.setsid()
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), number)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    os.chdir(folder)
    token = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}  # Ray has read them
    os.environ.clear()
    os.environ.update(environment | token)
    sys.path[:0] = [str(folder)]  # as -m has it
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()  # Python 3.11 leaves them out in such a process
