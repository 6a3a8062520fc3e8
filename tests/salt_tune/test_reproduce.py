"""The command that trains a trial again, and what differs here."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

import salt_tune.runs.provenance
from analysis.run_directory.journal import read_trials
from analysis.run_directory.paths import RunDirectory, read_manifest
from salt_tune.controller.factory import make_searcher
from salt_tune.options import parse_settings
from salt_tune.runs.provenance import hardware, provenance
from salt_tune.space.space_file import load_space
from tests.conftest import Command, complaints, must_succeed
from tests.salt_tune.looking import WORLD, begin_run, documented, make_run, write_trials
from tests.toy_task import SPACE


def test_the_command_begins_with_the_same_configuration(tmp_path: Path, here: Command) -> None:
    run = make_run(tmp_path / "run")
    trial = read_trials(run)["T2"]
    words = shlex.split(json.loads(here("reproduce", run.path, "T2", "--json").stdout)["command"])
    given = list(zip(words[3::2], words[4::2], strict=True))
    flags = dict(given)
    space = load_space(flags["--space"], parse_settings(tuple(value for flag, value in given if flag == "--set")))
    assert (flags["--trials"], flags["--seed"], space.schedule.scheduler) == ("1", str(trial.seed), "none")
    parameters = make_searcher(space, trial.seed).suggest("T0")
    assert parameters == trial.parameters
    assert space.hyperparameters(parameters, trial.seed) == trial.config
    assert space.schedule.report_points() == WORLD.space.schedule.report_points()


@pytest.mark.slow
def test_the_command_trains_the_same_again(tmp_path: Path, command: Command, here: Command) -> None:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    (tmp_path / "data").mkdir()
    must_succeed(command("search", "--space", "space.yaml", "--store", "data", "--name", "one", "--trials", 3,
                         "--seeds", "vary", "--no-git"))  # fmt: skip
    run = tmp_path / "runs" / "one"
    assert read_manifest(RunDirectory(run))["git"] is None
    done = here("reproduce", run, "T1", "--json")
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    shown = json.loads(done.stdout)
    assert shown.keys() == documented("reproduce") and shown["diff"] is None
    python, _, module, *words = shlex.split(shown["command"])
    assert (python, module) == ("python", "salt_tune.search")
    must_succeed(command("search", *words))
    before, again = read_trials(RunDirectory(run))["T1"], read_trials(RunDirectory(run.parent / "one-T1-again"))["T0"]
    assert again.config == before.config
    assert {point: again.scores[point] for point in before.scores} == before.scores


def test_what_differs_is_named(tmp_path: Path, here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "code"
    repository.mkdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    monkeypatch.chdir(repository)
    (repository / "model.py").write_text("depth = 1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], cwd=repository, check=True)
    (repository / "model.py").write_text("depth = 2\n")
    run = RunDirectory(tmp_path / "run")
    kept = provenance(run)
    assert kept.diff is not None and b"+depth = 2" in kept.diff
    assert kept.fields["git"]["dirty"] and kept.fields["git"]["diff_bytes"] == len(kept.diff)
    assert kept.fields["hardware"]["cores"] >= 1 and kept.fields["hardware"]["cpu"]
    begin_run(run.path, **{**kept.fields, "versions": {**kept.fields["versions"], "torch": "1.0"}})
    write_trials(run, 1)
    run.diff.write_bytes(kept.diff)
    told = here("reproduce", run.path, "T0")  # in another folder, which is no repository
    assert (told.returncode, complaints(told.stderr)) == (0, "")
    assert f"git apply {run.diff}" in told.stdout and "was left after 0.5 epochs of 3 epochs" in told.stdout
    changed = {row["what"]: row for row in json.loads(here("reproduce", run.path, "T0", "--json").stdout)["differs"]}
    assert changed["version of torch"]["then"] == "1.0" and "version of numpy" not in changed
    assert changed["commit"]["then"] == kept.fields["git"]["commit"]
    assert "no such" in changed["store, path"]["now"] or "/stores/s" in changed["store, path"]["now"]


def test_a_large_diff_is_said_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "big").write_text("a\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "big").write_text("b" * 2_000_000)
    kept = provenance(RunDirectory(tmp_path / "run"))
    assert kept.diff is None
    assert (kept.fields["git"]["diff"], kept.fields["git"]["dirty"]) == (None, True)
    assert kept.fields["git"]["diff_bytes"] > 2_000_000


def test_gpus_are_named_where_the_driver_s_files_are_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H200'\necho 'NVIDIA H200'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(salt_tune.runs.provenance, "GPU_INFO", tmp_path / "hidden")
    assert hardware()["gpus"] == ["NVIDIA H200"] * 2


def test_an_unknown_trial_is_a_line(tmp_path: Path, here: Command) -> None:
    run = begin_run(tmp_path / "run")
    write_trials(run, 3)
    done = here("reproduce", run.path, "T22")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and "T2" in done.stderr
