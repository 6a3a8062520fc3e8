"""Searches with real Ray on a real store; the runs come from the fixtures."""

import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from analysis.run_directory.paths import RunDirectory
from tests.conftest import complaints
from tests.salt_tune.conftest import Ended, read_json, read_reports
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator, measure
from trainable.train.training import Training

SUMMARY_FIELDS = {
    "format_version",
    "name",
    "space",
    "store",
    "seed",
    "objective",
    "baselines",
    "parameters",
    "ranges",
    "resource",
    "full",
    "rungs",
    "trials",
    "best",
    "tied",
    "nothing_to_promote",
    "better_than_start",
    "rounds",
    "level",
    "finalists",
    "rung_correlations",
    "seed_noise",
    "pareto",
    "resource_trained",
    "resource_without_pruning",
    "training_seconds",
    "wall_seconds",
}
TRIAL_FIELDS = {
    "id",
    "state",
    "config",
    "parameters",
    "score",
    "seed",
    "replicate_of",
    "origin",
    "verdict",
    "resource",
    "epochs",
    "tflop",
    "training_seconds",
    "step_seconds",
    "against_winner",
    "val_loss",
    "val_loss_se",
    "val_r2",
    "probe_top1",
    "effective_rank",
    "rank",
    "student_parameters",
    "predictor_parameters",
    "error",
}


@pytest.fixture(scope="module")
def summary(finished_run: Path) -> dict[str, Any]:
    return read_json(finished_run / "summary.json")


def last_reports(run: Path) -> dict[str, dict[str, Any]]:
    return {report["trial"]: report for report in read_reports(run / "reports.jsonl")}


def test_the_summary_has_its_fields(summary: dict[str, Any], store: ClipStore) -> None:
    assert summary.keys() >= SUMMARY_FIELDS
    assert (summary["name"], summary["space"]) == ("finished", "demo")
    assert (summary["resource"], summary["full"], summary["rungs"][-1]) == ("epoch", 2, 2)
    assert Path(summary["store"]["path"]) == store.path
    assert (summary["store"]["view_hash"], summary["store"]["teacher_sha256"]) == (
        store.view.hash,
        store.teacher.sha256,
    )
    assert [trial["id"] for trial in summary["trials"]] == ["T0", "T1", "T2", "T3"]
    for trial in summary["trials"]:
        assert trial.keys() >= TRIAL_FIELDS
        assert trial["state"] in ("complete", "pruned")
        assert trial["student_parameters"] > 0
        assert {name: trial["config"][name] for name in trial["parameters"]} == trial["parameters"]


def test_epochs_add_up(summary: dict[str, Any]) -> None:
    assert summary["resource_trained"] == sum(trial["resource"] for trial in summary["trials"])
    assert summary["resource_without_pruning"] == 4 * 2
    for trial in summary["trials"]:
        assert (trial["epochs"] == 2) == (trial["state"] == "complete")


def test_the_best_has_the_lowest_held_out_loss_of_the_finished(summary: dict[str, Any]) -> None:
    finished = [trial for trial in summary["trials"] if trial["state"] == "complete"]
    best = min(finished, key=lambda trial: trial["val_loss"])
    assert summary["best"] == best["id"]
    assert best["rank"] == 1
    assert sorted(trial["rank"] for trial in summary["trials"]) == [1, 2, 3, 4]


def test_the_summary_tells_what_was_reported_last(summary: dict[str, Any], finished_run: Path) -> None:
    last = last_reports(finished_run)
    for trial in summary["trials"]:
        assert trial["val_loss"] == last[trial["id"]]["val_loss"]
        assert trial["val_r2"] == last[trial["id"]]["val_r2"]
        assert trial["epochs"] == last[trial["id"]]["epoch"]
        assert 0 <= trial["probe_top1"] <= 1


