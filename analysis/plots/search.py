"""The pictures of a search.

Each function takes a `Run` and returns a figure: that of `ax` where one is given, else a new one. Filled marks are
trials that trained to the end; hollow ones stopped earlier, so that their metric is of less training. Thin brown lines
are the baselines: predictors that learned nothing on the same clips and tokens, or, of what probes read off features,
untrained encoders, raw pixels, the teacher's latents and chance.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.errors import RunError
from analysis.plots.baselines import draw_level, draw_upright, widened
from analysis.plots.marks import amount, diverged, mark, state_of, values
from analysis.plots.style import (
    CONCLUSION_COLOURS,
    GUIDE,
    INK,
    MUTED,
    NAME_LETTERS,
    canvas,
    colour_of,
    drawn,
    label,
    margin_note,
    named_rows,
    spread,
    style,
)
from analysis.statistics.comparison import Conclusion
from analysis.statistics.rung_correlation import USEFUL
from analysis.tables.baselines import baselines_of
from analysis.tables.comparisons import paired_against_best
from analysis.tables.ranking import rank_stability
from analysis.tables.run import Run

# More names than this at one end of the curves cannot be read.
NAMED_AT_AN_END = 8
# Curves that end within this share of the axis have their names side by side.
ONE_END = 0.05
# Axes with values further apart than this factor are logarithmic.
DECADE = 10


def ranking(run: Run, ax: Axes | None = None) -> Figure:
    """Draws the configurations, best on top: the objective at the last report, +- one standard error of `val_loss`.

    A trial that diverged or has no value is a row without a mark. Small dots are other seeds of a configuration.
    """
    trials = run.trials[run.trials["replicate_of"].isna()]
    trials = trials.sort_values(["rank", "resource"], ascending=[True, False], kind="stable")
    names, reached = trials["trial"].tolist(), values(run)[trials.index].tolist()
    whole, ax = canvas(ax, 8.0, 2.0 + 0.27 * len(trials))
    errors = trials["val_loss_se"].tolist() if run.metric == "val_loss" else [None] * len(trials)
    rows = zip(names, reached, errors, trials["resource"].tolist(), strict=True)
    for row, (name, value, error, resource) in enumerate(rows):
        state = state_of(run, name)
        if math.isfinite(value):
            ax.errorbar(value, row, xerr=error, elinewidth=1.4, **mark(state))
        again = values(run)[run.trials["replicate_of"] == name]
        ax.plot(again, [row] * len(again), **{**mark(state), "markersize": 3})
        margin_note(ax, row, f"{state.replace('_', ' ')}, {amount(run, resource)}", colour_of(state))
    bars = " ± one standard error" if run.metric == "val_loss" else ""
    seeds = "; small: other seeds" if run.trials["replicate_of"].notna().any() else ""
    style(ax, _ranking_title(run), f"{label(run.metric)} at the last report{bars}{seeds}", grid="x")
    named_rows(ax, names, bold=run.best)
    baselines = baselines_of(run, run.metric)
    ax.set_xlim(widened(ax.get_xlim(), baselines, data=bool(np.isfinite(reached).any())))
    draw_upright(ax, baselines)
    return whole


def learning_curves(run: Run, metric: str | None = None, against: str = "resource", ax: Axes | None = None) -> Figure:
    """Draws one line a trial: how a metric changes as it trains, with the rungs where the axis is the run's resource.

    Args:
        run: the search.
        metric: a column of the reports; by default what was optimized, or the first of a weighted pair.
        against: a column of the reports that grows: "resource" (as scheduled), "epoch", "tflop", "training_seconds".
        ax: where to draw.

    Raises:
        KeyError: the reports have no such column.
    """
    metric = metric or run.curve
    whole, ax = canvas(ax, 8.0, 4.8)
    scheduled = against in ("resource", run.resource)
    for rung in run.summary["rungs"] if scheduled else []:
        ax.axvline(rung, color=GUIDE, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
    reports = run.reports[np.isfinite(run.reports[metric]) & np.isfinite(run.reports[against])]
    for name, curve in reports.groupby("trial", sort=False):
        state, best = state_of(run, str(name)), name == run.best
        width, alpha = (2.8, 1.0) if best else (1.1, 0.6)
        ax.plot(curve[against], curve[metric], color=colour_of(state), linewidth=width, alpha=alpha, zorder=2 + best)
        ax.plot(curve[against].iloc[-1], curve[metric].iloc[-1], zorder=4, **mark(state))
    axis = label(run.resource if against == "resource" else against)
    rungs = " (dotted: the rungs, where trials are compared)" if scheduled else ""
    style(ax, _curves_title(run, metric), axis + rungs, label(metric))
    end = run.full if scheduled or reports.empty else float(reports[against].max())
    ax.set_xlim(0, end * 1.05)
    _limit_to_converging(run, reports[["trial", metric]], ax)
    baselines = baselines_of(run, metric)
    ax.set_ylim(widened(ax.get_ylim(), baselines, data=not reports.empty))
    draw_level(ax, baselines)
    _name_ends(run, reports.drop_duplicates("trial", keep="last")[["trial", against, metric]], ax)
    return whole


_NOTES = {
    Conclusion.TIED: ", a tie",
    Conclusion.BEHIND: ", on these clips",
    Conclusion.AHEAD: ", on these clips",
    Conclusion.EARLIER: ", clips alone",
}


def against_best(run: Run, ax: Axes | None = None) -> Figure:
    """Draws each trial's loss less the winner's on the same clips, with its 95% interval; grey: nothing is concluded.

    Trials that diverged are left out.
    """
    table = paired_against_best(run)
    table = table[~table["trial"].isin(diverged(run))]
    whole, ax = canvas(ax, 8.0, 1.3 + 0.27 * len(table))
    rows = table[["difference", "low", "high", "rung"]].to_numpy(float)
    for row, ((difference, low, high, rung), conclusion) in enumerate(zip(rows, table["conclusion"], strict=True)):
        told = conclusion in (Conclusion.WORSE, Conclusion.BETTER)
        colour = INK if told else MUTED
        ax.plot([low, high], [row, row], color=colour, linewidth=1.4)
        ax.plot(difference, row, "o", color=colour, markerfacecolor=colour if told else "white", markersize=6)
        margin_note(ax, row, f"at {amount(run, rung)}{_NOTES.get(conclusion, '')}", colour)
    ax.axvline(0, color=INK, linewidth=1)
    ties, full = (table["conclusion"] == Conclusion.TIED).sum(), (table["conclusion"] != Conclusion.EARLIER).sum()
    title = f"{ties} of {full} trained as long as {run.best}: a tie" if run.best else "No trial has won"
    style(ax, title, "held-out loss less the winner's on the same clips, 95% interval (right: worse)", grid="x")
    named_rows(ax, table["trial"].tolist())
    return whole


def rung_correlations(run: Run, ax: Axes | None = None) -> Figure:
    """Draws how far the order of the trials at each rung is that at the deepest one, with its 95% interval.

    A rung is too short where the whole interval lies left of the dotted line.
    """
    table = rank_stability(run)
    whole, ax = canvas(ax, 8.0, 1.3 + 0.32 * max(len(table), 1))
    ax.axvline(0, color=INK, linewidth=1)
    ax.axvline(USEFUL, color=GUIDE, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
    for row, (rho, low, high) in enumerate(table[["spearman", "low", "high"]].to_numpy(float)):
        trials, conclusion = table["trials"].iloc[row], table["conclusion"].iloc[row]
        colour = CONCLUSION_COLOURS[conclusion]
        ax.plot([low, high], [row, row], color=colour, linewidth=1.4)
        ax.plot(rho, row, "o", color=colour, markersize=6)
        margin_note(ax, row, f"{trials} trial{'' if trials == 1 else 's'}: {conclusion}", colour)
    deepest = amount(run, float(table["deepest"].iloc[0])) if len(table) else "a deeper rung"
    axis = f"Spearman's correlation with the order at {deepest}, of the trials that got there; 95% interval"
    style(ax, _first_rung_title(table), axis, grid="x")
    ax.set_xlim(-1.04, 1.04)
    named_rows(ax, [amount(run, rung) for rung in table["rung"]])
    return whole


def pareto(run: Run, ax: Axes | None = None) -> Figure:
    """Draws the objective against the second one, parameters or seconds a step; the front as steps, its members named.

    Raises:
        RunError: the search had no second objective.
    """
    against, front = run.summary["objective"]["against"], run.summary["pareto"]
    if against is None or front is None:
        raise RunError(
            f"{run.directory.summary}: pareto is {front!r}, and must be a list: the search had one objective"
        )
    whole, ax = canvas(ax, 8.0, 4.8)
    costs = run.trials["student_parameters"] + run.trials["predictor_parameters"]
    table = run.trials[["trial", "state"]].assign(x=costs if against == "parameters" else run.trials[against])
    table = table.assign(y=values(run)).astype({"x": "float64"}).dropna().sort_values("x", kind="stable")
    on_front = table["trial"].isin(front)
    for state, x, y in table.loc[~on_front, ["state", "x", "y"]].itertuples(index=False):
        ax.plot(x, y, alpha=0.5, **mark(state))
    members = table[on_front]
    if len(table) and table["x"].min() > 0 and table["x"].max() > DECADE * table["x"].min():
        ax.set_xscale("log")
    ax.margins(0.08, 0.1)
    ax.plot(members["x"], members["y"], drawstyle="steps-post", color=INK, linewidth=1.4, zorder=3)
    better = -8 if run.mode == "min" else 8
    for name, state, x, y in members[["trial", "state", "x", "y"]].itertuples(index=False):
        ax.plot(x, y, zorder=4, **mark(state))
        ax.annotate(drawn(name, NAME_LETTERS), (x, y), xytext=(-4, better), textcoords="offset points", ha="right",
                    va="center", fontsize=8, fontweight="bold", color=INK)  # fmt: skip
    title = f"Pareto front: {len(members)} of {len(table)} trials are beaten by none in both"
    style(ax, title, f"{label(against)} (hollow: trained less)", f"{label(run.metric)} at the last report")
    return whole


def _ranking_title(run: Run) -> str:
    if run.best is None:
        return "No trial has won"
    value = values(run)[run.trials["trial"] == run.best].iloc[0]
    return f"{run.best} has the {'lowest' if run.mode == 'min' else 'highest'} {label(run.metric)}: {value:.4g}"


def _curves_title(run: Run, metric: str) -> str:
    complete = int((run.trials["state"] == "complete").sum())
    whole = amount(run, run.full)
    return f"{label(metric).capitalize()}: {complete} of {len(run.trials)} trials trained all {whole}"


def _first_rung_title(table: pd.DataFrame) -> str:
    if table.empty:
        return "There is no rung to judge: too few trials went on beyond one"
    value = f"rank correlation {table['spearman'].iloc[0]:.2f}"
    return {
        "too few": "Too few trials went on to judge the first rung",
        "too short": f"The first rung is too short: {value}",
        "agrees": f"The order at the first rung holds: {value}",
        "unclear": f"Whether the first rung is long enough is unclear: {value}",
    }[table["conclusion"].iloc[0]]


def _limit_to_converging(run: Run, values: pd.DataFrame, ax: Axes) -> None:
    """Lets a trial that diverges leave the picture instead of flattening the others."""
    kept = values.loc[~values["trial"].isin(diverged(run))].drop(columns="trial").to_numpy()
    if kept.size and np.ptp(kept) > 0:
        ax.set_ylim(kept.min() - 0.05 * np.ptp(kept), kept.max() + 0.05 * np.ptp(kept))


def _name_ends(run: Run, ends: pd.DataFrame, ax: Axes) -> None:
    """Names the curves where they end: the best few at the last end, elsewhere all or, where many, none."""
    _, against, metric = ends.columns
    low, high = ax.get_ylim()
    visible = ends[ends[metric].between(low, high)].sort_values(metric, ascending=run.mode == "min")
    place = (visible[against] / (ONE_END * ax.get_xlim()[1])).round()
    for at, group in visible.groupby(place):
        if len(group) > NAMED_AT_AN_END:
            group = group.head(NAMED_AT_AN_END if at == place.max() else 0)
        heights = spread(group[metric].tolist(), gap=0.035 * (high - low))
        for name, end, height in zip(group["trial"], group[against], heights, strict=True):
            ax.annotate(
                drawn(name, NAME_LETTERS), (end, height), xytext=(7, 0), textcoords="offset points", va="center",
                fontsize=8, color=colour_of(state_of(run, name)), fontweight="bold" if name == run.best else "normal",
            )  # fmt: skip
