"""The plots show every trial that they should, whatever became of it."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from analysis import Run, load
from analysis.plots import against_best, learning_curves, parameters_against_objective, ranking
from analysis.style import figure, spread
from tests.analysis.fake_run import TRIALS, summary, write_run

PLOTS = [ranking, learning_curves, parameters_against_objective, against_best]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The tables of the fake run."""
    return load(write_run(tmp_path).path)


def texts(drawn: Figure) -> list[str]:
    """Every annotation and name of a row."""
    return [text.get_text() for ax in drawn.axes for text in (*ax.texts, *ax.get_yticklabels())]


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_renders(run: Run, plot: Callable[[Run], Figure], tmp_path: Path) -> None:
    plot(run).savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_renders_without_a_winner_and_without_trials(tmp_path: Path, plot: Callable[[Run], Figure]) -> None:
    directory = write_run(tmp_path)
    directory.summary.write_text(json.dumps(summary(best=None)))
    plot(load(tmp_path)).savefig(tmp_path / "plot.png")
    directory.summary.write_text(json.dumps(summary(best=None, trials=[], epochs_trained=0)))
    directory.reports.unlink()
    plot(load(tmp_path)).savefig(tmp_path / "plot.png")


@pytest.mark.parametrize("plot", [ranking, learning_curves, against_best])
def test_a_plot_draws_on_the_axes_given(run: Run, plot: Callable[..., Figure]) -> None:
    ax = figure(4, 3).subplots()
    assert plot(run, ax=ax) is ax.figure
    assert ax.lines


def test_the_ranking_has_a_row_for_every_trial_best_on_top(run: Run) -> None:
    ax = ranking(run).axes[0]
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names[0] == "T2" and set(names) == set(TRIALS)
    assert ax.yaxis_inverted()
    assert "T2 has the lowest held-out loss" in ax.get_title(loc="left")


def test_a_metric_to_maximize_has_no_bars_of_the_loss(tmp_path: Path) -> None:
    directory = write_run(tmp_path)
    directory.summary.write_text(json.dumps(summary(objective={"metric": "val_r2", "mode": "max"})))
    ax = ranking(load(tmp_path)).axes[0]
    assert ax.get_title(loc="left") == "T2 has the highest held-out explained variance: 0.579"
    assert "standard error" not in ax.get_xlabel()


def test_a_diverged_trial_does_not_flatten_the_others(run: Run) -> None:
    assert learning_curves(run).axes[0].get_ylim()[1] < 1.0
    assert against_best(run).axes[0].get_xlim()[1] < 1.0
    assert "T3" not in texts(against_best(run))


def test_curves_are_named_where_they_end(run: Run) -> None:
    assert set(TRIALS) - {"T3", "T6"} <= set(texts(learning_curves(run)))


def test_parameters_have_their_own_scales(run: Run) -> None:
    panels = parameters_against_objective(run).axes
    assert [ax.get_xlabel() for ax in panels] == ["lr", "mask ratio", "predictor depth", "predictor dim"]
    assert [ax.get_xscale() for ax in panels[:2]] == ["log", "linear"]
    assert [tick.get_text() for tick in panels[3].get_xticklabels()] == ["96", "192", "384"]


def test_only_trials_of_all_epochs_are_filled(run: Run) -> None:
    marks = parameters_against_objective(run).axes[0].lines
    hollow = [line.get_markerfacecolor() == "white" for line in marks]
    assert hollow == [TRIALS[trial][0] != "finished" for trial in run.trials["trial"]]


def test_an_unknown_metric_is_refused(run: Run) -> None:
    with pytest.raises(KeyError, match="accuracy"):
        learning_curves(run, "accuracy")


@given(st.lists(st.floats(0, 10), max_size=20), st.floats(0.01, 1))
def test_spread_labels_keep_their_order_and_distance(values: list[float], gap: float) -> None:
    placed = spread(values, gap)
    assert all(after >= before for before, after in zip(values, placed, strict=True))
    ordered = sorted(placed)
    assert all(above - below >= gap * 0.999 for below, above in pairwise(ordered))
