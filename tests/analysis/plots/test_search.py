"""The plots show every trial that they should, whatever became of it."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import Run, RunError, load
from analysis.plots.baselines import COLOUR
from analysis.plots.parameters import parameters_against_objective
from analysis.plots.search import (
    against_best,
    learning_curves,
    pareto,
    ranking,
    rung_correlations,
)
from analysis.plots.style import NAME_LETTERS, figure, spread
from analysis.plots.style import drawn as as_drawn
from tests.analysis.fake_run import REPLICATES, TRIALS, summary, write_run

PLOTS = [ranking, learning_curves, parameters_against_objective, against_best, rung_correlations, pareto]
FRONT: dict[str, Any] = {
    "objective": {**summary()["objective"], "against": "parameters"},
    "pareto": ["T0", "T2"],
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The tables of the fake run."""
    return load(write_run(tmp_path, **FRONT).path)


def maximizing(metric: str) -> dict[str, Any]:
    """The summary's fields of a search for a high value of one metric."""
    trials = [{**trial, "score": trial[metric] and -trial[metric]} for trial in summary()["trials"]]
    return {"objective": {**summary()["objective"], "metric": metric, "mode": "max", "weights": {metric: 1.0}},
            "trials": trials}  # fmt: skip


def texts(drawn: Figure) -> list[str]:
    """Every annotation and name of a row."""
    return [text.get_text() for ax in drawn.axes for text in (*ax.texts, *ax.get_yticklabels())]


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_renders(run: Run, plot: Callable[[Run], Figure], tmp_path: Path) -> None:
    plot(run).savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("name", [r"$\frac$", "a\x1b[2J\nb", "走る", "T2" * 200], ids=ascii)
