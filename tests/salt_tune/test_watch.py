"""What is kept up of a run that another process runs: lines where it is piped, until nothing runs any more."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory
from salt_tune.space.description import describe
from tests.conftest import ROOT, Command
from tests.salt_tune.controlled import World
from tests.salt_tune.made_trials import BASELINES, make_space
from tests.salt_tune.watching import held

WORLD = World(make_space(trials=6, schedule={"scheduler": "asha", "epochs": 3, "rungs": [0.5, 1], "reports": 6}))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A search that has just begun."""
    begun = RunDirectory(tmp_path / "run \U0001f600 [bold]")
    begun.path.mkdir()
    asked = {"format_version": FORMAT_VERSION, "baselines": BASELINES, "seed": 0, "store": {"path": "/s"}, "asked": 6}
    begun.manifest.write_text(json.dumps({**asked, **describe(WORLD.space)}))
    WORLD.run(WORLD.controller(begun.path), reports=1)
    return begun


def test_each_change_is_a_line_until_nothing_runs(run: RunDirectory) -> None:
    words = [sys.executable, "-m", "salt_tune.watch", str(run.path), "--every", "0.1"]
    with held(run.lock) as holder:
        with subprocess.Popen([*words, "--json-lines"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            first = json.loads(watching.stdout.readline())
            WORLD.run(WORLD.controller(run.path), reports=2)
            second = json.loads(watching.stdout.readline())
            threading.Timer(0.2, holder.kill).start()
            last = [json.loads(line) for line in watching.stdout][-1]
        assert watching.returncode == 0
    assert (first["state"], second["state"], last["state"]) == ("running", "running", "killed")
    assert second["spent"]["trained"] > first["spent"]["trained"] == 0.5


def test_a_run_that_is_not_running_is_said_once(run: RunDirectory, here: Command) -> None:
    done = here("watch", run.path)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    assert "run \U0001f600 [bold] stopped; 1 of 6 begun: " in done.stdout and "best T0  val_loss " in done.stdout


def test_an_empty_run_and_a_folder_that_is_none(run: RunDirectory, here: Command) -> None:
    run.decisions.unlink()
    run.reports.unlink()
    assert "stopped; 0 of 6 begun\n" in here("watch", run.path).stdout
    assert "best    none yet\n" in here("status", run.path).stdout
    done = here("watch", run.path / "nowhere")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
