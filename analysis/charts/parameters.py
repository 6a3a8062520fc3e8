"""Charts of what the searched parameters did to the objective."""

import math
from typing import Any

import altair as alt
import pandas as pd

from analysis.charts.base import (
    SHOWN,
    categorical,
    colour,
    finish,
    label,
    plain,
    scale_of,
    shown,
    tooltip,
    trial_points,
    x_scale,
)
from analysis.palette import STATE_COLOURS
from analysis.run_directory.reports import natural
from analysis.tables.importance import comparable
from analysis.tables.importance import importance as importance_table
from analysis.tables.run import Run


def importance(run: Run) -> Any:
    """Draws how much of the scores' variance each parameter explains; None where too few trials tell."""
    table = importance_table(run)
    if table.empty:
        return None
    table = table.assign(name=table["parameter"].map(plain))
    bars = (
        alt.Chart(table[["name", "importance", "spearman", "caveat"]])
        .mark_bar(color=STATE_COLOURS["complete"])
        .encode(
            x=alt.X("importance:Q", axis=alt.Axis(format="%"), title="share of the variance, by fANOVA"),
            y=alt.Y("name:N", sort=None, title=None),
            tooltip=[
                alt.Tooltip("name:N", title="parameter"),
                alt.Tooltip("importance:Q", format=".0%"),
                alt.Tooltip("spearman:Q", format=".2f", title="rank correlation with the score"),
            ],
        )
    )
    first = table.iloc[0]
    title = f"{first['name']} explains {first['importance']:.0%} of the variance at rung {first['rung']:g}"
    return finish(bars, title, f"Importance of the parameters. {title}.", max(40, 26 * len(table)))


def at_one_rung(run: Run) -> tuple[str, pd.DataFrame]:
    """Returns the trials with their values at the rung that most came to, and what to call these."""
    points, found = trial_points(run), comparable(run)
    if found is None:
        return f"{label(run.metric)} at the last report", points
    rung, table = found
    values = table["score"] if run.mode == "min" else -table["score"]
    compared = points.drop(columns="value").merge(values.rename("value"), left_on="trial", right_index=True)
    return f"{label(run.metric)} at {rung:g} {label(run.resource)}", compared


def slices(run: Run) -> list[Any]:
    """Draws the objective against each parameter, all trials at the rung that most came to; one chart each."""
    name, points = at_one_rung(run)
    points = points[points["value"].notna()]
    charts: list[Any] = []
    scale = scale_of(points["value"].tolist())
    for number, parameter in enumerate(run.parameters if len(points) else ()):
        field, title = f"p{number}", plain(parameter)
        there = points[points[field].notna()]
        if there.empty:
            continue
        if categorical(run, parameter):
            order = sorted(there[field].unique(), key=natural)
            x = alt.X(f"{field}:N", title=title, sort=order, axis=alt.Axis(labelAngle=0))
        else:
            axis = alt.Axis(format=".2~g", tickCount=4, labelOverlap=True)
            x = alt.X(f"{field}:Q", title=title, scale=x_scale(run, parameter), axis=axis)
        dots = (
            alt.Chart(points)
            .transform_filter(SHOWN)
            .transform_filter(f"isValid(datum.{field})")
            .mark_point(filled=True, size=60, opacity=0.85)
            .encode(
                x=x,
                y=alt.Y("value:Q", title=name if not charts else None, scale=scale),
                color=colour(run, legend=False),
                tooltip=tooltip(run, alt.Tooltip("value:Q", format=".4f", title=name)),
            )
            .add_params(shown())
        )
        charts.append(finish(dots, title, f"{name} against {title}, one dot a trial.", 200))
    return charts


def parallel_coordinates(run: Run) -> Any:
    """Draws each trial as a line through its parameters and its value; None with fewer than two of either."""
    name, points = at_one_rung(run)
    points = points[points["value"].notna()]
    if len(points) < 2 or not run.parameters:
        return None
    axes, rows = [], []
    for number, parameter in enumerate(run.parameters):
        if points[f"p{number}"].notna().any():
            axes.append((plain(parameter), _places(run, parameter, points[f"p{number}"])))
    axes.append((name, _place_of_values(points["value"])))
    for title, places in axes:
        for trial, place in zip(points["trial"], places, strict=True):
            rows.append((trial, title, place))
    lines = pd.DataFrame(rows, columns=["trial", "axis", "place"]).dropna()
    lines = lines.merge(points.drop(columns=["rank", "verdict", "resource"]), on="trial")
    over = alt.selection_point(name="over", on="pointerover", fields=["trial"], empty=False)
    ends = [float(points["value"].min()), float(points["value"].max())]
    scheme = alt.SchemeParams(name="viridis", extent=[0.15, 0.8])
    shade = alt.Color(
        "value:Q",
        title=name,
        scale=alt.Scale(scheme=scheme, domain=ends, reverse=run.mode == "min"),
        legend=alt.Legend(orient="top", gradientLength=160),
    )
    base = (
        alt.Chart(lines)
        .transform_filter(SHOWN)
        .encode(
            x=alt.X(
                "axis:N", sort=[title for title, _ in axes], title=None, axis=alt.Axis(labelAngle=0, labelLimit=120)
            ),
            y=alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-0.02, 1.02])),
            detail="trial:N",
        )
    )
    width = alt.when(over).then(alt.value(4)).otherwise(alt.value(1.4))
    strong = alt.when(over).then(alt.value(1)).otherwise(alt.value(0.65))
    drawn = base.mark_line().encode(color=shade, strokeWidth=width, opacity=strong)
    dots = base.mark_point(filled=True, size=40).encode(
        color=shade, opacity=strong, tooltip=tooltip(run, alt.Tooltip("value:Q", format=".4f", title=name))
    )
    whole = alt.layer(drawn, dots.add_params(over)).add_params(shown())
    title = "Each line a trial: low values at the bottom, on the right the objective"
    return finish(whole, title, f"Parallel coordinates of {len(points)} trials.", 300)


def _places(run: Run, parameter: str, values: "pd.Series[Any]") -> "pd.Series[float]":
    """Returns where values lie on an axis from 0 to 1; of categories, spread evenly."""
    if categorical(run, parameter):
        names = sorted(set(values.dropna()), key=natural)
        return values.map({name: (place + 0.5) / len(names) for place, name in enumerate(names)}).astype("float64")
    numbers = values.astype("float64")
    if run.summary["scales"][parameter] == "log":
        numbers = numbers.rank() if (numbers <= 0).any() else numbers.map(math.log, na_action="ignore")
    return _place_of_values(numbers)


def _place_of_values(values: "pd.Series[float]") -> "pd.Series[float]":
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else values * 0 + 0.5
