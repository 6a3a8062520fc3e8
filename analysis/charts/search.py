"""Charts of how the trials of a search stand and how they got there."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.charts.base import SHOWN, colour, finish, label, limits, scale_of, shown, states_of, tooltip, trial_points
from analysis.palette import BASELINE_COLOUR
from analysis.tables.baselines import baselines_of
from analysis.tables.ranking import ranking as ranking_table
from analysis.tables.ranking import scores_at_rungs
from analysis.tables.run import Run

MOST_ROWS = 30  # of the ranking; the table has them all


def ranking(run: Run) -> Any:
    """Draws the best configurations with the 95% interval of each value; None where none has a value."""
    table = ranking_table(run)
    table = table[table["rank"].notna()].head(MOST_ROWS)[["trial", "value", "low", "high", "seeds", "tied"]]
    if table.empty:
        return None
    points = trial_points(run).drop(columns=["value"]).merge(table, on="trial")
    order = table["trial"].tolist()
    ends = [*points["value"], *points["low"], *points["high"]]
    baselines = baselines_of(run, run.metric)
    scale = scale_of(ends, list(baselines.values()))
    x = alt.X("value:Q", scale=scale, title=f"{label(run.metric)} at the last report, 95%")
    base = alt.Chart(points).transform_filter(SHOWN).encode(y=alt.Y("trial:N", sort=order, title=None))
    said = tooltip(
        run,
        alt.Tooltip("value:Q", format=".4f"),
        alt.Tooltip("low:Q", format=".4f"),
        alt.Tooltip("high:Q", format=".4f"),
        alt.Tooltip("resource:Q", title=label(run.resource), format=".4~g"),
        alt.Tooltip("probe_top1:Q", title="linear probe", format=".1%"),
    )
    known = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2, clip=True)
    bars = known.encode(x=alt.X("low:Q", scale=scale), x2="high:Q", color=colour(run))
    dots = base.mark_point(filled=True, size=70, clip=True).encode(
        x=x, color=colour(run), shape=_shapes(run), tooltip=said
    )
    layers = [*_baselines(baselines, scale, horizontal=False), bars, dots]
    whole = alt.layer(*layers).add_params(shown())
    best = f"best is {run.best}" if run.best else "no trial has trained to its end yet"
    title = f"The best {len(order)} of {int(run.trials['rank'].notna().sum())} ranked trials"
    return finish(whole, title, f"Ranking: {title}; {best}.", max(60, 20 * len(order)))


def _shapes(run: Run) -> alt.Shape:
    """Trials that did not train to the end are triangles: their value is of less training."""
    there = states_of(run)
    return alt.Shape(
        "state:N",
        scale=alt.Scale(domain=there, range=["circle" if state == "complete" else "triangle-right" for state in there]),
        legend=alt.Legend(orient="top", title=None),
    )


def learning_curves(run: Run, metric: str | None = None) -> Any:
    """Draws a metric as trials train, scaled by those that trained to the end; None without reports.

    Args:
        run: the search.
        metric: a column of the reports; None: what was optimized, or the first of a weighted pair.
    """
    metric = metric or run.curve
    points = curve_points(run, metric)
    if points.empty:
        return None
    baselines = baselines_of(run, metric)
    ended = points[points["state"] == "complete"]
    scaled = ended if len(ended) else points
    # The first report of an untrained model would take half the height.
    late = scaled[scaled["resource"] > scaled["resource"].min()] if scaled["resource"].nunique() > 2 else scaled
    ends = limits(late["metric"].tolist(), list(baselines.values()))
    scale = scale_of(late["metric"].tolist(), list(baselines.values()))
    x = alt.X("resource:Q", title=label(run.resource), scale=alt.Scale(domain=[0, run.full], nice=False))
    y = alt.Y("metric:Q", title=label(metric), scale=scale)
    over = alt.selection_point(name="over", on="pointerover", fields=["trial"], empty=False)
    faded = (
        alt.when(over)
        .then(alt.value(1.0))
        .when("datum.trial == datum.best")
        .then(alt.value(1.0))
        .when("datum.state == 'complete'")
        .then(alt.value(0.75))
        .otherwise(alt.value(0.3))
    )
    wide = (
        alt.when(over).then(alt.value(4)).when("datum.trial == datum.best").then(alt.value(3)).otherwise(alt.value(1.3))
    )
    base = alt.Chart(points).transform_filter(SHOWN).encode(x=x, y=y, color=colour(run), detail="trial:N")
    dashes = alt.StrokeDash("seed:N", scale=alt.Scale(domain=[False, True], range=[[1, 0], [6, 4]]), legend=None)
    lines = base.mark_line(clip=True).encode(opacity=faded, strokeWidth=wide, strokeDash=dashes)
    said = tooltip(
        run, alt.Tooltip("resource:Q", title=label(run.resource), format=".4~g"),
        alt.Tooltip("metric:Q", title=label(metric), format=".4f"),
    )  # fmt: skip
    dots = base.mark_point(filled=True, size=30, clip=True).encode(opacity=faded, tooltip=said).add_params(over)
    rungs = alt.Chart(pd.DataFrame({"rung": run.summary["rungs"]})).mark_rule(strokeDash=[2, 4], opacity=0.5)
    layers = [*_baselines(baselines, scale, horizontal=True), rungs.encode(x="rung:Q"), lines, dots]
    beyond = int(((points["metric"] < ends[0]) | (points["metric"] > ends[1])).sum()) if ends else 0
    cut = (
        f"; {beyond} reports lie beyond the scale, which is that of the trials that trained to the end"
        if beyond
        else ""
    )
    complete = int((run.trials["state"] == "complete").sum())
    seeds = "; dashed: other seeds" if points["seed"].any() else ""
    thick = f"; thick: {points['best'].iloc[0]}" if points["best"].iloc[0] else ""
    title = (
        f"{label(metric).capitalize()}: {complete} of {len(run.trials)} trainings went to the end{thick}{seeds}{cut}"
    )
    description = f"Learning curves. {title}. Dotted lines are rungs, brown ones baselines, dashed ones other seeds."
    return finish(alt.layer(*layers).add_params(shown()), title, description, 360)


def curve_points(run: Run, metric: str) -> pd.DataFrame:
    """Returns the finite values of a metric at each report, with what charts know of the trial."""
    reports = run.reports[["trial", "resource", metric]].rename(columns={metric: "metric"})
    reports = reports[np.isfinite(reports["metric"])]
    known = trial_points(run).drop(columns=["resource", "value", "rank", "verdict", "probe_top1", "effective_rank"])
    chosen = run.summary.get("recommended") or run.best or ""
    seed = run.trials[["trial", "replicate_of"]].assign(seed=lambda rows: rows["replicate_of"].notna())
    points = reports.merge(known, on="trial").merge(seed[["trial", "seed"]], on="trial")
    whole: pd.DataFrame = points.assign(best=chosen)
    return whole


def horizon(run: Run) -> Any:
    """Draws the rank of each trial at every rung among those that got there; None with one rung or one trial."""
    scores = scores_at_rungs(run)
    scores = scores.loc[:, scores.notna().any()]
    if scores.shape[1] < 2 or len(scores) < 2:
        return None
    placed = scores.rank(method="min").reset_index()
    ranks = placed.melt(id_vars="trial", var_name="rung", value_name="place").dropna()
    known = trial_points(run)
    points = ranks.merge(known.drop(columns=["resource", "value", "rank", "verdict"]), on="trial")
    over = alt.selection_point(name="over", on="pointerover", fields=["trial"], empty=False)
    faded = (
        alt.when(over)
        .then(alt.value(1.0))
        .when("datum.state == 'complete'")
        .then(alt.value(0.9))
        .otherwise(alt.value(0.35))
    )
    x = alt.X("rung:O", title=f"rung ({label(run.resource)})", axis=alt.Axis(labelAngle=0, format="~g"))
    last = float(ranks["place"].max()) + 0.5
    y = alt.Y(
        "place:Q",
        title="place among those that got there",
        axis=alt.Axis(values=_places(len(scores))),
        scale=alt.Scale(reverse=True, nice=False, domain=[0.5, last]),
    )
    base = alt.Chart(points).transform_filter(SHOWN).encode(x=x, y=y, color=colour(run), detail="trial:N")
    lines = base.mark_line(strokeWidth=2).encode(opacity=faded)
    dots = base.mark_point(filled=True, size=60).encode(
        opacity=faded, tooltip=tooltip(run, alt.Tooltip("rung:O"), alt.Tooltip("place:Q"))
    )
    whole = alt.layer(lines, dots.add_params(over)).add_params(shown())
    title = f"Places of {len(scores)} trials at {scores.shape[1]} rungs"
    return finish(whole, title, f"How ranks moved from rung to rung: {title}.", 320)


def _places(count: int) -> list[int]:
    """Returns the places that an axis names: the first, and some others."""
    step = max(1, round(count / 8))
    return [1, *range(1 + step, count + 1, step)]


def _baselines(baselines: dict[str, float], scale: alt.Scale, *, horizontal: bool) -> list[Any]:
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
