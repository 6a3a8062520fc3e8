"""What the next search should draw from, as a command."""

import json
import shlex
from pathlib import Path

import analysis
from tests.conftest import Command
from tests.salt_tune.controlled import World
from tests.salt_tune.looking import begin_run, documented, make_run
from tests.salt_tune.made_trials import make_space


def test_its_command_takes_what_it_suggests(tmp_path: Path, here: Command) -> None:
    lr = {"type": "log_uniform", "low": 9e-4, "high": 1e-1}  # the best of the world is 1e-3
    space = make_space(
        trials=40, parameters={"lr": lr}, searcher="random", schedule={"scheduler": "none", "epochs": 1, "reports": 1}
    )
    run = make_run(tmp_path / "a run", World(space))
    done = here("suggest", run.path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert shown.keys() == documented("suggest")
    (row,) = shown["parameters"]
    assert row["action"] != "keep" and row.keys() == set(analysis.suggest(analysis.load(run.path)).columns)
    words = shlex.split(shown["command"])
    assert words[:7] == ["python", "-m", "salt_tune.search", "--space", str(run.space), "--store", "/stores/s"]
    assert [word for word in words[7:] if word != "--set"] == row["settings"].split()
    told = here("suggest", run.path).stdout
    assert f"next: {shown['command']}\n" in told and f"lr: {row['reason']}\n" in told


def test_a_run_without_trials_suggests_nothing(tmp_path: Path, here: Command) -> None:
    shown = json.loads(here("suggest", begin_run(tmp_path / "run").path, "--json").stdout)
    assert shown["command"] is None and [row["action"] for row in shown["parameters"]] == ["keep"]
