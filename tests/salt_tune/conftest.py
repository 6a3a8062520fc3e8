"""What tests of commands share: a browser, and runs: with a trial that diverges, one that fails, one in trouble."""

import json
import os
import pty
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from benchmarks.kills import kill
from tests.conftest import environment_of_commands, made_once, start_command
from tests.toy_task import SPACE

MINUTES = 10 * 60
FINAL_EPOCHS = 8
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass(frozen=True)
class Ended:
    """A command that has ended, and the run directory that it wrote."""

    path: Path
    exit_code: int
    output: str
    errors: str

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json."""
        return read_json(self.path / "summary.json")

    def trial(self, name: str) -> dict[str, Any]:
        """The entry of one trial."""
        return next(trial for trial in self.summary["trials"] if trial["id"] == name)


def read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def read_reports(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a reports.jsonl; none where it is not there."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    """Waits until `condition` holds; the test fails where the process ends before."""
    limit = time.monotonic() + MINUTES
    while not condition():
        assert process.poll() is None, "ended before it could be interrupted"
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.01)


def search(folder: Path, *arguments: object, name: str, env: dict[str, str] | None = None) -> Ended:
    """A search without replicates, unless the arguments ask for some."""
    done = start_command(folder, "search", "--replicates", 0, "--runs", folder, "--name", name, *arguments, env=env)
    output, errors = done.communicate(timeout=MINUTES)
    return Ended(folder / name, done.returncode, output, errors)


def ended_once(factory: pytest.TempPathFactory, name: str, run: Callable[[Path], Ended]) -> Ended:
    """What came of a command that one of the processes of a test session runs in a folder of that name."""

    def make(folder: Path) -> None:
        ended = asdict(run(folder))
        (folder / "ended.json").write_text(json.dumps({**ended, "path": str(ended["path"])}), encoding="utf-8")

    known = read_json(made_once(factory, name, make) / "ended.json")
    return Ended(**{**known, "path": Path(known["path"])})


@pytest.fixture(scope="session")
def mixed_run(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A search of the toy task without pruning, logged to wandb; T1 diverges."""
    points = [{"lr": 1e-3}, {"lr": 1e-3, "fate": "diverged", "at": 0.5}, {"lr": 2e-3}]
    schedule = {"scheduler": "asha", "epochs": 2, "reports": 8}
    space = {**SPACE, "parameters": {}, "start_from": points, "schedule": schedule, "trials": 3}

    def run(folder: Path) -> Ended:
        (folder / "mixed.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
        words = ("--store", folder, "--set", "schedule.scheduler=none", "--replicates", 0, "--wandb", "offline")
        # In a process of its own: forks would share, and delete, the folder in which wandb puts pictures.
        return search(folder, "--space", folder / "mixed.yaml", *words, name="mixed", env={})

    return ended_once(tmp_path_factory, "mixed", run)


@pytest.fixture(scope="session")
def failed_run(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A search of the toy task whose one trial fails."""

    def run(folder: Path) -> Ended:
        fails = {**SPACE, "parameters": {}, "start_from": [{"fate": "failed"}], "trials": 1}
        (folder / "failed.yaml").write_text(yaml.safe_dump(fails), encoding="utf-8")
        return search(folder, "--space", folder / "failed.yaml", "--store", folder, name="failed")

    return ended_once(tmp_path_factory, "failed", run)


@pytest.fixture(scope="session")
def troubled_run(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A long search of the toy task on a terminal: a trial's process is killed, comes back, and then comes Ctrl-C."""
    return ended_once(tmp_path_factory, "troubled", _trouble)


def _trouble(folder: Path) -> Ended:
    schedule = {"scheduler": "none", "epochs": 1000, "reports": 4000}
    space = {**SPACE, "fixed": {"seconds": 300.0}, "schedule": schedule, "trials": 2}
    (folder / "troubled.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    arguments = ["--space", folder / "troubled.yaml", "--store", folder, "--runs", folder, "--concurrent", 2]
    arguments += ["--replicates", 0]
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "salt_tune.search", "--name", "troubled", *map(str, arguments)],
        cwd=folder,
        env=environment_of_commands() | {"TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=_own_terminal,
    )
    os.close(theirs)
    drawn: list[bytes] = []
    reader = threading.Thread(target=_read, args=(terminal, drawn))
    reader.start()
    path = folder / "troubled"

    def reports(trial: str) -> int:
        return sum(report["trial"] == trial for report in read_reports(path / "reports.jsonl"))

    try:
        wait_for(lambda: min(reports("T0"), reports("T1")) > 5, process)
        assert kill(process, "worker")
        before = {trial: reports(trial) for trial in ("T0", "T1")}
        wait_for(lambda: min(reports(trial) - count for trial, count in before.items()) > 5, process)
        os.write(terminal, b"\x03")
        process.wait(MINUTES)
    finally:
        process.kill()
        reader.join()
        os.close(terminal)
    return Ended(path, process.returncode, b"".join(drawn).decode(), "")


def _own_terminal() -> None:
    """In the new process: its standard input becomes its terminal, so that Ctrl-C reaches all its children."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read(terminal: int, drawn: list[bytes]) -> None:
    while True:
        try:
            drawn.append(os.read(terminal, 65536))
        except OSError:  # Linux says so when the other side is closed
            return


@pytest.fixture
def threads_as_before() -> Iterator[None]:
    """A promotion takes all cores of its process, which goes on with other tests where it is that of the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def promoted(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The winner of a copy of `finished_run`, promoted for `FINAL_EPOCHS`, logged to wandb; `path` is the result."""

    def promote(folder: Path) -> Ended:
        run = shutil.copytree(finished_run, folder / "finished")
        process = start_command(run.parent, "promote", run, "--epochs", FINAL_EPOCHS, "--wandb", "offline")
        output, errors = process.communicate(timeout=MINUTES)
        best = read_json(run / "summary.json")["recommended"]
        return Ended(run / "final" / f"{best}-{FINAL_EPOCHS}epochs", process.returncode, output, errors)

    return ended_once(tmp_path_factory, "promoted", promote)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window, from the system's packages."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        # Without its sandbox it also starts as root, as in a container; it opens our own files alone.
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()
