"""What each searched parameter did to the objective, a panel a parameter."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from analysis.plots.baselines import draw_level, widened
from analysis.plots.marks import legend, mark, values
from analysis.plots.style import INK, MUTED, NAME_LETTERS, colour_of, drawn, figure, label, style
from analysis.run_directory.reports import natural
from analysis.tables.baselines import baselines_of
from analysis.tables.run import Run

PANELS_A_ROW = 4


def parameters_against_objective(run: Run) -> Figure:
    """Draws a panel a searched parameter, on its own scale: the objective at each trial's last report.

    A trial that diverged or has no value is a mark at the upper edge.
    """
    columns = max(min(PANELS_A_ROW, len(run.parameters)), 1)
    rows = max(math.ceil(len(run.parameters) / columns), 1)
    baselines = baselines_of(run, run.metric)
    whole = figure(2.4 * columns + (2.4 if baselines else 0.8), 2.4 * rows + 1.0)
    panels = whole.subplots(rows, columns, sharey=True, squeeze=False)
    for ax, parameter in zip(panels.flat, run.parameters, strict=False):
        _parameter_panel(run, parameter, ax)
    for ax in panels.flat[len(run.parameters) :]:
        ax.set_visible(False)
    panels[0, 0].set_ylim(widened(panels[0, 0].get_ylim(), baselines, data=bool(np.isfinite(values(run)).any())))
    for number, ax in enumerate(panels.flat[: len(run.parameters)], start=1):
        draw_level(ax, baselines, named=number % columns == 0 or number == len(run.parameters))
    for ax in panels[:, 0]:
        ax.set_ylabel(drawn(label(run.metric)), fontsize=9, color=MUTED)
    title = drawn(f"{label(run.metric).capitalize()} against each searched parameter")
    whole.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    whole.legend(
        handles=legend(run), loc="outside lower left", ncols=columns, frameon=False, fontsize=8.5, labelcolor=MUTED
    )
    return whole


def _parameter_panel(run: Run, parameter: str, ax: Axes) -> None:
    """Draws the panel of a parameter, without the trials in which it was not set."""
    trials = run.trials.assign(value=values(run))[run.trials[parameter].notna()]
    positions = _positions(run, parameter, trials[parameter], ax)
    for name, state, x, y in zip(trials["trial"], trials["state"], positions, trials["value"], strict=True):
        if math.isfinite(y):
            ax.plot(x, y, zorder=3 if state == "complete" else 2, **mark(state))
        else:
            ax.plot(x, 1.03, transform=ax.get_xaxis_transform(), clip_on=False, **mark(state))
        if name == run.best:
            # On the side of the better values, where no other trial is.
            below = (0, -12 if run.mode == "min" else 12)
            ax.annotate(drawn(name, NAME_LETTERS), (x, y), xytext=below, textcoords="offset points", ha="center",
                        va="center", fontsize=8, fontweight="bold", color=colour_of(state))  # fmt: skip


def _positions(run: Run, parameter: str, tried: pd.Series, ax: Axes) -> list[float]:
    """Returns where the values of a parameter lie on the axis; its scale is set."""
    scale = run.summary["scales"][parameter]
    style(ax, x=parameter.replace("_", " "))
    ax.margins(0.08, 0.14)
    if scale == "category":
        names = sorted({str(value) for value in tried}, key=natural)
        ax.set_xticks(range(len(names)), [drawn(name, NAME_LETTERS) for name in names])
        ax.set_xlim(-0.5, max(len(names), 1) - 0.5)
        return [names.index(str(value)) for value in tried]
    ax.set_xscale(scale)
    if scale == "linear":
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=pd.api.types.is_integer_dtype(tried)))
    else:  # matplotlib's own ticks of a few decades run into each other
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=6))
        ax.xaxis.set_major_formatter("{x:.0e}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    return tried.astype("float64").tolist()
