"""A search and a final run that go on without whatever started them: looked at, stopped, killed, and gone on with."""

import json
import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from analysis.run_directory.held import is_held
from tests.conftest import ROOT, Command, complaints, start_command
from tests.salt_tune.conftest import Ended, read_json, read_reports, wait_for
from tests.toy_task import SPACE, ToyTask, report_of

SCHEDULE = {"scheduler": "none", "epochs": 4, "reports": 16}
TOY = {**SPACE, "name": "toy", "fixed": {"seconds": 6.0}, "schedule": SCHEDULE, "trials": 4}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the test lies; whatever still runs a run there is killed after it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # detached processes import the toy task
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(TOY), encoding="utf-8")
    yield tmp_path
    for lock in tmp_path.rglob("lock"):
        if is_held(lock):
            os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)


def status(here: Command, path: Path) -> dict[str, Any]:
    done = here("status", path, "--json")
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    return dict(json.loads(done.stdout))


def process_of(run: Path) -> psutil.Process:
    return psutil.Process(json.loads((run / "lock").read_text())["pid"])


def reported(run: Path, count: int) -> None:
    """Waits for so many reports of a run that goes on by itself."""
    process = process_of(run)
    while len(read_reports(run / "reports.jsonl")) < count:
        time.sleep(0.05)
        assert process.is_running() and process.status() != psutil.STATUS_ZOMBIE, (run / "log.txt").read_text()


@pytest.mark.slow
def test_a_search_goes_on_without_its_terminal(folder: Path, here: Command) -> None:
    run = folder / "first"
    words = ("--space", folder / "toy.yaml", "--store", folder, "--runs", folder, "--name", "first", "--replicates", 0,
             "--concurrent", 2, "--detach")  # fmt: skip
    starts = start_command(folder, "search", *words)
    wait_for(lambda: bool(psutil.Process(starts.pid).children()), starts)
    children = psutil.Process(starts.pid).children()
    starts.kill()  # before the run is there
    starts.communicate()
    (searches,) = children
    while not (run / "log.txt").exists():
        time.sleep(0.05)
        assert searches.is_running()
    assert process_of(run) == searches
    reported(run, 3)

    # While it runs.
    facts = status(here, run)
    assert (facts["state"], facts["holder"]["alive"]) == ("running", True)
    assert facts["trials"]["running"] == 2 and facts["last_report"]["trial"] in ("T0", "T1")
    again = here("search", *words)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1) and f"{run}: this run exists; " in again.stderr
    again = here("search", "--resume", run)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == f"error: {run}: process {facts['holder']['pid']} runs this search; wait for it, or stop it\n"

    # Killed, and gone on with.
    stopped = here("stop", run, "--now")
    command = f"python -m salt_tune.search --resume {run}"
    assert (stopped.returncode, complaints(stopped.stderr)) == (0, "") and stopped.stdout.endswith(
        f"To go on: {command}\n"
    )
    assert status(here, run)["state"] == "killed"
    before = len(read_reports(run / "reports.jsonl"))
    resumed = here("search", "--resume", run, "--detach")
    pid = process_of(run).pid
    assert (resumed.returncode, complaints(resumed.stderr)) == (0, "")
    assert f"{run}: runs as process {pid}, without this terminal\n" in resumed.stdout
    reported(run, before + 2)

    # Stopped in order, and gone on with to the end.
    assert here("stop", run).stdout == f"{run}: process {pid} has left it\nTo go on: {command}\n"
    assert status(here, run)["state"] == "stopped"
    assert here("logs", run, "--follow").stdout.splitlines()[-1] == f"Not finished. To go on: {command}"
    assert here("search", *shlex.split(command)[3:], "--detach").returncode == 0
    told = here("logs", run, "--follow", "--lines", 3)  # until its process has ended
    assert told.returncode == 0 and "VERDICT" in told.stdout and "NEXT" in told.stdout
    assert (run / "log.txt").read_text().count("--- process ") == 3
    facts = status(here, run)
    assert (facts["state"], facts["trials"]["complete"], facts["goes_on"]) == ("finished", 4, None)
    trials = read_json(run / "summary.json")["trials"]
    losses = {
        trial["id"]: report_of(ToyTask(TOY["task"]).config(trial["config"]), 4.0, 4.0, "complete")["val_loss"]
        for trial in trials
    }
    assert facts["best"]["trial"] == min(losses, key=lambda trial: losses[trial])
    points = [(report["trial"], report["resource"]) for report in read_reports(run / "reports.jsonl")]
    assert len(points) == len(set(points)) == 4 * 16


@pytest.mark.slow  # detached processes as such: ui/test_detached.py; what is stopped and killed: test_promote.py
def test_a_final_run_goes_on_without_its_terminal(mixed_run: Ended, folder: Path, here: Command) -> None:
    run = Path(shutil.copytree(mixed_run.path, folder / "run", ignore=shutil.ignore_patterns("final")))
    summary = read_json(run / "summary.json")
    for trial in summary["trials"]:
        trial["config"]["seconds"] = 12.0
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    final, words = run / "final" / "T2-4epochs", ("--trial", "T2", "--epochs", 4)
    assert "no such trial" in here("promote", run, "--trial", "T9", "--detach").stderr
    for now in (False, True):
        done = here("promote", run, *words, "--detach")
        assert (done.returncode, complaints(done.stderr)) == (0, ""), done.stdout
        process = process_of(final)
        assert f"{final}: runs as process {process.pid}, without this terminal\n" in done.stdout
        reported(final, 1 if not now else len(read_reports(final / "reports.jsonl")) + 1)
        (listed,) = status(here, run)["finals"]
        assert (listed["state"], listed["epochs"], listed["holder"]["pid"]) == ("running", 4.0, process.pid)
        assert 0 < listed["epoch"] < 4 and listed["clips_per_second"] == 32.0 and listed["seconds_left"] > 0
        busy = here("promote", run, *words, "--detach")
        assert busy.returncode == 2 and f"process {process.pid} trains this model" in busy.stderr
        command = f"python -m salt_tune.promote {run} --trial T2 --epochs 4"
        done = here("stop", final, *(("--now",) if now else ()))
        assert done.stdout == f"{final}: process {process.pid} has left it\nTo go on: {command}\n"
        facts = status(here, final)
        assert (facts["state"], facts["goes_on"]) == ("killed" if now else "stopped", command)
        last = here("logs", final).stdout.splitlines()[-1]
        assert last.startswith("epoch " if now else "Interrupted; the same command goes on from here: ")
    assert here("promote", run, *words).returncode == 0
    facts = status(here, final)
    assert (facts["state"], facts["epoch"], facts["goes_on"]) == ("finished", 4.0, None)
    done = here("promote", run, *words, "--detach")
    assert (done.returncode, complaints(done.stderr)) == (0, "") and "nothing to do" in done.stdout
