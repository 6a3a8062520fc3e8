"""A search that is killed and interrupted in all ways, and resumed, is the one that nobody disturbed."""

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from benchmarks.kills import SPACE, course, kill
from tests import toy_task
from tests.conftest import complaints, made_once
from tests.faults.searching import MINUTES, begin, ended, reports, resume, wait_until

SCHEDULE = {"scheduler": "freeze_thaw", "epochs": 2, "first_rung": 0.5, "reports": 4}
TPE = {"searcher": "tpe", "schedule": SCHEDULE}
SEARCHES: dict[str, dict[str, Any]] = {
    "salt": {**SPACE, **TPE},
    "toy": {**toy_task.SPACE, **TPE, "fixed": {"seconds": 0.5}},
}
REPLICATES: dict[str, Literal["auto", 0]] = {"salt": 0, "toy": "auto"}
HINT = "To go on: python -m salt_tune.search --resume "

Begin = Callable[[Path], subprocess.Popen[str]]


def undisturbed(task: str, store: Path, factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the search comes to that nobody disturbs."""

    def search(folder: Path) -> None:
        done = ended(begin(folder, store, "whole", SEARCHES[task], REPLICATES[task]))
        assert (done.returncode, complaints(done.stderr)) == (0, ""), done.stdout

    found = course(made_once(factory, f"undisturbed-{task}", search) / "whole")
    assert found["trained more than once"] == []
    assert found["checkpoints"] == sorted(f"{trial}.safetensors" for trial in found["tied"])
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


# How the sessions of one search end, one after the other. That trials of SALT come to the same after a kill, by default
# contracts/test_tasks.py shows.
COURSES = [
    pytest.param("toy", ("worker", "interrupt", "everything")),
    pytest.param("salt", ("worker", "interrupt", "everything"), marks=pytest.mark.slow),
    pytest.param("salt", ("driver", "interrupt twice", "terminate"), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("task", "course_of_ends"), COURSES, ids=str)
def test_it_is_killed_and_interrupted_and_resumed(
    store_path: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    ends: Callable[[subprocess.Popen[str]], subprocess.Popen[str]],
    task: str,
    course_of_ends: tuple[str, ...],
) -> None:
    expected = undisturbed(task, store_path, tmp_path_factory)
    run, draw = tmp_path / "broken", random.Random(4)  # noqa: S311

    def one_more(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        """Lets a search come to a report of its own, and some way beyond."""
        before = reports(run)
        wait_until(lambda: reports(run) > before, process)
        time.sleep(draw.uniform(0, 0.4))
        return process

    process = ends(begin(tmp_path, store_path, "broken", SEARCHES[task], REPLICATES[task]))
    for how in course_of_ends:
        one_more(process)
        if how in ("worker", "driver", "everything"):
            assert kill(process, how)
            if how == "worker":  # the search goes on by itself
                continue
            ended(process)
        else:
            assert_interrupted(process, how, run)
        process = ends(resume(run))
    done = ended(process)
    assert (done.returncode, complaints(done.stderr)) == (0, ""), done.stdout
    assert course(run) == expected


def assert_interrupted(process: subprocess.Popen[str], how: str, run: Path) -> None:
    """Sends signals to a search; it must end as asked, and say how to go on."""
    number = signal.SIGTERM if how == "terminate" else signal.SIGINT
    for _ in range(2 if how == "interrupt twice" else 1):
        process.send_signal(number)
        time.sleep(0.05)
    done = ended(process)
    assert done.returncode == 130, done.stdout
    if how == "interrupt twice":  # it leaves at once
        assert "Traceback" not in done.stderr
        return
    assert (complaints(done.stderr), done.stdout.endswith(f"{HINT}{run}\n")) == ("", True), done.stdout
    summary = json.loads((run / "summary.json").read_text())
    assert not {"running", "paused", "failed"} & {trial["state"] for trial in summary["trials"]}


@pytest.mark.slow  # failed_run has no winner either; test_native_search.py and test_search_goes_on.py extend a search
def test_all_diverge_and_it_is_extended(store_path: Path, tmp_path: Path) -> None:
    lost = {**SPACE, "start_from": [{"lr": 1e30, "predictor_depth": 1}], "trials": 1, "searcher": "random"}
    done = ended(begin(tmp_path, store_path, "lost", lost))
    assert (done.returncode, complaints(done.stderr)) == (1, ""), done.stdout
    assert "No trial finished" in done.stdout
    summary = json.loads((tmp_path / "lost" / "summary.json").read_text())
    assert (summary["best"], [trial["state"] for trial in summary["trials"]]) == (None, ["diverged"])
    assert list((tmp_path / "lost" / "checkpoints").iterdir()) == []
    done = ended(resume(tmp_path / "lost", "--extend", 1))
    assert (done.returncode, complaints(done.stderr)) == (0, ""), done.stdout
    summary = json.loads((tmp_path / "lost" / "summary.json").read_text())
    assert (summary["best"], [trial["state"] for trial in summary["trials"]]) == ("T1", ["diverged", "complete"])
