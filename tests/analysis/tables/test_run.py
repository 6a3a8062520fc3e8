"""A run directory becomes tables of the documented columns, or one clear line."""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import RunError, latest_run, load
from analysis.charts import slices
from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory
from analysis.tables.clip_losses import read_clip_losses
from tests.analysis.fake_run import CLIPS, POINTS, summary, write_run


def change_summary(run: RunDirectory, **changes: Any) -> None:
    """Rewrites the summary with other fields."""
    run.summary.write_text(json.dumps(summary(**changes)))


def test_trials_are_one_row_each_in_natural_order(tmp_path: Path) -> None:
    trials = load(write_run(tmp_path).path).trials
    assert trials["trial"].tolist() == ["T0", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T10", "T11", "T12", "T13"]
    assert trials["rank"].dtype == "Int64"
    winner = trials.set_index("trial").to_dict("index")["T2"]
    assert (winner["rank"], winner["state"], winner["lr"], winner["predictor_dim"]) == (1, "complete", 3.3e-4, 192)


def test_searched_parameters_stand_apart_from_the_other_configuration(tmp_path: Path) -> None:
    trials = load(write_run(tmp_path).path).trials
    assert {"lr", "mask_ratio", "config.batch_size", "config.betas"} <= set(trials)
    assert "config.lr" not in trials


def test_every_metric_of_a_run_is_a_column_with_the_ends_of_its_interval(tmp_path: Path) -> None:
    ends = ["knn_top1_low", "knn_top1_high"]
    described = {"goal": "max", "label": "nearest-neighbour accuracy", "fields": ["knn_top1"], "interval": ends}
    trials = summary()["trials"]
    for trial in trials:
        trial |= {"knn_top1": 0.4, "knn_top1_low": 0.3, "knn_top1_high": None, "verdict": None}
    trials[-1] |= {"verdict": "better than untrained"}
    metrics = {**summary()["metrics"], "knn_top1": described}
    table = load(write_run(tmp_path, trials=trials, metrics=metrics).path).trials.set_index("trial")
    row = table.loc[trials[-1]["id"]]
    assert (row["knn_top1"], row["knn_top1_low"], row["verdict"]) == (0.4, 0.3, "better than untrained")
    assert table[["knn_top1", *ends]].dtypes.unique().tolist() == ["float64"]
    assert table["knn_top1_high"].isna().all()
    assert table.drop(trials[-1]["id"])["verdict"].isna().all()


def test_missing_values_are_nan(tmp_path: Path) -> None:
    failed = load(write_run(tmp_path).path).trials.set_index("trial").loc["T6"]
    assert failed[["rank", "val_loss", "probe_top1"]].isna().all()
    assert failed["error"] == "OutOfDisk: no space left"


def test_the_objective_is_the_summary_s(tmp_path: Path) -> None:
    run = load(str(write_run(tmp_path).path))
    assert (run.metric, run.curve, run.mode, run.best) == ("val_loss", "val_loss", "min", "T2")
    assert (run.resource, run.full) == ("epoch", 3)
    assert run.parameters == ["lr", "mask_ratio", "predictor_depth", "predictor_dim"]


def test_clip_losses_are_tidy_and_may_be_narrowed(tmp_path: Path) -> None:
    run = load(write_run(tmp_path).path)
    losses = run.clip_losses()
    assert losses.columns.tolist() == ["trial", "resource", "clip", "label", "loss"]
    judged = run.reports.dropna(subset="val_loss")
    assert len(losses) == len(judged) * len(CLIPS)
    means = losses.groupby(["trial", "resource"])["loss"].mean()
    assert means.loc["T2", 3.0] == pytest.approx(0.421, abs=1e-6)
    assert set(run.clip_losses("T4", 1.0)["clip"]) == set(CLIPS)
    assert run.clip_losses("T6").empty
    with pytest.raises(RunError, match=r"trial 'T99': must be one of T0, "):
        run.clip_losses("T99")
    with pytest.raises(RunError, match=r"resource 0\.77: must be one of the reports' \("):
        run.clip_losses("T4", 0.77)
    assert len(repr(run)) < 200


def test_a_broken_file_of_clip_losses_is_named(tmp_path: Path) -> None:
    directory = write_run(tmp_path)
    directory.clip_losses("T2", 3.0).write_bytes(b"PAR1 no more")
    with pytest.raises(RunError, match=r"T2/[a-z]+-3\.0000\.parquet: cannot be read"):
        load(tmp_path).clip_losses("T2")


def test_a_file_with_a_clip_twice_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"clip": ["a", "a"], "loss": [1.0, 2.0]}).to_parquet(tmp_path / "twice.parquet")
    with pytest.raises(RunError, match=r"twice\.parquet: has 2 rows of 1 clips"):
        read_clip_losses(tmp_path / "twice.parquet")
    pd.DataFrame({"clip": ["a"]}).to_parquet(tmp_path / "short.parquet")
    with pytest.raises(RunError, match=r"short\.parquet: cannot be read, and must hold the columns clip and loss"):
        read_clip_losses(tmp_path / "short.parquet")


def test_promoted_runs_have_epochs_and_no_resource(tmp_path: Path) -> None:
    final = load(write_run(tmp_path).path).final
    assert final["epoch"].tolist() == [*POINTS, *range(4, 11)]
    assert final["resource"].isna().all()


