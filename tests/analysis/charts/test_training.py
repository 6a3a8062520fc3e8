"""Charts of steps and of time slots: valid, of the best trials, and no larger than they must be."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import Run, charts, load
from analysis.charts.training import MOST_LINES, MOST_POINTS
from analysis.run_directory.paths import RunDirectory
from tests.analysis.fake_run import POINTS, TRIALS, write_run
from tests.analysis.fake_steps import LATER, WINDOWS, write_steps, write_time_slots


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    """A search that keeps the steps of each trial, with a spike, and losses by time slot."""
    made = write_run(tmp_path / "run")
    write_steps(made, TRIALS)
    write_time_slots(made, TRIALS, POINTS)
    return made


@pytest.fixture
def run(directory: RunDirectory) -> Run:
    """The same, loaded."""
    return load(directory.path)


def data(chart: Any) -> list[dict[str, Any]]:
    """What a chart draws."""
    spec = chart.to_dict()  # is checked against Vega-Lite's schema
    (rows,) = spec["datasets"].values()
    return list(rows)


def test_steps_are_means_of_few_points_of_the_best_trials(run: Run) -> None:
    rows = pd.DataFrame(data(charts.training_steps(run)))
    assert rows.groupby("trial").size().max() <= MOST_POINTS and rows["trial"].nunique() <= MOST_LINES
    assert set(rows["trial"]) <= set(run.trials.loc[run.trials["rank"].notna(), "trial"])
    best = rows[rows["trial"] == run.best]
    assert (best["epoch"].iloc[-1], best["step"].iloc[-1]) == (4.0, 3 * WINDOWS)
    steps = run.steps(str(run.best))
    assert best["grad_norm"].mean() == pytest.approx(steps["grad_norm"].mean())


def test_all_columns_of_steps_share_their_data(run: Run) -> None:
    drawn = [charts.training_steps(run, column) for column in ("train_loss", "grad_norm", "clipped_share", "step_lr")]
    assert len({name for chart in drawn for name in chart.to_dict()["datasets"]}) == 1


def test_a_spike_is_cut_and_not_the_scale(run: Run) -> None:
    spec = charts.training_steps(run).to_dict()
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert 0 < low < 0.41 and high < 1


def test_steps_that_are_not_finite_are_left_out(directory: RunDirectory) -> None:
    run = load(directory.path)
    file = directory.steps(str(run.best))
    steps = pd.read_parquet(file)
    steps.loc[:2, "grad_norm"] = np.inf  # of the first point, three windows of four
    steps.loc[4:7, "grad_norm"] = np.nan  # all of the second
    steps.to_parquet(file)
    rows = [row for row in data(charts.training_steps(run, "grad_norm")) if row["trial"] == run.best]
    assert rows[0]["grad_norm"] == pytest.approx(steps["grad_norm"][3]) and rows[1]["grad_norm"] is None
    assert rows[1]["train_loss"] is not None


def test_the_loss_by_time_slot_is_that_of_the_last_reports(run: Run) -> None:
    rows = {(row["trial"], row["time_slot"]): row for row in data(charts.time_slots(run))}
    best = str(run.best)
    value = float(run.trials.set_index("trial")["val_loss"][best])
    assert rows[best, 0]["loss"] == pytest.approx(value, rel=1e-6)
    assert rows[best, 1]["low"] < LATER * value < rows[best, 1]["high"]


def test_without_such_files_there_is_nothing_to_draw(tmp_path: Path) -> None:
    bare = load(write_run(tmp_path / "run").path)
    assert charts.training_steps(bare) is None and charts.time_slots(bare) is None
