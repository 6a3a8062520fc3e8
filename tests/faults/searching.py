"""A small search for tests that break it on purpose, and what one is that nobody disturbs."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import yaml

from tests.conftest import start_command

MINUTES = 10 * 60


def command(
    folder: Path, store: Path, name: str, space: dict[str, Any], replicates: int | Literal["auto"] = 0
) -> list[str]:
    """The arguments of a search of `space` in `folder`."""
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({**space, "name": name}), encoding="utf-8")
    words = ["--space", f"{name}.yaml", "--store", store, "--name", name, "--runs", ".", "--concurrent", 1]
    words += ["--replicates", replicates]
    return [*map(str, words)]


def begin(
    folder: Path, store: Path, name: str, space: dict[str, Any], replicates: int | Literal["auto"] = 0
) -> subprocess.Popen[str]:
    """Begins a search by one worker, whose run directory is `folder / name`, in a process group of its own."""
    return start_command(folder, "search", *command(folder, store, name, space, replicates), leads=True)


def resume(run: Path, *arguments: object) -> subprocess.Popen[str]:
    """Takes it up again."""
    return start_command(run.parent, "search", "--resume", run, *arguments, leads=True)


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Waits for a search; what it said."""
    output, errors = process.communicate(timeout=MINUTES)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def reports(run: Path) -> int:
    """How many there are."""
    path = run / "reports.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits until `condition` holds; the test fails where the process ends before."""
    limit = time.monotonic() + MINUTES
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.005)
