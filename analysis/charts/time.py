"""Charts of what a search took: what the machine did when, and how the best went down with it."""

from typing import Any

import altair as alt
import pandas as pd

from analysis.charts.base import SHOWN, finish, label, scale_of, shown
from analysis.palette import ACTIVITY_COLOURS, STATE_COLOURS
from analysis.tables.cost import timeline as timeline_table
from analysis.tables.run import Run


def timeline(run: Run) -> Any:
    """Draws a lane a worker: when it was starting, loading, training, waiting and evaluating; None: not known."""
    lanes = timeline_table(run)
    if lanes.empty:
        return None
    start = lanes["begin"].min()
    minutes = {name: (lanes[name] - start).dt.total_seconds().round(1) / 60 for name in ("begin", "end")}
    table = lanes.assign(**minutes, seconds=(lanes["end"] - lanes["begin"]).dt.total_seconds().round(1))
    spent = table.groupby("activity")["seconds"].sum()
    there = [activity for activity in ACTIVITY_COLOURS if activity in spent]
    shade = alt.Color(
        "activity:N", title=None, legend=alt.Legend(orient="top"),
        scale=alt.Scale(domain=there, range=[ACTIVITY_COLOURS[activity] for activity in there]),
    )  # fmt: skip
    bars = (
        alt.Chart(table)
        .transform_filter(SHOWN)
        .mark_bar()
        .encode(
            x=alt.X("begin:Q", title="minutes since the first trial was given to a worker",
                    scale=alt.Scale(domain=[0, float(minutes["end"].max())], nice=False)),
            x2="end:Q",
            y=alt.Y("slot:O", title="worker"),
            color=shade,
            tooltip=["trial:N", "activity:N", alt.Tooltip("resource:Q", title=f"to {label(run.resource)}"),
                     alt.Tooltip("seconds:Q", format=",.1f")],
        )
        .add_params(shown())
    )  # fmt: skip
    whole = (minutes["end"].max() - minutes["begin"].min()) * 60 * lanes["slot"].nunique()
    idle = max(0.0, 1 - float(spent.sum()) / whole) if whole else 0.0
    share = f"{spent.get('training', 0.0) / whole:.0%}" if whole else "none"
    title = f"Of the workers' time, {share} was training and {idle:.0%} idle"
    return finish(bars, title, f"Timeline of {lanes['slot'].nunique()} workers. {title}.", 40 * lanes["slot"].nunique())


def best_so_far(run: Run) -> Any:
    """Draws the best value that any trial had reported against what all had trained by then; None without reports."""
    reports = run.reports.dropna(subset=["time", run.curve]).sort_values("time", kind="stable")
    reports = reports[reports["status"] != "diverged"]
    if reports.empty:
        return None
    spent = reports.groupby("trial")["resource"].diff().fillna(reports["resource"]).cumsum()
    goal = run.summary["metrics"].get(run.curve, {}).get("goal", run.mode)
    best = reports[run.curve].cummin() if goal == "min" else reports[run.curve].cummax()
    table = pd.DataFrame({"spent": spent, "best": best, "reported": reports[run.curve], "trial": reports["trial"]})
    scale = scale_of(best.tolist())
    x = alt.X("spent:Q", title=f"{label(run.resource)} in all trials")
    line = alt.Chart(table).mark_line(
        interpolate="step-after", color=STATE_COLOURS["complete"], strokeWidth=2.5, clip=True
    )
    dots = alt.Chart(table).mark_point(filled=True, size=26, opacity=0.6, color=STATE_COLOURS["pruned"], clip=True)
    said = [
        "trial:N",
        alt.Tooltip("reported:Q", title=label(run.curve), format=".4f"),
        alt.Tooltip("spent:Q", format=".4~g"),
    ]
    whole = alt.layer(
        dots.encode(x=x, y=alt.Y("reported:Q", scale=scale), tooltip=said),
        line.encode(x=x, y=alt.Y("best:Q", scale=scale, title=label(run.curve))),
    )
    title = f"Best {label(run.curve)} so far: {best.iloc[-1]:.4f} after {spent.iloc[-1]:.4g} {label(run.resource)}"
    return finish(whole, title, f"{title}. Grey dots are single reports, of any length of training.", 220)
