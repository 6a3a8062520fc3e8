"""Real searches that meet what used to end them."""

import json
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import optuna

import analysis
from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import RunDirectory, read_summary
from tests.conftest import Command, complaints, start_command
from tests.salt_tune.conftest import MINUTES, wait_for
from tests.toy_task import SPACE

END = {
    **SPACE,
    "name": "3e-4",
    "description": "5e1",
    "parameters": {"depth": {"type": "int", "low": 1, "high": 2}},
    "schedule": {"scheduler": "none", "epochs": 1, "reports": 2},
    "trials": 5,
}


def begin(folder: Path, name: str, **entries: Any) -> tuple[subprocess.Popen[str], RunDirectory]:
    """Begins a search of the toy task; `entries` change those of `END`."""
    space = folder / f"{name}.yaml"
    space.write_text(json.dumps({**END, **entries}), encoding="utf-8")
    words = ("--space", space, "--store", folder, "--runs", folder, "--concurrent", 1, "--replicates", 0)
    return start_command(folder, "search", "--name", name, *words), RunDirectory(folder / name)


def test_a_reader_of_the_study_and_the_end_of_the_space(tmp_path: Path, here: Command) -> None:
    process, run = begin(tmp_path, "end")
    wait_for(run.study.exists, process)
    reader = sqlite3.connect(run.study, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM trials").fetchall()
    output, errors = process.communicate(timeout=MINUTES)
    reader.close()
    assert (process.returncode, complaints(errors)) == (0, ""), output
    assert "trials = 5: only 2 configurations can still be tried, so 2 trials will be started" in output
    assert "end: 2 trials of up to 1 epoch on" in output
    assert output.endswith("All 2 configurations have been tried.\n")
    assert errors.count(f"warning: {run.study}: cannot be written: ") == 1
    study = optuna.load_study(study_name="end", storage=f"sqlite:///{run.study}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2

    again = here("search", "--resume", "end", "--extend", 3)
    assert (again.returncode, complaints(again.stderr)) == (0, ""), again.stdout
    assert "--extend 3: all 2 configurations have been tried" in again.stdout
    assert "end: 2 trials (2 of them begun) of up to 1 epoch" in again.stdout
    assert "Nothing is left to do: all 2 configurations have been tried." in again.stdout


def test_what_slips_through_is_a_trial_that_failed_also_of_a_run_taken_up_again(tmp_path: Path, here: Command) -> None:
    fates = {"fate": {"type": "choice", "values": ["failed", ""]}}
    process, run = begin(tmp_path, "run", parameters=fates, trials=1, searcher="grid")
    output, errors = process.communicate(timeout=MINUTES)
    assert (process.returncode, complaints(errors)) == (1, ""), output
    more = start_command(tmp_path, "search", "--resume", run.path, "--extend", 1)
    output, errors = more.communicate(timeout=MINUTES)
    assert (more.returncode, complaints(errors)) == (0, ""), output
    assert ", 1 at a time\n" in output  # as the run began
    summary = read_summary(run)
    assert [trial["state"] for trial in summary["trials"]] == ["failed", "complete"]
    assert summary["trials"][0]["error"] == "fate = 'failed': take another one"
    assert analysis.load(run.path).best == summary["best"] == "T1"
    last = here("search", "--resume", run.path, "--concurrent", 3)
    assert (last.returncode, complaints(last.stderr)) == (0, ""), last.stdout
    assert ", 3 at a time\n" in last.stdout
    assert json.loads(run.manifest.read_text())["session"]["concurrent"] == 3
    assert read_summary(run)["best"] == summary["best"]


def test_a_search_that_fails_leaves_a_summary(tmp_path: Path) -> None:
    depth = {"depth": {"type": "int", "low": 1, "high": 8}}
    process, run = begin(tmp_path, "torn", parameters=depth, fixed={"seconds": 1.0})
    # Its decisions, not its reports: a report is on the disk before what follows from it.
    wait_for(lambda: sum(line["event"] == "result" for line in read_lines(run.decisions, live=True)) >= 2, process)
    kept = run.decisions.rename(run.decisions.with_suffix(".kept"))
    run.decisions.mkdir()
    output, errors = process.communicate(timeout=MINUTES)
    (line,) = complaints(errors).splitlines()
    assert process.returncode == 2 and line.startswith(f"error: {run.decisions}: ")
    assert "To go on: python -m salt_tune.search --resume " in output
    summary = read_summary(run)
    assert summary["trials"][0]["state"] == "complete" and summary["best"] == "T0"
    assert analysis.load(run.path).best == "T0"
    assert kept.exists()
