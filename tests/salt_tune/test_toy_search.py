"""The toy task goes through the same search, kill, resume and promotion as this package's method."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

import salt_tune
from analysis.run_directory.paths import read_summary
from salt_tune.space.space_file import load_space
from tests.conftest import Command
from tests.salt_tune.conftest import MINUTES, Ended, read_json, read_reports, search, start, wait_for
from tests.toy_task import SPACE, TOY
from trainable.errors import UserError


def write(folder: Path, **entries: Any) -> Path:
    """The toy's space with some entries changed."""
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump({**SPACE, **entries}), encoding="utf-8")
    return path


def toy_search(folder: Path, name: str, *words: object, **entries: Any) -> Ended:
    """A search of one trial at a time, whose data are `folder`."""
    space = write(folder, **entries)
    return search(folder, "--space", space, "--store", folder, "--concurrent", 1, *words, name=name)


def told(run: Path) -> dict[tuple[str, float], dict[str, Any]]:
    """The reports by trial and point: one stands twice where its search was killed before it was told of it."""
    return {(report["trial"], report["resource"]): report for report in read_reports(run / "reports.jsonl")}


def lines(run: Path) -> list[dict[str, Any]]:
    """The decisions, without the time that they took."""
    entries = [json.loads(line) for line in (run / "decisions.jsonl").read_text(encoding="utf-8").splitlines()]
    return [entry for entry in entries if entry["event"] != "session"]


def test_killed_and_resumed_it_comes_to_the_same_and_its_winner_is_promoted(tmp_path: Path, here: Command) -> None:
    straight = toy_search(tmp_path, "straight", "--replicates", "auto", fixed={"seconds": 0.6})
    assert (straight.exit_code, straight.errors) == (0, ""), straight.output
    assert f"Winner: {straight.summary['best']}" in straight.output
    assert straight.summary["task"] == read_json(straight.path / "run.json")["task"] == TOY
    assert yaml.safe_load((straight.path / "space.yaml").read_text(encoding="utf-8"))["task"] == TOY

    run = tmp_path / "killed"
    words = ("--space", tmp_path / "toy.yaml", "--store", tmp_path, "--concurrent", 1, "--runs", tmp_path)
    process = start(tmp_path, "search", *words, "--name", "killed")
    wait_for(lambda: len(read_reports(run / "reports.jsonl")) >= 5, process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=MINUTES)
    assert len(read_reports(run / "reports.jsonl")) < len(read_reports(straight.path / "reports.jsonl"))
    resumed = start(tmp_path, "search", "--resume", run)
    output, errors = resumed.communicate(timeout=MINUTES)
    assert (resumed.returncode, errors) == (0, ""), output
    assert told(run) == told(straight.path)
    assert lines(run) == lines(straight.path)
    assert read_json(run / "summary.json")["best"] == straight.summary["best"]
    assert len(straight.summary["rounds"]) == len([line for line in lines(run) if line["event"] == "round"]) > 0
    kept = {path.stem for path in (run / "checkpoints").iterdir()}
    assert straight.summary["best"] in kept and kept <= set(straight.summary["tied"])

    promoted = here("promote", run, "--epochs", 4)
    assert (promoted.returncode, promoted.stderr) == (0, ""), promoted.stdout
    final = run / "final" / f"{straight.summary['best']}-4epochs"
    assert {"README.md", "config.json", "reports.jsonl", "checkpoint.safetensors"} <= {p.name for p in final.iterdir()}
    assert [report["epoch"] for report in read_reports(final / "reports.jsonl")] == [0.5 * n for n in range(1, 9)]
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
