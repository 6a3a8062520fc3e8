"""Charts of how the trials of a search stand and how they got there."""

from typing import Any, Final

import altair as alt
import numpy as np
import pandas as pd

from analysis.charts.base import (
    SHOWN,
    baseline_layers,
    colour,
    finish,
    label,
    limits,
    scale_of,
    shown,
    spread,
    states_of,
    tooltip,
    trial_points,
)
from analysis.tables.baselines import baselines_of
from analysis.tables.ranking import pareto as pareto_table
from analysis.tables.ranking import ranking as ranking_table
from analysis.tables.ranking import scores_at_rungs
from analysis.tables.run import Run

MOST_ROWS = 30  # of the ranking; the table has them all
NAMED: Final[dict[str, Any]] = {"align": "left", "dx": 6, "fontSize": 11}
MOST_NAMED = 8  # curves that are named at their ends


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
    layers = [*baseline_layers(baselines, scale, horizontal=False), bars, dots]
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


def learning_curves(run: Run, metric: str | None = None, against: str = "resource") -> Any:
    """Draws a metric as trials train, scaled by those that trained to the end; None without reports.

    Args:
        run: the search.
        metric: a column of the reports; None: what was optimized, or the first of a weighted pair.
        against: a column of the reports that grows: "resource" (as scheduled), "epoch", "tflop", "training_seconds".

    Raises:
        KeyError: the reports have no such column.
    """
    metric = metric or run.curve
    points = curve_points(run, metric, against)
    if points.empty:
        return None
    baselines = baselines_of(run, metric)
    scale, beyond = _scale_of_the_finished(points, list(baselines.values()))
    unit, scheduled = label(run.resource if against == "resource" else against), against in ("resource", run.resource)
    end = run.full if scheduled else float(points["at"].max())
    x = alt.X("at:Q", title=unit, scale=alt.Scale(domain=[0, 1.06 * end], nice=False))
    over = alt.selection_point(name="over", on="pointerover", fields=["trial"], empty=False)
    first = alt.when(over).then(alt.value(1.0)).when("datum.trial == datum.best").then(alt.value(1.0))
    faded = first.when("datum.state == 'complete'").then(alt.value(0.75)).otherwise(alt.value(0.3))
    wide = alt.when(over).then(alt.value(4)).when("datum.trial == datum.best").then(alt.value(3))
    base = (
        alt.Chart(points)
        .transform_filter(SHOWN)
        .encode(x=x, y=alt.Y("metric:Q", title=label(metric), scale=scale), color=colour(run), detail="trial:N")
    )
    dashes = alt.StrokeDash("seed:N", scale=alt.Scale(domain=[False, True], range=[[1, 0], [6, 4]]), legend=None)
    lines = base.mark_line(clip=True).encode(
        opacity=faded, strokeWidth=wide.otherwise(alt.value(1.3)), strokeDash=dashes
    )
    said = tooltip(
        run, alt.Tooltip("at:Q", title=unit, format=".4~g"), alt.Tooltip("metric:Q", title=label(metric), format=".4f")
    )
    dots = base.mark_point(filled=True, size=30, clip=True).encode(opacity=faded, tooltip=said).add_params(over)
    layers = [*baseline_layers(baselines, scale, horizontal=True), *(_rungs(run) if scheduled else ()), lines, dots]
    layers += _end_labels(run, points, scale)
    title, description = _of_curves(run, metric, points, beyond)
    return finish(alt.layer(*layers).add_params(shown()), title, description, 360)


def _scale_of_the_finished(points: pd.DataFrame, baselines: list[float]) -> tuple[alt.Scale, int]:
    """Returns the scale of the trials that trained to the end, and how many reports lie beyond it."""
    ended = points[points["state"] == "complete"]
    scaled = ended if len(ended) else points[points["state"] != "diverged"]
    # The first report would take half the height.
    late = scaled[scaled["resource"] > scaled["resource"].min()] if scaled["resource"].nunique() > 2 else scaled
    ends = limits(late["metric"].tolist(), baselines)
    beyond = int(((points["metric"] < ends[0]) | (points["metric"] > ends[1])).sum()) if ends else 0
    return scale_of(late["metric"].tolist(), baselines), beyond


def _rungs(run: Run) -> list[Any]:
    rungs = alt.Chart(pd.DataFrame({"rung": run.summary["rungs"]})).mark_rule(strokeDash=[2, 4], opacity=0.5)
    return [rungs.encode(x="rung:Q")]


def _end_labels(run: Run, points: pd.DataFrame, scale: alt.Scale) -> list[Any]:
    """Names the trials that trained to the end where their curves end, one below the other."""
    ends = points[(points["state"] == "complete") & ~points["seed"]].drop_duplicates("trial", keep="last")
    domain: Any = scale.to_dict().get("domain")
    if ends.empty or not isinstance(domain, list):
        return []
    ends = ends[ends["metric"].between(*domain)].sort_values("metric", ascending=run.mode == "min").head(MOST_NAMED)
    gap = 0.045 * (domain[1] - domain[0])
    labels = ends[["trial", "state", "at", "best"]].assign(height=spread(ends["metric"].tolist(), gap))
    base = (
        alt.Chart(labels)
        .transform_filter(SHOWN)
        .encode(x="at:Q", y=alt.Y("height:Q", scale=scale), text="trial:N", color=colour(run))
    )
    own = base.transform_filter("datum.trial == datum.best").mark_text(**NAMED, fontWeight="bold")
    return [base.transform_filter("datum.trial != datum.best").mark_text(**NAMED), own]