def test_names_of_any_kind_are_drawn_as_they_are(run: Run, plot: Callable[[Run], Figure], name: str) -> None:
    """As the id of the winner, and as the value of a choice."""
    summary = json.loads(json.dumps(run.summary).replace('"T2"', json.dumps(name)))
    trials = run.trials.replace("T2", name).assign(predictor_dim=[*["multiblock"] * (len(run.trials) - 1), name])
    odd = replace(run, summary=summary, trials=trials, reports=run.reports.replace("T2", name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = plot(odd)
        whole.savefig(BytesIO())
    written = [text for ax in whole.axes for text in ax.findobj(Text)]
    assert all(len(text.get_text()) < 1000 and "\x1b" not in text.get_text() for text in written)
    if plot in (ranking, learning_curves, parameters_against_objective, pareto):
        assert any(text.get_text() == as_drawn(name, NAME_LETTERS) for text in written)


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_renders_without_a_winner_and_without_trials(tmp_path: Path, plot: Callable[[Run], Figure]) -> None:
    trials = [{**trial, "against_winner": None} for trial in summary()["trials"]]
    nobody: dict[str, Any] = {**FRONT, "best": None, "pareto": [], "rung_correlations": []}
    directory = write_run(tmp_path, **nobody, trials=trials)
    plot(load(tmp_path)).savefig(tmp_path / "plot.png")
    write_run(tmp_path, **nobody, trials=[], resource_trained=0)
    directory.reports.unlink()
    plot(load(tmp_path)).savefig(tmp_path / "plot.png")


@pytest.mark.parametrize("plot", [ranking, learning_curves, against_best, rung_correlations, pareto])
def test_a_plot_draws_on_the_axes_given(run: Run, plot: Callable[..., Figure]) -> None:
    ax = figure(4, 3).subplots()
    assert plot(run, ax=ax) is ax.figure
    assert ax.lines


def test_the_ranking_has_a_row_for_every_trial_best_on_top(run: Run) -> None:
    ax = ranking(run).axes[0]
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names[0] == "T2" and set(names) == set(TRIALS) - set(REPLICATES)
    assert "small: other seeds" in ax.get_xlabel()
    assert ax.yaxis_inverted()
    assert "T2 has the lowest held-out loss" in ax.get_title(loc="left")


def test_a_metric_to_maximize_has_no_bars_of_the_loss(tmp_path: Path) -> None:
    ax = ranking(load(write_run(tmp_path, **maximizing("val_r2")).path)).axes[0]
    assert ax.get_title(loc="left") == "T2 has the highest held-out explained variance: 0.3543"
    assert "standard error" not in ax.get_xlabel()


def test_curves_are_drawn_against_what_was_spent(run: Run) -> None:
    def dotted(against: str) -> list[float]:
        lines = [line for line in learning_curves(run, against=against).axes[0].lines if line.is_dashed()]
        return [float(np.asarray(line.get_xdata())[0]) for line in lines]

    assert dotted("resource") == dotted("epoch") == [0.5, 1.0, 3.0]
    assert dotted("tflop") == dotted("training_seconds") == []
    drawn = learning_curves(run, against="tflop")
    assert drawn.axes[0].get_xlim()[1] == pytest.approx(1.05 * run.reports["tflop"].max())
    assert set(TRIALS) - {"T3", "T6"} <= set(texts(drawn))
    with pytest.raises(KeyError, match="joules"):
        learning_curves(run, against="joules")


def test_the_front_is_drawn_as_steps_through_its_members(run: Run) -> None:
    ax = pareto(run).axes[0]
    steps = next(line for line in ax.lines if line.get_drawstyle() == "steps-post")
    assert np.asarray(steps.get_xdata()).tolist() == [1_968_000, 2_352_000]
    assert np.asarray(steps.get_ydata()) == pytest.approx([0.462, 0.421])
    assert [text.get_text() for text in ax.texts] == ["T0", "T2"]


def test_without_a_second_objective_there_is_no_front(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"summary\.json: pareto is None, and must be a list"):
        pareto(load(write_run(tmp_path).path))


def test_the_first_rung_is_judged(tmp_path: Path) -> None:
    correlation = {"rung": 0.5, "deepest": 3.0, "trials": 10, "spearman": -0.4, "low": -0.8, "high": 0.3}
    drawn = rung_correlations(load(write_run(tmp_path, rung_correlations=[correlation]).path))
    assert drawn.axes[0].get_title(loc="left") == "The first rung is too short: rank correlation -0.40"
    assert {"0.5 epochs", "10 trials: too short"} <= set(texts(drawn))


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
    marks = [line for line in parameters_against_objective(run).axes[0].lines if line.get_color() != COLOUR]
    hollow = [line.get_markerfacecolor() == "white" for line in marks]
    assert hollow == [TRIALS[trial][0] != "complete" for trial in run.trials["trial"]]


def baseline_lines(ax: Axes, axis: str = "y") -> list[float]:
    """Where baselines are drawn: the height of level lines, the place of upright ones."""
    lines = [line for line in ax.lines if line.get_color() == COLOUR]
    return [float(np.asarray(line.get_ydata() if axis == "y" else line.get_xdata())[0]) for line in lines]


@pytest.mark.parametrize("plot", [ranking, learning_curves, parameters_against_objective])
def test_plots_of_the_loss_have_the_baselines_named(run: Run, plot: Callable[[Run], Figure]) -> None:
    drawn, axis = plot(run), "x" if plot is ranking else "y"
    for ax in drawn.axes:
        assert sorted(baseline_lines(ax, axis)) == [0.61, 0.652, 0.702]
        low, high = ax.get_xlim() if axis == "x" else ax.get_ylim()
        assert low < 0.61 and high > 0.702
    for name in ("nearest visible token 0.702", "training mean 0.652", "mean per position 0.610"):
        assert texts(drawn).count(name) == 1


def test_plots_of_explained_variance_have_them_on_its_scale(tmp_path: Path) -> None:
    run = load(write_run(tmp_path, **maximizing("val_r2")).path)
    expected = pytest.approx([1 - 0.61 / 0.652, 0, 1 - 0.702 / 0.652])
    assert baseline_lines(learning_curves(run).axes[0]) == expected
    assert "training mean 0.00" in texts(learning_curves(run))
    assert sorted(baseline_lines(ranking(run).axes[0], "x"), reverse=True) == expected


def test_plots_of_a_probe_have_untrained_encoders_beside_it(tmp_path: Path) -> None:
    def measured(depth: int, untrained: float) -> dict[str, Any]:
        fields = {"untrained": {"probe_top1": untrained}, "chance": {"probe_top1": 0.125}, "teacher": {"lidar": 9.0}}
        return {"architecture": {"predictor_depth": depth}, "baselines": fields}

    panels = [measured(2, 0.2), measured(6, 0.31)]  # the winner's is 6 deep
    run = load(write_run(tmp_path, panel_baselines=panels, **maximizing("probe_top1")).path)
    for drawn, axis in ((learning_curves(run), "y"), (ranking(run), "x"), (parameters_against_objective(run), "y")):
        assert baseline_lines(drawn.axes[0], axis) == [0.31]
        assert "untrained 0.310" in texts(drawn)
        assert any("chance 0.125" in text and text[0] in "←↓" for text in texts(drawn))  # far below what trials reach
    assert baseline_lines(learning_curves(run, "val_loss").axes[0]) == [0.702, 0.652, 0.61]


def test_no_other_metric_has_baselines(run: Run, tmp_path: Path) -> None:
    assert baseline_lines(learning_curves(run, "probe_top1").axes[0]) == []
    probe = load(write_run(tmp_path / "probe", **maximizing("probe_top1")).path)
    assert not any("training mean" in text for text in texts(parameters_against_objective(probe)))


@pytest.mark.parametrize("plot", [ranking, learning_curves, parameters_against_objective])
def test_a_baseline_far_off_is_named_at_the_edge_and_squashes_nothing(
    tmp_path: Path, plot: Callable[[Run], Figure]
) -> None:
    baselines = {"training_mean": 11.5, "position_mean": 0.01, "nearest_visible": 11.0}
    far = load(write_run(tmp_path, baselines=baselines).path)
    axis = "x" if plot is ranking else "y"
    drawn = plot(far)
    low, high = drawn.axes[0].get_xlim() if axis == "x" else drawn.axes[0].get_ylim()
    assert low > 0.3 and high < 1
    assert baseline_lines(drawn.axes[0], axis) == []
    up, down = ("→", "←") if axis == "x" else ("↑", "↓")
    assert {f"{up} training mean 11.5", f"{up} nearest visible token 11.0", f"{down} mean per position 0.0100"} <= set(
        texts(drawn)
    )


def test_names_of_baselines_close_to_each_other_do_not_overlap(tmp_path: Path) -> None:
    baselines = {"training_mean": 0.652, "position_mean": 0.6519, "nearest_visible": 0.6518}
    close = load(write_run(tmp_path, baselines=baselines).path)
    for drawn in (ranking(close), learning_curves(close), parameters_against_objective(close)):
        drawn.savefig(BytesIO())
        labels = [text for ax in drawn.axes for text in ax.texts if text.get_color() == COLOUR]
        boxes = [text.get_window_extent() for text in labels]
        assert len(boxes) == 3
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_an_unknown_metric_is_refused(run: Run) -> None:
    with pytest.raises(KeyError, match="accuracy"):
        learning_curves(run, "accuracy")


@given(st.lists(st.floats(0, 10), max_size=20), st.floats(0.01, 1))
def test_spread_labels_keep_their_order_and_distance(values: list[float], gap: float) -> None:
    placed = spread(values, gap)
    assert all(after >= before for before, after in zip(values, placed, strict=True))
    ordered = sorted(placed)
    assert all(above - below >= gap * 0.999 for below, above in pairwise(ordered))
