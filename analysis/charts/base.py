"""What the charts share: the trials as their data, colours by state, what is said of a trial that is pointed at."""

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import altair as alt
import pandas as pd

from analysis.palette import BASELINE_COLOUR, STATE_COLOURS
from analysis.tables.run import Run
from analysis.text import printable, shortened

TITLE_LETTERS: Final = 92  # in a line, of a chart that is `WIDTH` wide
WIDTH: Final = 640  # pixels, on paper and in notebooks
NAME_LETTERS: Final = 40  # of a name in an axis, a legend or a tooltip
LABELS: Final = {
    "val_loss": "held-out loss",
    "val_r2": "held-out explained variance",
    "probe_top1": "linear-probe accuracy",
    "attentive_top1": "attentive-probe accuracy",
    "grad_norm": "gradient norm",
    "train_loss": "training loss",
    "training_seconds": "seconds of training",
    "parameters": "parameters of student and predictor",
    "epoch": "epochs",
    "tflop": "TFLOP of training",
    "second": "seconds of training",
}


def label(column: str) -> str:
    """Returns what an axis calls a metric or a resource."""
    return LABELS.get(column, plain(column.replace("_", " ")))


def plain(text: object) -> str:
    """Returns a name that may hold anything as one short line."""
    return shortened(printable(str(text)), NAME_LETTERS)


def trial_points(run: Run) -> pd.DataFrame:
    """Returns what charts know of the trials: one row a configuration and replicate.

    Returns:
        `trial`, `state`, `value` (of the objective as people read it; missing where the trial diverged), `rank`,
        `resource`, `probe_top1`, `effective_rank`, `verdict`; and the searched parameters as `p0`, `p1`..., whatever
        their names, categories as text.
    """
    trials = run.trials
    scores = trials["score"].where(trials["state"] != "diverged")
    columns = ["trial", "state", "rank", "resource", "probe_top1", "effective_rank", "verdict"]
    table = trials[columns].assign(value=scores if run.mode == "min" else -scores)
    for number, name in enumerate(run.parameters):
        values = trials[name]
        table[f"p{number}"] = (
            values.map(plain, na_action="ignore") if categorical(run, name) else values.astype("float64")
        )
    return table


def categorical(run: Run, parameter: str) -> bool:
    """Returns whether the values of a parameter have no order."""
    return bool(run.summary["scales"][parameter] == "category")


def states_of(run: Run) -> list[str]:
    """Returns the states that trials of the run have."""
    return [state for state in STATE_COLOURS if (run.trials["state"] == state).any()]


def colour(run: Run, *, legend: bool = True) -> alt.Color:
    """Returns the encoding of the states that trials of the run have."""
    there = states_of(run)
    scale = alt.Scale(domain=there, range=[STATE_COLOURS[state] for state in there])
    return alt.Color("state:N", scale=scale, legend=alt.Legend(orient="top", title=None) if legend else None)


def tooltip(run: Run, *first: alt.Tooltip) -> list[alt.Tooltip]:
    """Returns what is said of a trial: its name and state, some fields, and its hyperparameters."""
    said = [alt.Tooltip("trial:N"), alt.Tooltip("state:N"), *first]
    for number, name in enumerate(run.parameters):
        kind = "N" if categorical(run, name) else "Q"
        more: dict[str, Any] = {} if kind == "N" else {"format": ".4~g"}
        said.append(alt.Tooltip(f"p{number}:{kind}", title=plain(name), **more))
    return said


def shown() -> alt.Parameter:
    """Returns the parameter that says which trials are shown; null: all."""
    return alt.param(name="shown", value=None)


SHOWN: Final = "shown == null || indexof(shown, datum.trial) >= 0"


def finish(chart: Any, title: str, description: str, height: int | None = None) -> Any:
    """Gives a chart its title, what a screen reader says of it, and the width of whatever holds it."""
    lines = textwrap.wrap(title, TITLE_LETTERS)
    sized = chart.properties(title=alt.Title(lines, anchor="start"), description=description, width="container")
    return sized if height is None else sized.properties(height=height)


def x_scale(run: Run, parameter: str) -> alt.Scale:
    """Returns the scale of a parameter: its range, and wherever trials lie outside."""
    extent = run.summary["ranges"].get(parameter, {})
    kind: Any = "log" if run.summary["scales"][parameter] == "log" else "linear"
    values = [float(value) for value in run.trials[parameter].dropna()]
    ends = [*values, *(float(extent[name]) for name in ("low", "high") if name in extent)]
    return alt.Scale(type=kind, domain=[min(ends), max(ends)], nice=False) if ends else alt.Scale(type=kind)


def scale_of(values: Sequence[float], near: Sequence[float] = ()) -> alt.Scale:
    """Returns the scale of an axis for values, wide enough for what else is near."""
    ends = limits(values, near)
    return alt.Scale(zero=False, nice=False) if ends is None else alt.Scale(domain=ends, zero=False, nice=False)


def limits(values: Sequence[float], near: Sequence[float] = ()) -> list[float] | None:
    """Returns the limits of an axis for values, wide enough for what else is near; None without any."""
    known = [value for value in values if value == value]
    if not known:
        return None
    low, high = min(known), max(known)
    reach = 0.35 * (high - low) or 0.1 * abs(high) or 0.1
    within = [value for value in near if low - reach <= value <= high + reach]
    low, high = min([low, *within]), max([high, *within])
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    return [low - margin, high + margin]


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Moves `values` up as little as it takes for labels at them to lie at least `gap` apart, in the same order."""
    placed = list(values)
    order = sorted(range(len(placed)), key=placed.__getitem__)
    for below, above in pairwise(order):
        placed[above] = max(placed[above], placed[below] + gap)
    return placed


def baseline_layers(baselines: dict[str, float], scale: alt.Scale, *, horizontal: bool) -> list[Any]:
    """Draws what predictors or encoders get that learned nothing, named where the line is."""
    if not baselines:
        return []
    table = pd.DataFrame({"baseline": list(baselines), "level": list(baselines.values())})
    said = [alt.Tooltip("baseline:N"), alt.Tooltip("level:Q", format=".4f")]
    rule = alt.Chart(table).mark_rule(color=BASELINE_COLOUR, strokeWidth=1.5, clip=True)
    text = alt.Chart(table).mark_text(
        color=BASELINE_COLOUR, clip=True, align="left", baseline="bottom", dx=4, dy=-2, fontSize=11
    )
    if horizontal:
        return [
            rule.encode(y=alt.Y("level:Q", scale=scale), tooltip=said),
            text.encode(x=alt.value(0), y=alt.Y("level:Q", scale=scale), text="baseline:N"),
        ]
    return [rule.encode(x=alt.X("level:Q", scale=scale), tooltip=said)]


def fixed(chart: Any, width: int = WIDTH) -> Any:
    """Returns a chart with a width of its own, for what cannot give it one: a file, or an image in a notebook."""
    return chart.properties(width=width)


def save(chart: Any, path: str | Path, width: int = WIDTH) -> None:
    """Saves a chart as a picture, without a browser or a network.

    Args:
        chart: of this package.
        path: the file; its name ends in .pdf, .svg or .png.
        width: of the drawn area in pixels.

    Raises:
        ValueError: the name ends otherwise.
    """
    kind = Path(path).suffix
    if kind not in (".pdf", ".svg", ".png"):
        raise ValueError(f"{path}: must end in .pdf, .svg or .png")
    fixed(chart, width).save(str(path), ppi=200) if kind == ".png" else fixed(chart, width).save(str(path))
