"""Charts of whether an encoder is good: its probes beside baselines, and where it fails."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.charts.base import SHOWN, colour, finish, label, plain, scale_of, shown, tooltip, trial_points
from analysis.errors import RunError
from analysis.palette import BASELINE_COLOUR, STATE_COLOURS
from analysis.run_directory.panel_baselines import baselines_beside
from analysis.tables.ranking import WITHIN_95
from analysis.tables.run import Run
from analysis.verdict import BESIDE

PROBES = ("probe_top1", "order_top1", "speed_top1")  # the first that was measured
MOST_TRIALS = 6


def probes(run: Run) -> Any:
    """Draws the accuracy of the trials to choose from beside that of baselines; None where nothing was probed."""
    rows = {trial["id"]: trial for trial in run.summary["trials"]}
    names = run.summary["tied"] or [run.summary.get("recommended")]
    chosen = {name: rows[name] for name in names if name in rows}
    metric = next((each for each in PROBES if any(row.get(each) is not None for row in chosen.values())), None)
    if metric is None:
        return None
    first = rows[run.summary.get("recommended") or next(iter(chosen))]
    beside = baselines_beside(run.summary, first["config"])
    measured: list[tuple[str, str, dict[str, Any]]] = [
        (name, "trial", row) for name, row in list(chosen.items())[:MOST_TRIALS]
    ]
    measured += [(BESIDE[name], "baseline", beside[name]) for name in BESIDE if name in beside]
    title = (
        f"{label(metric).capitalize()} of {first['id']}: {first[metric]:.1%}" if first.get(metric) else label(metric)
    )
    return accuracies(measured, metric, title)


def accuracies(measured: Sequence[tuple[str, str, Mapping[str, Any]]], metric: str, title: str) -> Any:
    """Draws accuracies beside each other with their intervals, best first.

    Args:
        measured: name, kind ("baseline", or what else it is), and the fields of a report of each; those without the
            metric are left out.
        metric: an accuracy.
        title: of the chart.
    """
    table = pd.DataFrame(
        [
            {"name": name, "kind": kind, "accuracy": row[metric],
             "low": row.get(f"{metric}_low"), "high": row.get(f"{metric}_high")}
            for name, kind, row in measured if row.get(metric) is not None
        ]
    )  # fmt: skip
    table = table.sort_values("accuracy", ascending=False, kind="stable")
    order, kinds = table["name"].tolist(), [*dict.fromkeys(kind for _, kind, _ in measured)]
    shade = alt.Color(
        "kind:N", title=None, legend=alt.Legend(orient="top"),
        scale=alt.Scale(
            domain=kinds,
            range=[BASELINE_COLOUR if kind == "baseline" else STATE_COLOURS["complete"] for kind in kinds],
        ),
    )  # fmt: skip
    said = [alt.Tooltip("name:N"), *(alt.Tooltip(f"{each}:Q", format=".1%") for each in ("accuracy", "low", "high"))]
    y = alt.Y("name:N", sort=order, title=None)
    bars = alt.Chart(table).mark_bar(opacity=0.85).encode(
        x=alt.X("accuracy:Q", axis=alt.Axis(format="%"), title=f"{label(metric)}, 95% over clips and folds"),
        y=y, color=shade, tooltip=said,
    )  # fmt: skip
    known = table.dropna(subset=["low", "high"])
    errors = alt.Chart(known).mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high:Q", y=y)
    return finish(
        alt.layer(bars, *([errors] if len(known) else ())), title, f"{title}, beside baselines.", 26 * len(table)
    )


def loss_against_probe(run: Run) -> Any:
    """Draws the probe against the loss at the last report of each trial; None where fewer than two have both."""
    points = trial_points(run).assign(loss=run.trials["val_loss"])
    points = points[points["probe_top1"].notna() & points["loss"].notna() & (points["state"] != "diverged")]
    if len(points) < 2:
        return None
    scales = {name: scale_of(points[name].tolist()) for name in ("loss", "probe_top1")}
    dots = (
        alt.Chart(points)
        .transform_filter(SHOWN)
        .mark_point(filled=True, size=70)
        .encode(
            x=alt.X("loss:Q", title="held-out loss", scale=scales["loss"]),
            y=alt.Y("probe_top1:Q", axis=alt.Axis(format="%"), title=label("probe_top1"), scale=scales["probe_top1"]),
            color=colour(run),
            tooltip=tooltip(run, alt.Tooltip("loss:Q", format=".4f"), alt.Tooltip("probe_top1:Q", format=".1%"),
                            alt.Tooltip("effective_rank:Q", format=".1f"), alt.Tooltip("verdict:N")),
        )
        .add_params(shown())
    )  # fmt: skip
    agreement = points["loss"].rank().corr(points["probe_top1"].rank())
    agrees = f": rank correlation {agreement:.2f}" if agreement == agreement else ""
    title = f"Loss and probe of {len(points)} trials, at the last report of each{agrees}"
    return finish(dots, title, f"{title}. Trials of less training stand among those that trained to the end.", 280)


def classes(run: Run) -> Any:
    """Draws the loss of the recommended trial by class; None where clips have no class."""
    trial = run.summary.get("recommended") or run.best
    if trial is None:
        return None
    losses = run.clip_losses(trial)
    losses = losses[(losses["resource"] == losses["resource"].max()) & losses["label"].notna()]
    if losses.empty:
        return None
    table = losses.groupby("label")["loss"].agg(["mean", "sem", "count"]).reset_index()
    table = table.assign(
        label=table["label"].map(plain),
        low=table["mean"] - WITHIN_95 * table["sem"],
        high=table["mean"] + WITHIN_95 * table["sem"],
    ).sort_values("mean", ascending=False)
    y = alt.Y("label:N", sort=table["label"].tolist(), title=None)
    scale = alt.Scale(zero=False)
    said = [alt.Tooltip("label:N"), alt.Tooltip("mean:Q", format=".4f"), alt.Tooltip("count:Q", title="clips")]
    dots = (
        alt.Chart(table)
        .mark_point(filled=True, size=70, color=STATE_COLOURS["complete"])
        .encode(x=alt.X("mean:Q", scale=scale, title="held-out loss, 95% over clips"), y=y, tooltip=said)
    )
    bars = (
        alt.Chart(table)
        .mark_rule(strokeWidth=2, color=STATE_COLOURS["complete"])
        .encode(x=alt.X("low:Q", scale=scale), x2="high:Q", y=y)
    )
    title = f"{table['label'].iloc[0]} is the hardest class for {trial}"
    return finish(alt.layer(bars, dots), title, f"Loss by class: {title}.", max(60, 22 * len(table)))


def confusion(run: Run) -> Any:
    """Draws which class the linear probe of the recommended trial takes for which; None where that is not known.

    Raises:
        RunError: the file of its answers is damaged.
    """
    trial = run.summary.get("recommended") or run.best
    points = run.reports.loc[run.reports["trial"] == (trial or ""), "resource"]
    files = [path for point in points if (path := run.directory.answers(str(trial), point)).exists()]
    if not files:
        return None
    try:
        answers = pq.read_table(files[-1]).to_pandas()
        answers = answers[answers["metric"] == "probe_top1"]
    except (OSError, KeyError, pa.ArrowException) as error:
        raise RunError(f"{files[-1]}: cannot be read, and must hold the answers of probes: {error}") from error
    if answers.empty:
        return None
    names = _class_names(run, str(trial), answers)
    table = answers.groupby(["label", "predicted"]).size().rename("answers").reset_index()
    table["share"] = table["answers"] / table.groupby("label")["answers"].transform("sum")
    table = table.assign(shown=table["label"].map(names), taken=table["predicted"].map(names))
    order = [names[each] for each in sorted(names)]
    cells = alt.Chart(table[["shown", "taken", "share", "answers"]]).mark_rect().encode(
        x=alt.X("taken:N", sort=order, title="taken for", axis=alt.Axis(labelAngle=-40, labelOverlap=False)),
        y=alt.Y("shown:N", sort=order, title="shows", axis=alt.Axis(labelOverlap=False)),
        color=alt.Color("share:Q", scale=alt.Scale(scheme="blues", domain=[0, 1]), legend=None),
        tooltip=[alt.Tooltip("shown:N", title="shows"), alt.Tooltip("taken:N", title="taken for"),
                 alt.Tooltip("share:Q", format=".0%"), "answers:Q"],
    )  # fmt: skip
    numbers = cells.mark_text(fontSize=10).encode(
        text=alt.Text("share:Q", format=".0%"),
        color=alt.when("datum.share > 0.5").then(alt.value("white")).otherwise(alt.value("black")),
    )
    title = f"What the linear probe of {trial} takes each class for"
    return finish(alt.layer(cells, numbers), title, f"Confusion matrix: {title}.", 34 * len(order))


def _class_names(run: Run, trial: str, answers: pd.DataFrame) -> dict[int, str]:
    """Returns the name of each class, from clips of which name and index are known."""
    losses = run.clip_losses(trial)[["clip", "label"]].dropna().drop_duplicates()
    known = answers[["clip", "label"]].merge(losses, on="clip", suffixes=("", "_name")).drop_duplicates("label")
    names = {int(index): plain(name) for index, name in zip(known["label"], known["label_name"], strict=True)}
    return {int(index): names.get(int(index), f"class {index}") for index in {*answers["label"], *answers["predicted"]}}
