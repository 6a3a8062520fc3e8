"""Charts of steps and of time slots: valid, of the best trials, and no larger than they must be."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import Run, charts, load
from analysis.charts.training import MOST_LINES, MOST_POINTS
from tests.analysis.fake_run import POINTS, TRIALS, write_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A search that keeps 400 windows of each trial, with a spike, and losses by time slot."""
    made = write_run(tmp_path / "run")
    made.steps_root.mkdir()
    steps = np.arange(1, 401)
    loss = 0.4 + 1 / (10 + steps)
    loss[200] = 1e6
    for name in TRIALS:
        table = {"step": 3 * steps, "steps": 3, "epoch": steps / 100, "train_loss": loss, "grad_norm": 1.0,
                 "clipped_share": 0.0, "lr": 1e-3}  # fmt: skip
        pd.DataFrame(table).to_parquet(made.steps(name))
        for point in POINTS:
            if (file := made.clip_losses(name, point)).exists():
                losses = pd.read_parquet(file)
                losses["time_slot_losses"] = [[loss, 1.1 * loss] for loss in losses["loss"]]
                losses.to_parquet(file)
    return load(made.path)


def data(chart: Any) -> list[dict[str, Any]]:
    """What a chart draws."""
    spec = chart.to_dict()  # is checked against Vega-Lite's schema
    (rows,) = spec["datasets"].values()
    return list(rows)


@pytest.mark.parametrize("column", ["train_loss", "grad_norm", "clipped_share", "step_lr"])
def test_steps_are_means_of_few_points_of_the_best_trials(run: Run, column: str) -> None:
    rows = pd.DataFrame(data(charts.training_steps(run, column)))
    assert rows.groupby("trial").size().max() <= MOST_POINTS and rows["trial"].nunique() <= MOST_LINES
    assert rows["trial"].iloc[0] in set(run.trials.loc[run.trials["rank"].notna(), "trial"])
    last = rows[rows["trial"] == run.best].iloc[-1]
    assert (last["epoch"], last["step"]) == (4.0, 1200)


def test_a_spike_is_cut_and_not_the_scale(run: Run) -> None:
    spec = charts.training_steps(run).to_dict()
    low, high = spec["encoding"]["y"]["scale"]["domain"]
    assert 0 < low < 0.41 and high < 1


def test_the_loss_by_time_slot_is_that_of_the_last_reports(run: Run) -> None:
    rows = {(row["trial"], row["time_slot"]): row for row in data(charts.time_slots(run))}
    best = str(run.best)
    value = float(run.trials.set_index("trial")["val_loss"][best])
    assert rows[best, 0]["loss"] == pytest.approx(value, rel=1e-6)
    assert rows[best, 1]["low"] < 1.1 * value < rows[best, 1]["high"]


def test_without_such_files_there_is_nothing_to_draw(tmp_path: Path) -> None:
    bare = load(write_run(tmp_path / "run").path)
    assert charts.training_steps(bare) is None and charts.time_slots(bare) is None
