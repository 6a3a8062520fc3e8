"""Charts of how trainings went, step by step, and of where in time the held-out loss lies."""

from typing import Any, Final

import altair as alt
import numpy as np
import pandas as pd

from analysis.charts.base import SHOWN, finish, label, scale_of, shown, tooltip, trial_points
from analysis.palette import TRIAL_COLOURS
from analysis.tables.ranking import WITHIN_95
from analysis.tables.run import Run

MOST_LINES: Final = len(TRIAL_COLOURS)  # trials, the best ones; the tables have them all
MOST_POINTS: Final = 100  # of a line; more are averaged
MEANS: Final = ("train_loss", "grad_norm", "clipped_share", "step_lr")


def training_steps(run: Run, column: str = "train_loss") -> Any:
    """Draws what the training steps of the best trials came to; None where none keeps that.

    Args:
        run: the search.
        column: `train_loss`, `grad_norm`, `clipped_share` or `step_lr` of `Run.steps`.
    """
    best = _best(run)
    lines = [_averaged(steps) for name in best["trial"] if len(steps := run.steps(name))]
    if not lines:
        return None
    table = pd.concat(lines).merge(best, on="trial")
    known = table[table[column].notna()]
    if known.empty:
        return None
    # A spike, or a first step, is cut and not the scale.
    scale = scale_of([0.0, 1.0] if column == "clipped_share" else known[column].quantile([0.0, 0.98]).tolist())
    over = alt.selection_point(name="over", on="pointerover", fields=["trial"], empty=False)
    name = label(column.removeprefix("step_"))
    base = (
        alt.Chart(table)
        .transform_filter(SHOWN)
        .transform_filter(f"isValid(datum.{column})")
        .encode(
            x=alt.X("epoch:Q", title=label("epoch"), scale=alt.Scale(nice=False)),
            y=alt.Y(f"{column}:Q", scale=scale, title=name),
            color=_colour(best),
        )
    )
    wide = alt.when(over).then(alt.value(3)).otherwise(alt.value(1.4))
    seen = alt.when(over).then(alt.value(1)).otherwise(alt.value(0))
    said = tooltip(run, alt.Tooltip("step:Q"), alt.Tooltip(f"{column}:Q", title=name, format=".4g"))
    dots = base.mark_point(filled=True, size=30, clip=True).encode(opacity=seen, tooltip=said).add_params(over)
    count = known["trial"].nunique()
    title = f"{name[0].upper()}{name[1:]} of the best {count} trials, every few steps"
    return finish(
        alt.layer(base.mark_line(clip=True).encode(strokeWidth=wide), dots).add_params(shown()), title, f"{title}.", 360
    )


def time_slots(run: Run) -> Any:
    """Draws the held-out loss of the best trials by time slot, with 95% intervals; None where none keeps that."""
    best = _best(run)
    last = run.reports.groupby("trial")["resource"].max().reindex(best["trial"]).dropna()
    read = (run.time_slot_losses(str(name), resource).dropna(subset="loss") for name, resource in last.items())
    kept = [slots for slots in read if len(slots)]
    if not kept:
        return None
    slots = pd.concat(kept)
    reach = WITHIN_95 * slots["loss_se"]
    table = slots.assign(low=slots["loss"] - reach, high=slots["loss"] + reach).merge(best, on="trial")
    scale = scale_of([*table["low"].fillna(table["loss"]), *table["high"].fillna(table["loss"])])
    order = best["trial"].tolist()
    base = (
        alt.Chart(table)
        .transform_filter(SHOWN)
        .encode(
            x=alt.X("time_slot:O", title="time slot of the predicted tokens", axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("trial:N", sort=order, scale=alt.Scale(paddingOuter=1)),
            color=_colour(best),
        )
    )
    dots = base.mark_point(filled=True, size=40, clip=True).encode(
        y=alt.Y("loss:Q", scale=scale, title=label("val_loss")),
        tooltip=tooltip(
            run,
            alt.Tooltip("time_slot:O"),
            *(alt.Tooltip(f"{name}:Q", format=".4f") for name in ("loss", "low", "high")),
            alt.Tooltip("clips:Q"),
        ),
    )
    bars = base.mark_rule(clip=True).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    title = f"Held-out loss by time slot, of the best {table['trial'].nunique()} trials at their last reports"
    return finish(alt.layer(bars, dots).add_params(shown()), title, f"{title}; bars are 95% over clips.", 280)


def _best(run: Run) -> pd.DataFrame:
    """Returns what is said of the best trials, best first."""
    points = trial_points(run)
    best = points[points["rank"].notna()].sort_values("rank").head(MOST_LINES)
    return best.drop(columns=["rank", "resource", "value", "probe_top1", "effective_rank", "verdict"])


def _colour(best: pd.DataFrame) -> alt.Color:
    """Returns the encoding of trials that each have a colour."""
    names = best["trial"].tolist()
    scale = alt.Scale(domain=names, range=[*TRIAL_COLOURS[: len(names)]])
    return alt.Color("trial:N", scale=scale, legend=alt.Legend(orient="top", title=None))


def _averaged(steps: pd.DataFrame) -> pd.DataFrame:
    """Returns the steps of one trial as at most `MOST_POINTS` means; what is not finite counts as missing."""
    width = -(-len(steps) // MOST_POINTS)
    places = np.arange(len(steps)) // width
    values = steps[[*MEANS]].where(np.isfinite(steps[[*MEANS]]))
    weights = values.notna().mul(steps["steps"], axis="index").groupby(places).sum()
    means = values.mul(steps["steps"], axis="index").groupby(places).sum() / weights
    return steps[["trial", "epoch", "step"]].groupby(places).last().join(means)