def test_the_difference_to_the_winner_is_taken_clip_by_clip(mixed_run: Ended) -> None:
    best = mixed_run.trial(mixed_run.summary["best"])
    rival = next(trial for trial in mixed_run.summary["trials"] if trial["rank"] == 2)
    behind = rival["against_winner"]
    assert best["against_winner"] is None
    assert behind["difference"] == pytest.approx(rival["val_loss"] - best["val_loss"], rel=1e-3)
    assert behind["low"] <= behind["difference"] <= behind["high"]
    assert 0 < behind["standard_error"] < best["val_loss_se"] * 2


def test_the_run_says_what_it_was(finished_run: Path, mixed_run: Ended) -> None:
    manifest = read_json(finished_run / "run.json")
    assert {"python", "ray", "torch", "timm", "optuna", "numpy", "salt_tune"} <= manifest["versions"].keys()
    assert "--trials" in manifest["command"]
    assert manifest["seed"] == 0
    space = yaml.safe_load((finished_run / "space.yaml").read_text(encoding="utf-8"))
    assert (space["trials"], space["schedule"]["epochs"]) == (4, 2)
    assert space["fixed"]["student_dim"] == 64
    assert space["parameters"]["predictor_dim"]["values"] == [64]
    resolved = yaml.safe_load((mixed_run.path / "space.yaml").read_text(encoding="utf-8"))
    assert resolved["schedule"]["scheduler"] == "none"


def test_reports_go_up_and_come_several_times_an_epoch(mixed_run: Ended) -> None:
    epochs = defaultdict(list)
    for report in read_reports(mixed_run.path / "reports.jsonl"):
        epochs[report["trial"]].append(report["epoch"])
    assert epochs["T0"] == epochs["T2"] == [0.25 * step for step in range(1, 9)]
    assert len(epochs["T1"]) < 8


def test_clip_losses_are_the_loss_clip_by_clip(finished_run: Path, store: ClipStore) -> None:
    reports = read_reports(finished_run / "reports.jsonl")
    assert {report["trial"] for report in reports} == {"T0", "T1", "T2", "T3"}
    for report in reports:
        losses = pq.read_table(RunDirectory(finished_run).clip_losses(report["trial"], report["resource"]))
        assert sorted(losses["clip"].to_pylist()) == sorted(store.val.ids)
        assert losses["loss"].to_numpy().mean() == pytest.approx(report["val_loss"], rel=1e-5)


def test_all_trials_are_judged_on_the_same_clips_in_the_same_order(finished_run: Path) -> None:
    named = [pq.read_table(file)["clip"].to_pylist() for file in sorted(finished_run.glob("clip_losses/*/*.parquet"))]
    assert len(named) >= 4
    assert all(clips == named[0] for clips in named)


def test_only_the_checkpoints_of_the_best_are_left(finished_run: Path, summary: dict[str, Any]) -> None:
    assert summary["best"] in summary["tied"]
    assert {path.stem for path in (finished_run / "checkpoints").iterdir()} == set(summary["tied"])


def test_trials_and_no_more_memory_than_promised(finished_run: Path) -> None:
    assert max(report["peak_rss_gb"] for report in read_reports(finished_run / "reports.jsonl")) < 1.5


def test_a_trial_is_what_its_configuration_gives_anywhere(
    finished_run: Path, summary: dict[str, Any], store: ClipStore
) -> None:
    training = Training(TrialConfig.from_dict({**summary["trials"][0]["config"], "cooldown": 0.0}), store, device="cpu")
    evaluator = Evaluator(store, EvaluationConfig())
    told = [report for report in read_reports(finished_run / "reports.jsonl") if report["trial"] == "T0"]
    for report in told:
        training.train_to(report["step"])
        assert measure(evaluator.judge(training.outcome), "report")["val_loss"] == pytest.approx(
            report["val_loss"], rel=1e-4
        )
    training.close()
    evaluator.close()


