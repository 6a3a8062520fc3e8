"""The toy task goes through the same search and promotion as SALT; faults/test_search_kills.py kills its search."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import salt_tune
from analysis.run_directory.paths import read_summary
from salt_tune.space.space_file import load_space
from tests.conftest import Command, complaints
from tests.salt_tune.conftest import Ended, read_json, read_reports
from tests.toy_task import SPACE, TOY
from trainable.errors import UserError


def write(folder: Path, **entries: Any) -> Path:
    """The toy's space with some entries changed."""
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump({**SPACE, **entries}), encoding="utf-8")
    return path


def test_it_says_what_it_is_and_its_winner_is_promoted(mixed_run: Ended, tmp_path: Path, here: Command) -> None:
    run = shutil.copytree(mixed_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("final"))
    assert mixed_run.summary["task"] == read_json(run / "run.json")["task"] == TOY
    assert yaml.safe_load((run / "space.yaml").read_text(encoding="utf-8"))["task"] == TOY
    promoted = here("promote", run, "--epochs", 4)
    assert (promoted.returncode, complaints(promoted.stderr)) == (0, ""), promoted.stdout
    final = run / "final" / f"{mixed_run.summary['best']}-4epochs"
    assert {"README.md", "config.json", "reports.jsonl", "checkpoint.safetensors"} <= {p.name for p in final.iterdir()}
    assert [report["epoch"] for report in read_reports(final / "reports.jsonl")] == [0.25 * n for n in range(1, 17)]
    assert "| training mean | 1 |" in (final / "README.md").read_text(encoding="utf-8")
    assert "nothing to do" in here("promote", run, "--epochs", 4).stdout


def test_fates_are_told_and_the_search_goes_on(tmp_path: Path) -> None:
    fates = ("", "diverged", "failed", "killed", "out_of_memory")
    schedule = {"scheduler": "none", "epochs": 1, "reports": 2}
    points = [{"lr": 1e-3, "fate": fate} for fate in fates]
    run = salt_tune.search(
        write(tmp_path, parameters={}, start_from=points, trials=len(fates), schedule=schedule),
        store=tmp_path, runs=tmp_path, name="fates", concurrent=2, replicates=0,
    )  # fmt: skip
    summary = read_summary(run)
    trials = summary["trials"]
    assert [trial["state"] for trial in trials] == ["complete", "diverged", "failed", "complete", "out_of_memory"]
    assert trials[2]["error"] == "fate = 'failed': take another one"
    assert {trial["origin"] for trial in trials} == {"start_from"} and summary["better_than_start"] is False
    again = read_summary(salt_tune.resume(run, replicates=1))
    finalists = [trial["id"] for trial in trials if trial["state"] == "complete"]
    assert [trial["replicate_of"] for trial in again["trials"][5:]] == finalists
    assert [finalist["seeds"] for finalist in again["finalists"]] == [2, 2]
    assert again["seed_noise"]["source"] == "replicates" and again["level"] < summary["level"] == 0.05


def test_packing_is_for_what_it_is_made_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^--concurrent = auto: cannot measure trials of {TOY}; give a number"):
        salt_tune.search(write(tmp_path), store=tmp_path, runs=tmp_path / "runs", concurrent="auto")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"task": "toy"}, r"toy\.yaml: task = 'toy': known are salt"),
        ({"task": "no.such:Task"}, r"task = 'no.such:Task': cannot be loaded: No module named 'no'"),
        ({"fixed": {"student": "vit"}}, r"fixed\.student: unknown hyperparameter; "),
        ({"fixed": {"seconds": "long"}}, r"fixed\.seconds = 'long': must be a number"),
        ({"evaluation": {"clip": 4}}, r"evaluation\.clip = 4: unknown entry; did you mean 'clips'\?"),
        ({"objective": "val_los"}, r"objective = 'val_los': 'val_los' is no metric; did you mean 'val_loss'\?"),
    ],
)
def test_mistakes_are_told_in_the_task_s_own_words(tmp_path: Path, entries: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        salt_tune.search(write(tmp_path, **entries), store=tmp_path, runs=tmp_path / "runs")
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_not_there_is_told_by_the_task(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent: no such folder$"):
        salt_tune.search(write(tmp_path), store=tmp_path / "absent", runs=tmp_path / "runs")


def test_an_override_fixes_a_hyperparameter_of_the_task(tmp_path: Path) -> None:
    space = load_space(str(write(tmp_path)), {"depth": 3})
    assert (space.task.name, space.fixed, [*space.parameters]) == (TOY, {"depth": 3}, ["lr"])
    with pytest.raises(UserError, match=r"--set student: unknown entry; "):
        load_space(str(write(tmp_path)), {"student": "vit"})