def test_a_parameter_may_be_set_in_some_trials_only(tmp_path: Path) -> None:
    trials = summary()["trials"]
    for trial in trials:
        if trial["id"] != "T2":
            del trial["parameters"]["predictor_depth"]
    trials[0]["parameters"]["predictor_dim"] = None
    run = load(write_run(tmp_path, trials=trials).path)
    assert run.trials["predictor_depth"].dtype == "Int64"
    assert run.trials.set_index("trial")["predictor_depth"].dropna().to_dict() == {"T2": 6}
    assert set(run.trials["predictor_dim"]) == {96, 192, 384, "null"}
    assert [chart.to_dict()["encoding"]["x"]["title"] for chart in slices(run)] == run.parameters


def test_a_weighted_objective_is_shown_by_its_first_metric(tmp_path: Path) -> None:
    weights = {"probe_top1": 0.2, "val_loss": 0.8}
    objective = {"metric": "0.8 val_loss - 0.2 probe_top1", "mode": "min", "weights": weights, "against": None}
    run = load(write_run(tmp_path, objective=objective).path)
    assert (run.metric, run.curve, run.mode) == ("0.8 val_loss - 0.2 probe_top1", "probe_top1", "min")


def test_promoted_runs_are_read_in_natural_order(tmp_path: Path) -> None:
    directory = write_run(tmp_path)
    directory.final("T10", 4).reports.parent.mkdir(parents=True)
    directory.final("T10", 4).reports.write_bytes(directory.final("T2", 10).reports.read_bytes())
    final = load(tmp_path).final
    assert final["promotion"].unique().tolist() == ["T2-10epochs", "T10-4epochs"]
    assert len(final) == 2 * 12


def test_without_promotion_final_has_its_columns(tmp_path: Path) -> None:
    run = load(write_run(tmp_path, promoted=False).path)
    assert run.final.empty
    assert run.final.columns.tolist() == ["promotion", *run.reports.columns]
    pd.testing.assert_series_equal(run.final.dtypes.drop("promotion"), run.reports.dtypes)


def test_a_search_without_trials_loads(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    change_summary(directory, trials=[], best=None, resource_trained=0.0)
    run = load(tmp_path)
    assert run.trials.empty and run.reports.empty and run.clip_losses().empty
    assert {"trial", "lr", "error"} <= set(run.trials)


def test_the_baselines_are_the_summary_s(tmp_path: Path) -> None:
    expected = {"training_mean": 0.652, "position_mean": 0.61, "nearest_visible": 0.702}
    assert load(write_run(tmp_path).path).baselines == expected


def test_a_task_of_fewer_metrics_has_empty_columns(tmp_path: Path) -> None:
    directory = write_run(tmp_path)
    described = {"val_loss": {"goal": "min", "label": "loss", "fields": ["val_loss"]}}
    absent = ("val_loss_se", "val_r2", "probe_top1", "effective_rank", "student_parameters", "predictor_parameters")
    trials = [{name: trial[name] for name in trial if name not in absent} for trial in summary()["trials"]]
    change_summary(directory, trials=trials, metrics=described, baselines={})
    run = load(tmp_path)
    assert run.baselines == {} and run.trials[[*absent]].isna().all(axis=None)
    assert run.trials["val_loss"].notna().any()


@pytest.mark.parametrize("name", ["rungs", "baselines", "rung_correlations"])
def test_a_missing_field_is_named(tmp_path: Path, name: str) -> None:
    directory = write_run(tmp_path)
    directory.summary.write_text(json.dumps({field: value for field, value in summary().items() if field != name}))
    with pytest.raises(RunError, match=rf"summary\.json has no field {name}"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, f"summary.json: format_version is 99, and must be {FORMAT_VERSION}"),
        ({"resource": "hours"}, "resource is 'hours', and must be one of epoch, tflop, second"),
        ({"objective": {"metric": "val_loss"}}, "objective has no field mode"),
        ({"rung_correlations": [{"rung": 1}]}, r"rung_correlations\[0\] has no field deepest"),
        ({"parameters": ["epochs"]}, "parameters has 'epochs'"),
        ({"baselines": {"own": "low"}}, "baselines: own is 'low', and must be a finite number"),
        ({"baselines": None}, "baselines is None, and must be a JSON object"),
        (
            {"baselines": {**summary()["baselines"], "nearest_visible": float("nan")}},
            "baselines: nearest_visible is nan, and must be a finite number",
        ),
        ({"trials": [{"id": "T0"}]}, r"trials\[0\] has no field state"),
        ({"trials": [3]}, r"trials\[0\] is 3, and must be a JSON object"),
        ({"trials": [{**summary()["trials"][0], "val_loss": "low"}]}, "val_loss is 'low', and must be a number"),
        (
            {"trials": [{**summary()["trials"][0], "against_winner": {"rung": 3.0}}]},
            r"trials\[0\], against_winner has no field difference",
        ),
    ],
)
def test_a_wrong_summary_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    change_summary(write_run(tmp_path), **changes)
    with pytest.raises(RunError, match=message):
        load(tmp_path)


def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        load(tmp_path / "absent")
    with pytest.raises(RunError, match=r"has no run\.json, and must be the folder of a search"):
        load(tmp_path)
    (tmp_path / "summary.json").write_text('{"format_version": 2,')
    with pytest.raises(RunError, match="broken JSON") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_lost_reports_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path).reports.unlink()
    with pytest.raises(RunError, match=r"reports\.jsonl: no such file"):
        load(tmp_path)


def test_the_latest_run_is_found_from_a_folder_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, name in enumerate(["new", "old"]):
        file = write_run(tmp_path / "runs" / name).summary
        os.utime(file, (1e9 - age, 1e9 - age))
    (tmp_path / "runs" / "unfinished").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert latest_run().name == "new"
    assert latest_run(tmp_path / "runs").name == "new"
    with pytest.raises(RunError, match="run a search first"):
        latest_run(tmp_path / "notebooks")
