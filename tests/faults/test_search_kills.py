"""A search that is killed and interrupted in all ways, and resumed, is the one that nobody disturbed."""

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kills import course, kill
from tests.faults.searching import MINUTES, begin, ended, reports, resume, wait_until

SCHEDULE = {"scheduler": "freeze_thaw", "epochs": 2, "first_rung": 0.5, "reports": 4}
TPE = {"searcher": "tpe", "schedule": SCHEDULE}
HINT = "To go on: python -m salt_tune.search --resume "

Begin = Callable[[Path], subprocess.Popen[str]]


@pytest.fixture(scope="session")
def undisturbed(store_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the search comes to that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = ended(begin(folder, store_path, "whole", **TPE))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    found = course(folder / "whole")
    assert found["trained more than once"] == []
    assert found["checkpoints"] == [f"{found['winner']}.safetensors"]
    return found


@pytest.fixture
def ends() -> Iterator[Callable[[subprocess.Popen[str]], subprocess.Popen[str]]]:
    """Kills what still runs after the test."""
    running: list[subprocess.Popen[str]] = []

    def remember(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        running.append(process)
        return process

    yield remember
    for process in running:
        if process.poll() is None:
            kill(process, "everything")
        process.communicate(timeout=MINUTES)


def test_it_is_killed_and_interrupted_and_resumed(
    undisturbed: dict[str, Any],
    store_path: Path,
    tmp_path: Path,
    ends: Callable[[subprocess.Popen[str]], subprocess.Popen[str]],
) -> None:
    run, draw = tmp_path / "broken", random.Random(4)  # noqa: S311

    def one_more(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        """Lets a search come to a report of its own, and some way beyond."""
        before = reports(run)
        wait_until(lambda: reports(run) > before, process)
        time.sleep(draw.uniform(0, 0.4))
        return process

    process = one_more(ends(begin(tmp_path, store_path, "broken", **TPE)))
    assert kill(process, "worker")
    one_more(process).send_signal(signal.SIGINT)
    done = ended(process)
    assert (done.returncode, done.stderr) == (130, ""), done.stdout
    assert done.stdout.endswith(f"{HINT}{run}\n")
    summary = json.loads((run / "summary.json").read_text())
    assert not {"running", "paused", "failed"} & {trial["state"] for trial in summary["trials"]}
    for kind in ("everything", "driver"):
        process = one_more(ends(resume(run)))
        assert kill(process, kind)
        ended(process)
    process = one_more(ends(resume(run)))
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    done = ended(process)
    assert done.returncode == 130, done.stdout
    assert "Traceback" not in done.stderr
    process = one_more(ends(resume(run)))
    process.terminate()
    done = ended(process)
    assert (done.returncode, done.stderr) == (130, ""), done.stdout
    assert f"{HINT}{run}" in done.stdout
    done = ended(ends(resume(run)))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert course(run) == undisturbed


def test_all_diverge_and_it_is_extended(store_path: Path, tmp_path: Path) -> None:
    lost = {"start_from": [{"lr": 1e30, "predictor_depth": 1}], "trials": 1, "searcher": "random"}
    done = ended(begin(tmp_path, store_path, "lost", **lost))
    assert (done.returncode, done.stderr) == (1, ""), done.stdout
    assert "No trial finished" in done.stdout
    summary = json.loads((tmp_path / "lost" / "summary.json").read_text())
    assert (summary["best"], [trial["state"] for trial in summary["trials"]]) == (None, ["diverged"])
    assert list((tmp_path / "lost" / "checkpoints").iterdir()) == []
    done = ended(resume(tmp_path / "lost", "--extend", 1))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    summary = json.loads((tmp_path / "lost" / "summary.json").read_text())
    assert (summary["best"], [trial["state"] for trial in summary["trials"]]) == ("T1", ["diverged", "complete"])