def _of_curves(run: Run, metric: str, points: pd.DataFrame, beyond: int) -> tuple[str, str]:
    """Returns the title of learning curves, and what a screen reader says of them."""
    went = f"{int((run.trials['state'] == 'complete').sum())} of {len(run.trials)} trainings went to the end"
    thick = f"; thick: {points['best'].iloc[0]}" if points["best"].iloc[0] else ""
    seeds = "; dashed: other seeds" if points["seed"].any() else ""
    cut = f"; {beyond} reports lie beyond the scale, which is that of the finished trials" if beyond else ""
    title = f"{label(metric).capitalize()}: {went}{thick}{seeds}{cut}"
    return title, f"Learning curves. {title}. Dotted lines are rungs, brown ones baselines."


def curve_points(run: Run, metric: str, against: str = "resource") -> pd.DataFrame:
    """Returns the finite values of a metric at each report as `metric`, `at`, and what charts know of the trial."""
    reports = run.reports[["trial", "resource"]].assign(metric=run.reports[metric], at=run.reports[against])
    reports = reports[np.isfinite(reports["metric"]) & np.isfinite(reports["at"])]
    known = trial_points(run).drop(columns=["resource", "value", "rank", "verdict", "probe_top1", "effective_rank"])
    chosen = run.summary.get("recommended") or run.best or ""
    seed = run.trials[["trial", "replicate_of"]].assign(seed=lambda rows: rows["replicate_of"].notna())
    points = reports.merge(known, on="trial").merge(seed[["trial", "seed"]], on="trial")
    whole: pd.DataFrame = points.assign(best=chosen)
    return whole


def against_winner(run: Run) -> Any:
    """Draws the loss of each complete trial less the winner's, by clip, with its 95% interval; None without any."""
    table = ranking_table(run)
    table = table[(table["state"] == "complete") & table["behind"].notna()].sort_values("behind", kind="stable")
    if table.empty:
        return None
    points = trial_points(run).merge(table[["trial", "behind", "behind_low", "behind_high", "conclusion"]], on="trial")
    order, told = table["trial"].tolist(), ["worse", "better"]
    scale = scale_of([*points["behind_low"], *points["behind_high"], 0.0])
    y = alt.Y("trial:N", sort=order, title=None)
    strong = alt.when(alt.FieldOneOfPredicate("conclusion", told)).then(alt.value(1.0)).otherwise(alt.value(0.45))
    base = alt.Chart(points).transform_filter(SHOWN).encode(y=y, opacity=strong, color=colour(run, legend=False))
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("behind_low:Q", scale=scale), x2="behind_high:Q")
    dots = base.mark_point(filled=True, size=70).encode(
        x=alt.X("behind:Q", scale=scale, title=f"held-out loss less that of {run.best} (right: worse), 95%"),
        tooltip=tooltip(run, alt.Tooltip("behind:Q", format="+.4f"), alt.Tooltip("conclusion:N")),
    )
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule().encode(x=alt.X("zero:Q", scale=scale))
    ties = int(table["conclusion"].isin(["tied"]).sum())
    title = f"{ties} of {len(table)} trials that trained as long as {run.best} are tied with it"
    return finish(alt.layer(zero, bars, dots).add_params(shown()), title, f"{title}.", max(50, 24 * len(order)))


def pareto(run: Run, against: str | None = None) -> Any:
    """Draws the objective against what trials cost, the front as a line; None without a complete trial.

    Args:
        run: the search.
        against: see `analysis.pareto`.
    """
    table = pareto_table(run, against)
    if table.empty:
        return None
    name = against or run.summary["objective"]["against"] or "training_seconds"
    points = table.merge(trial_points(run).drop(columns="value"), on="trial")
    x = alt.X("cost:Q", title=label(name), scale=scale_of(points["cost"].tolist()))
    y = alt.Y("value:Q", title=label(run.metric), scale=scale_of(points["value"].tolist()))
    base = alt.Chart(points).transform_filter(SHOWN).encode(x=x, y=y)
    front = base.transform_filter("datum.front").mark_line(interpolate="step-after", strokeWidth=2, opacity=0.6)
    said = tooltip(run, alt.Tooltip("value:Q", format=".4f"), alt.Tooltip("cost:Q", format=".4~g", title=label(name)))
    dots = base.mark_point(filled=True, size=80).encode(color=colour(run), tooltip=said)
    names = (
        base.transform_filter("datum.front").mark_text(align="right", dx=-7, dy=7, fontSize=11).encode(text="trial:N")
    )
    title = f"{int(points['front'].sum())} of {len(points)} complete trials are beaten by none in both"
    return finish(alt.layer(front, dots, names).add_params(shown()), title, f"Pareto front: {title}.", 280)


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