def test_a_trial_that_diverges_is_told_and_the_search_goes_on(mixed_run: Ended) -> None:
    assert mixed_run.exit_code == 0, mixed_run.errors
    states = [trial["state"] for trial in mixed_run.summary["trials"]]
    assert states == ["complete", "diverged", "complete"]
    diverged = mixed_run.trial("T1")
    assert (diverged["val_loss"], diverged["rank"]) == (None, None)
    assert mixed_run.summary["best"] in ("T0", "T2")
    assert mixed_run.summary["resource_trained"] == 4 + diverged["resource"]


def test_piped_output_is_plain_lines(mixed_run: Ended) -> None:
    assert "\x1b" not in mixed_run.output
    assert "\r" not in mixed_run.output
    for line in (
        "T0   starts",
        "T0   epoch 1 ",
        "T0   epoch 2 ",
        "T0   complete after 2 epochs",
        "T1   diverged after",
    ):
        times = [text for text in mixed_run.output.splitlines() if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", text)]
        assert sum(text[21:].startswith(line) for text in times) == 1, line


def test_the_end_has_the_table_the_winner_the_cost_and_the_place(mixed_run: Ended) -> None:
    summary = mixed_run.summary
    place = [re.match(r" +(\d|-) +(T\d)\*? ", line) for line in mixed_run.output.splitlines()]
    ranked = [found.groups() for found in place if found]
    second = next(trial["id"] for trial in summary["trials"] if trial["rank"] == 2)
    assert [trial for _, trial in ranked] == [summary["best"], second, "T1"]
    assert [rank for rank, _ in ranked] == ["1", "2", "-"]
    assert f"Promote {summary['recommended']}" in mixed_run.output
    assert (
        f"{summary['resource_trained']:g} epochs of 6 epochs had all 3 trials been trained to the end"
        in mixed_run.output
    )
    assert str(mixed_run.path) in mixed_run.output


def test_ray_keeps_quiet(mixed_run: Ended, failed_run: Ended) -> None:
    assert complaints(mixed_run.errors) == ""
    assert complaints(failed_run.errors) == ""
    for output in (mixed_run.output, failed_run.output):
        for clutter in ("ray::", "Traceback", "WARNING", "INFO", "Trial status", "raylet"):
            assert clutter not in output


def test_a_trial_that_fails_names_its_cause_and_nothing_wins(failed_run: Ended) -> None:
    assert failed_run.exit_code == 1
    summary = failed_run.summary
    assert (summary["best"], summary["trials"][0]["state"]) == (None, "failed")
    error = summary["trials"][0]["error"]
    assert error == "fate = 'failed': take another one"
    assert "No trial finished" in failed_run.output
    assert failed_run.output.count(error) == 2
    assert "Promote" not in failed_run.output


def test_a_terminal_shows_a_live_table(troubled_run: Ended) -> None:
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", troubled_run.output)
    assert re.search(r"T0 .*\d\.\d.*running", drawn)
    assert re.search(r"T1 .*interrupted", drawn)
    assert troubled_run.output.count("clips/s") > 3
    assert "starts" not in drawn


def test_ctrl_c_leaves_a_summary(troubled_run: Ended) -> None:
    assert troubled_run.exit_code == 130
    assert "Traceback" not in troubled_run.output
    assert [trial["state"] for trial in troubled_run.summary["trials"]] == ["interrupted", "interrupted"]
    assert troubled_run.summary["best"] is None
    last = last_reports(troubled_run.path).values()
    assert troubled_run.summary["resource_trained"] == sum(report["resource"] for report in last)


def test_a_killed_process_comes_back_and_no_report_comes_twice(troubled_run: Ended) -> None:
    epochs = defaultdict(list)
    for report in read_reports(troubled_run.path / "reports.jsonl"):
        assert math.isfinite(report["val_loss"])
        epochs[report["trial"]].append(report["epoch"])
    for trial in ("T0", "T1"):
        assert epochs[trial] == [0.25 * step for step in range(1, len(epochs[trial]) + 1)]
