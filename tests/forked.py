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
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import TemporaryFile
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


def run_forked(
    folder: Path, module: str, arguments: Sequence[str], environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m MODULE ARGUMENTS...` to its end, as `subprocess.run` does with its output captured.

    Args:
        folder: working directory.
        module: its full name.
        arguments: of the command.
        environment: all environment variables; those that Python or a preloaded package reads as it starts have no
            effect.
        timeout: seconds until it is killed.

    Raises:
        subprocess.TimeoutExpired: it was.
    """
    command = [sys.executable, "-m", module, *arguments]
    with TemporaryFile() as output, TemporaryFile() as errors:
        files = [multiprocessing.reduction.DupFd(file.fileno()) for file in (output, errors)]
        process = fork_server().Process(target=_run, args=(folder, module, [*arguments], {**environment}, *files))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, timeout, _read(output), _read(errors))
        code = process.exitcode
        process.close()
        return subprocess.CompletedProcess(command, code, _read(output), _read(errors))


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
    return context


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _run(folder: Path, module: str, arguments: list[str], environment: dict[str, str], *files: object) -> None:
    """Makes this process what the command's own would be, and runs it."""
    for number, file in enumerate(files, start=1):
        os.dup2(file.detach(), number)  # type: ignore[attr-defined]
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
        atexit._run_exitfuncs()  # Python 3.11 leaves them out in such a process
