"""Real searches that meet what used to end them."""

import json
import shutil
import sqlite3
from pathlib import Path

import optuna
import pytest

import analysis
from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import RunDirectory, read_summary
from salt_tune.runs.create import space_hash
from salt_tune.space.space_file import dump_space, reload_space
from tests.conftest import Command
from tests.salt_tune.conftest import MINUTES, start, wait_for

SPACE = """
name: "3e-4"
description: "5e1"
fixed:
  {student: vit_tiny_patch16_224, student_dim: 12, student_heads: 3, student_depth: 1, batch_size: 8, predictor_dim: 64}
parameters:
  predictor_depth: {type: int, low: 1, high: 2}
schedule: {scheduler: none, epochs: 1, reports: 2}
trials: 5
"""


def test_a_reader_of_the_study_and_the_end_of_the_space(store_path: Path, tmp_path: Path, here: Command) -> None:
    (tmp_path / "end.yaml").write_text(SPACE, encoding="utf-8")
    words = ("--space", "end.yaml", "--store", store_path, "--runs", ".", "--name", "end", "--concurrent", 1,
             "--replicates", 0)  # fmt: skip
    process = start(tmp_path, "search", *words)
    run = RunDirectory(tmp_path / "end")
    wait_for(run.study.exists, process)
    reader = sqlite3.connect(run.study, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM trials").fetchall()
    output, errors = process.communicate(timeout=MINUTES)
    reader.close()
    assert (process.returncode, errors) == (0, ""), output
    assert "trials = 5: only 2 configurations can still be tried, so 2 trials will be started" in output
    assert "end: 2 trials of up to 1 epoch on" in output
    assert output.endswith("All 2 configurations have been tried.\n")
    assert output.count(f"warning: {run.study}: cannot be written: ") == 1
    study = optuna.load_study(study_name="end", storage=f"sqlite:///{run.study}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2

    again = here("search", "--resume", "end", "--extend", 3)
    assert (again.returncode, again.stderr) == (0, ""), again.stdout
    assert "--extend 3: all 2 configurations have been tried" in again.stdout
    assert "end: 2 trials (2 of them begun) of up to 1 epoch" in again.stdout
    assert "Nothing is left to do: all 2 configurations have been tried." in again.stdout


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> RunDirectory:
    """A copy of a finished run, to be resumed."""
    return RunDirectory(shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("ray")))


def test_what_slips_through_is_a_trial_that_failed_also_of_a_run_taken_up_again(
    run: RunDirectory, command: Command, here: Command
) -> None:
    space = reload_space(run.space)
    widths = space.parameters["predictor_dim"].model_copy(update={"values": (64, 100)})
    space = space.model_copy(update={"parameters": {**space.parameters, "predictor_dim": widths}})
    run.space.write_text(dump_space(space), encoding="utf-8")
    manifest = json.loads(run.manifest.read_text())
    run.manifest.write_text(json.dumps({**manifest, "space_hash": space_hash(space)}))
    done = command("search", "--resume", "run", "--extend", 4, "--concurrent", 1)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    summary = read_summary(run)
    failed = [trial for trial in summary["trials"] if trial["state"] == "failed"]
    assert failed and {trial["config"]["predictor_dim"] for trial in failed} == {100}
    assert {trial["error"].split(":")[0] for trial in failed} == {"predictor_dim = 100"}
    assert summary["best"] is not None and len(summary["trials"]) == 8
    assert analysis.load(run.path).best == summary["best"]
    last = here("search", "--resume", "run")
    assert (last.returncode, last.stderr) == (0, ""), last.stdout
    assert read_summary(run)["best"] == summary["best"]


def test_a_search_that_fails_leaves_a_summary(store_path: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.yaml").write_text(SPACE.replace("high: 2", "high: 4"), encoding="utf-8")
    words = ("--space", "torn.yaml", "--store", store_path, "--runs", ".", "--name", "torn", "--concurrent", 1,
             "--replicates", 0)  # fmt: skip
    process = start(tmp_path, "search", *words)
    run = RunDirectory(tmp_path / "torn")
    # Its decisions, not its reports: a report is on the disk before what follows from it.
    wait_for(lambda: sum(line["event"] == "result" for line in read_lines(run.decisions, live=True)) >= 2, process)
    kept = run.decisions.rename(run.decisions.with_suffix(".kept"))
    run.decisions.mkdir()
    output, errors = process.communicate(timeout=MINUTES)
    assert process.returncode == 2 and errors.startswith(f"error: {run.decisions}: ") and errors.count("\n") == 1
    assert "To go on: python -m salt_tune.search --resume " in output
    summary = read_summary(run)
    assert summary["trials"][0]["state"] == "complete" and summary["best"] == "T0"
    assert analysis.load(run.path).best == "T0"
    assert kept.exists()
