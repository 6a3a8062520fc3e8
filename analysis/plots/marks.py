"""How a trial is drawn: its state as a mark, its value of the objective, how far it trained."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from analysis.plots.style import colour_of, drawn
from analysis.tables.run import Run

UNITS: dict[str, Callable[[float], str]] = {
    "epoch": lambda count: f"{count:.4g} epoch{'' if count == 1 else 's'}",
    "tflop": lambda count: f"{count:.4g} TFLOP",
    "second": lambda count: f"{count:.4g} s",
}


def amount(run: Run, resource: float) -> str:
    """Names so much of the run's resource: "3 epochs"."""
    return UNITS[run.resource](resource)


def state_of(run: Run, trial: str) -> str:
    """Returns what became of a trial."""
    return str(run.trials.loc[run.trials["trial"] == trial, "state"].iloc[0])


def diverged(run: Run) -> list[str]:
    """Returns the trials that diverged."""
    return run.trials.loc[run.trials["state"] == "diverged", "trial"].tolist()


def values(run: Run) -> pd.Series:
    """Returns the objective by trial, as `run.mode` has it; what a diverged trial had last means nothing: NaN."""
    scores = run.trials["score"].where(run.trials["state"] != "diverged")
    return scores if run.mode == "min" else -scores


def mark(state: str) -> dict[str, Any]:
    """Returns how a trial of that state is drawn."""
    colour = colour_of(state)
    face = colour if state == "complete" else "white"
    shape = {"diverged": "X", "out_of_memory": "s", "failed": "s"}.get(state, "o")
    return {"marker": shape, "color": colour, "markerfacecolor": face, "markersize": 6, "linestyle": "none"}


def legend(run: Run) -> list[Line2D]:
    """Returns one handle a state that trials of the run have."""
    meanings = {
        "complete": f"trained all {amount(run, run.full)}",
        "pruned": "pruned earlier: not comparable",
        "diverged": "diverged (at the upper edge)",
    }
    states = sorted(set(run.trials["state"]), key=[*meanings, *run.trials["state"]].index)
    named = {state: drawn(meanings.get(state, state.replace("_", " "))) for state in states}
    return [Line2D([], [], label=name, **mark(state)) for state, name in named.items()]
