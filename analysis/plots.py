"""The pictures of a search.

Each function takes a `Run` and returns a figure: that of `ax` where one is given, else a new one. Filled marks are
trials that trained to the end; hollow ones stopped earlier, so that their metric is of fewer epochs. Thin brown lines
are the references: predictors that learned nothing, on the same clips and tokens.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from analysis.loading import Run
from analysis.reference_lines import draw_level, draw_upright, references_of, widened
from analysis.reports import natural
from analysis.statistics import paired_against_best
from analysis.style import GUIDE, INK, MUTED, canvas, colour_of, figure, label, margin_note, named_rows, spread, style

PANELS_A_ROW = 4
# More names than this at one end of the curves cannot be read.
NAMED_AT_AN_END = 8


def ranking(run: Run, ax: Axes | None = None) -> Figure:
    """The trials in order, best on top: the run's metric at their last report, +- one standard error of `val_loss`.

    A trial that diverged or has no value is a row without a mark.
    """
    trials = run.trials.sort_values(["rank", "epochs"], ascending=[True, False], kind="stable")
    names, values = trials["trial"].tolist(), _values(run)[trials.index].tolist()
    whole, ax = canvas(ax, 8.0, 2.0 + 0.27 * len(trials))
    errors = _standard_errors(run)
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        state = _state(run, name)
        if math.isfinite(value):
            ax.errorbar(value, row, xerr=errors.get(name), elinewidth=1.4, **_mark(state))
        epochs = float(trials["epochs"].iloc[row])
        margin_note(ax, row, f"{state.replace('_', ' ')}, {_epochs(epochs)}", colour_of(state))
    bars = " ± one standard error" if errors else ""
    style(ax, _ranking_title(run), f"{label(run.metric)} at the last report{bars}", grid="x")
    named_rows(ax, names, bold=run.best)
    references = references_of(run, run.metric)
    ax.set_xlim(widened(ax.get_xlim(), references, data=bool(np.isfinite(values).any())))
    draw_upright(ax, references)
    return whole


def learning_curves(run: Run, metric: str | None = None, ax: Axes | None = None) -> Figure:
    """One line a trial, with the rungs: `metric`, a column of the reports (by default the run's), over epochs.

    Raises:
        KeyError: the reports have no such column.
    """
    metric = metric or run.metric
    whole, ax = canvas(ax, 8.0, 4.8)
    for rung in run.summary["rungs"]:
        ax.axvline(rung, color=GUIDE, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
    reports = run.reports[np.isfinite(run.reports[metric])]
    for name, curve in reports.groupby("trial", sort=False):
        state, best = _state(run, str(name)), name == run.best
        width, alpha = (2.8, 1.0) if best else (1.1, 0.6)
        ax.plot(curve["epoch"], curve[metric], color=colour_of(state), linewidth=width, alpha=alpha, zorder=2 + best)
        ax.plot(curve["epoch"].iloc[-1], curve[metric].iloc[-1], zorder=4, **_mark(state))
    style(ax, _curves_title(run, metric), "epoch (dotted: the rungs, where trials are pruned)", label(metric))
    ax.set_xlim(0, float(run.summary["epochs"]) * 1.05)
    _limit_to_converging(run, reports[["trial", metric]], ax)
    references = references_of(run, metric)
    ax.set_ylim(widened(ax.get_ylim(), references, data=not reports.empty))
    draw_level(ax, references)
    _name_ends(run, reports.drop_duplicates("trial", keep="last")[["trial", "epoch", metric]], ax)
    return whole


def parameters_against_objective(run: Run) -> Figure:
    """A panel a searched parameter, on its own scale: the run's metric at each trial's last report.

    A trial that diverged or has no value is a mark at the upper edge.
    """
    columns = max(min(PANELS_A_ROW, len(run.parameters)), 1)
    rows = max(math.ceil(len(run.parameters) / columns), 1)
    references = references_of(run, run.metric)
    whole = figure(2.4 * columns + (2.4 if references else 0.8), 2.4 * rows + 1.0)
    panels = whole.subplots(rows, columns, sharey=True, squeeze=False)
    for ax, parameter in zip(panels.flat, run.parameters, strict=False):
        _parameter_panel(run, parameter, ax)
    for ax in panels.flat[len(run.parameters) :]:
        ax.set_visible(False)
    panels[0, 0].set_ylim(widened(panels[0, 0].get_ylim(), references, data=bool(np.isfinite(_values(run)).any())))
    for number, ax in enumerate(panels.flat[: len(run.parameters)], start=1):
        draw_level(ax, references, named=number % columns == 0 or number == len(run.parameters))
    for ax in panels[:, 0]:
        ax.set_ylabel(label(run.metric), fontsize=9, color=MUTED)
    title = f"{label(run.metric).capitalize()} against each searched parameter"
    whole.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    whole.legend(
        handles=_legend(run), loc="outside lower left", ncols=columns, frameon=False, fontsize=8.5, labelcolor=MUTED
    )
    return whole


def against_best(run: Run, ax: Axes | None = None) -> Figure:
    """Each trial's loss less the winner's on the same clips, with its 95% interval; grey: cannot be told apart.

    Trials that diverged are left out.
    """
    table = paired_against_best(run)
    table = table[~table["trial"].isin(_diverged(run))]
    whole, ax = canvas(ax, 8.0, 1.3 + 0.27 * len(table))
    rows = table[["difference", "low", "high", "epoch", "distinguishable"]].to_numpy(float)
    for row, (difference, low, high, epoch, told) in enumerate(rows):
        colour = INK if told else MUTED
        ax.plot([low, high], [row, row], color=colour, linewidth=1.4)
        ax.plot(difference, row, "o", color=colour, markerfacecolor=colour if told else "white", markersize=6)
        margin_note(ax, row, f"at epoch {epoch:g}" + ("" if told else ", a tie"), colour)
    ax.axvline(0, color=INK, linewidth=1)
    ties = len(table) - int(table["distinguishable"].sum())
    title = f"{ties} of {len(table)} trials cannot be told apart from {run.best}" if run.best else "No trial has won"
    style(ax, title, "held-out loss less the winner's on the same clips, 95% interval (right: worse)", grid="x")
    named_rows(ax, table["trial"].tolist())
    return whole


def _state(run: Run, trial: str) -> str:
    return str(run.trials.loc[run.trials["trial"] == trial, "state"].iloc[0])


def _diverged(run: Run) -> list[str]:
    return run.trials.loc[run.trials["state"] == "diverged", "trial"].tolist()


def _values(run: Run) -> pd.Series:
    """The metric by trial; what a diverged trial had last means nothing, and would flatten the rest."""
    return run.trials[run.metric].where(run.trials["state"] != "diverged")


def _epochs(count: float) -> str:
    return f"{count:g} epoch{'' if count == 1 else 's'}"


def _mark(state: str) -> dict[str, Any]:
    colour = colour_of(state)
    face = colour if state == "finished" else "white"
    shape = {"diverged": "X", "out_of_memory": "s", "failed": "s"}.get(state, "o")
    return {"marker": shape, "color": colour, "markerfacecolor": face, "markersize": 6, "linestyle": "none"}


def _standard_errors(run: Run) -> dict[str, float]:
    if run.metric != "val_loss":
        return {}
    last = run.reports.drop_duplicates("trial", keep="last").dropna(subset="val_loss_se")
    return {str(trial): float(error) for trial, error in zip(last["trial"], last["val_loss_se"], strict=True)}


def _ranking_title(run: Run) -> str:
    if run.best is None:
        return "No trial has won"
    value = run.trials.loc[run.trials["trial"] == run.best, run.metric].iloc[0]
    return f"{run.best} has the {'lowest' if run.mode == 'min' else 'highest'} {label(run.metric)}: {value:.4g}"


def _curves_title(run: Run, metric: str) -> str:
    finished = int((run.trials["state"] == "finished").sum())
    whole = _epochs(float(run.summary["epochs"]))
    return f"{label(metric).capitalize()}: {finished} of {len(run.trials)} trials trained all {whole}"


def _limit_to_converging(run: Run, values: pd.DataFrame, ax: Axes) -> None:
    """A trial that diverges leaves the picture instead of flattening the others."""
    kept = values.loc[~values["trial"].isin(_diverged(run))].drop(columns="trial").to_numpy()
    if kept.size and np.ptp(kept) > 0:
        ax.set_ylim(kept.min() - 0.05 * np.ptp(kept), kept.max() + 0.05 * np.ptp(kept))


def _name_ends(run: Run, ends: pd.DataFrame, ax: Axes) -> None:
    """Names the curves where they end: the best few at the last epoch, elsewhere all or, where many, none."""
    metric = ends.columns[-1]
    low, high = ax.get_ylim()
    visible = ends[ends[metric].between(low, high)].sort_values(metric, ascending=run.mode == "min")
    for epoch, group in visible.groupby("epoch"):
        if len(group) > NAMED_AT_AN_END:
            group = group.head(NAMED_AT_AN_END if epoch == ends["epoch"].max() else 0)
        heights = spread(group[metric].tolist(), gap=0.035 * (high - low))
        for name, height in zip(group["trial"], heights, strict=True):
            ax.annotate(
                name, (float(str(epoch)), height), xytext=(7, 0), textcoords="offset points", va="center",
                fontsize=8, color=colour_of(_state(run, name)), fontweight="bold" if name == run.best else "normal",
            )  # fmt: skip


def _parameter_panel(run: Run, parameter: str, ax: Axes) -> None:
    scale = run.summary["scales"][parameter]
    values = run.trials[parameter].tolist()
    style(ax, x=parameter.replace("_", " "))
    ax.margins(0.08, 0.14)
    if scale == "category":
        names = sorted({str(value) for value in values}, key=natural)
        positions = [names.index(str(value)) for value in values]
        ax.set_xticks(range(len(names)), names)
        ax.set_xlim(-0.5, max(len(names), 1) - 0.5)
    else:
        positions = values
        ax.set_xscale(scale)
        if scale == "linear":
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=pd.api.types.is_integer_dtype(run.trials[parameter])))
        else:  # matplotlib's own ticks of a few decades run into each other
            ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=6))
            ax.xaxis.set_major_formatter("{x:.0e}")
            ax.xaxis.set_minor_formatter(NullFormatter())
    columns = (run.trials["trial"], run.trials["state"], positions, _values(run))
    for name, state, x, y in zip(*columns, strict=True):
        if math.isfinite(y):
            ax.plot(x, y, zorder=3 if state == "finished" else 2, **_mark(state))
        else:
            ax.plot(x, 1.03, transform=ax.get_xaxis_transform(), clip_on=False, **_mark(state))
        if name == run.best:
            # On the side of the better values, where no other trial is.
            below = (0, -12 if run.mode == "min" else 12)
            ax.annotate(name, (x, y), xytext=below, textcoords="offset points", ha="center", va="center",
                        fontsize=8, fontweight="bold", color=colour_of(state))  # fmt: skip


def _legend(run: Run) -> list[Line2D]:
    meanings = {
        "finished": f"trained all {_epochs(float(run.summary['epochs']))}",
        "pruned": "pruned earlier: not comparable",
        "diverged": "diverged (at the upper edge)",
    }
    states = sorted(set(run.trials["state"]), key=[*meanings, *run.trials["state"]].index)
    return [Line2D([], [], label=meanings.get(state, state.replace("_", " ")), **_mark(state)) for state in states]
