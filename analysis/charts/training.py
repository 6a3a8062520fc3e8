"""Charts of how trainings went, step by step, and of where in time the held-out loss lies."""

from typing import Any, Final

import altair as alt
import numpy as np
import pandas as pd

from analysis.charts.base import SHOWN, finish, label, limits, shown, tooltip, trial_points
from analysis.tables.run import Run

MOST_LINES: Final = 12  # trials, the best ones; the tables have them all
MOST_POINTS: Final = 150  # of a line; more are averaged


def training_steps(run: Run, column: str = "train_loss") -> Any:
    """Draws what the training steps of the best trials came to; None where none keeps that.

    Args:
        run: the search.
        column: `train_loss`, `grad_norm`, `clipped_share` or `step_lr` of `Run.steps`.
    """
    best = _best(run)
    steps = run.steps()
    table = steps[steps["trial"].isin(best["trial"])].dropna(subset=[column])
    table = table[np.isfinite(table[column])]
    if table.empty:
        return None
    lines = pd.concat([_averaged(rows, column) for _, rows in table.groupby("trial", sort=False)])
    ends = limits(lines[column].quantile([0.0, 0.99]).tolist())  # a spike, or a first step, is cut and not the scale
    scale = alt.Scale(domain=ends, zero=False, nice=False) if ends else alt.Scale(zero=False)
    over = alt.selection_point(name="over", on="pointerover", fields=["trial"], empty=False)
    drawn = (
        alt.Chart(lines.merge(best, on="trial"))
        .transform_filter(SHOWN)
        .mark_line(clip=True)
        .encode(
            x=alt.X("epoch:Q", title=label("epoch")),
            y=alt.Y(f"{column}:Q", scale=scale, title=label(column.removeprefix("step_"))),
            color=alt.Color("trial:N", sort=best["trial"].tolist(), legend=alt.Legend(orient="top", title=None)),
            strokeWidth=alt.when(over).then(alt.value(3)).otherwise(alt.value(1.4)),
            tooltip=tooltip(run, alt.Tooltip("step:Q"), alt.Tooltip(f"{column}:Q", format=".4g")),
        )
        .add_params(over, shown())
    )
    count = lines["trial"].nunique()
    title = f"{label(column.removeprefix('step_')).capitalize()} of the best {count} trials, every few steps"
    return finish(drawn, title, f"{title}.", 220)


def time_slots(run: Run) -> Any:
    """Draws the held-out loss of the best trials by time slot, with 95% intervals; None where none keeps that."""
    best = _best(run)
    slots = run.time_slot_losses()
    slots = slots[slots["trial"].isin(best["trial"])]
    slots = slots[slots["resource"] == slots.groupby("trial")["resource"].transform("max")]
    if slots.empty:
        return None
    reach = 1.96 * slots["loss_se"]
    table = slots.assign(low=slots["loss"] - reach, high=slots["loss"] + reach).merge(
        best.drop(columns="resource"), on="trial"
    )
    ends = limits([*table["low"].fillna(table["loss"]), *table["high"].fillna(table["loss"])])
    scale = alt.Scale(domain=ends, zero=False, nice=False) if ends else alt.Scale(zero=False)
    x = alt.X("time_slot:O", title="time slot of the predicted tokens", axis=alt.Axis(labelAngle=0))
    base = alt.Chart(table).transform_filter(SHOWN).encode(
        x=x, color=alt.Color("trial:N", sort=best["trial"].tolist(), legend=alt.Legend(orient="top", title=None))
    )  # fmt: skip
    said = tooltip(run, *(alt.Tooltip(f"{name}:Q", format=".4f") for name in ("loss", "low", "high")))
    lines = base.mark_line(point=True, clip=True).encode(
        y=alt.Y("loss:Q", scale=scale, title=label("val_loss")), tooltip=said
    )
    bars = base.mark_rule(opacity=0.5, clip=True).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    title = f"Held-out loss by time slot, of the best {table['trial'].nunique()} trials at their last reports"
    return finish(alt.layer(bars, lines).add_params(shown()), title, f"{title}; bars are 95% over clips.", 220)


def _best(run: Run) -> pd.DataFrame:
    """Returns what charts know of the best trials, best first."""
    points = trial_points(run)
    return points[points["rank"].notna()].sort_values("rank").head(MOST_LINES)


def _averaged(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Returns rows of one trial as at most `MOST_POINTS` means over steps next to each other."""
    width = -(-len(rows) // MOST_POINTS)
    weighed = rows.assign(sum=rows[column] * rows["steps"]).groupby(np.arange(len(rows)) // width)
    found = weighed.agg({"trial": "first", "epoch": "last", "step": "last", "sum": "sum", "steps": "sum"})
    return found.assign(**{column: found["sum"] / found["steps"]})[["trial", "epoch", "step", column]]
