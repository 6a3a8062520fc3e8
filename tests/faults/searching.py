"""A small search for tests that break it on purpose, and what one is that nobody disturbs."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import yaml

from tests.conftest import ROOT

MINUTES = 10 * 60
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE", "COLUMNS": "120", "NO_COLOR": "1"}


def command(
    folder: Path, store: Path, name: str, space: dict[str, Any], replicates: int | Literal["auto"] = 0
) -> list[str]:
    """The words that begin a search of `space` in `folder`."""
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({**space, "name": name}), encoding="utf-8")
    words = ["--space", f"{name}.yaml", "--store", store, "--name", name, "--runs", ".", "--concurrent", 1]
    words += ["--replicates", replicates]
    return [sys.executable, "-m", "salt_tune.search", *map(str, words)]


def begin(
    folder: Path, store: Path, name: str, space: dict[str, Any], replicates: int | Literal["auto"] = 0
) -> subprocess.Popen[str]:
    """Begins a search by one worker, whose run directory is `folder / name`, in a process group of its own."""
    return _start(command(folder, store, name, space, replicates), folder)


def resume(run: Path, *arguments: object) -> subprocess.Popen[str]:
    """Takes it up again."""
    return _start([sys.executable, "-m", "salt_tune.search", "--resume", str(run), *map(str, arguments)], run.parent)


def _start(words: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


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
