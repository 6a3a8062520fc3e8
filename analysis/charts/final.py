"""Charts of a promoted run: how it trained on, and how good its model is beside others."""

from typing import Any, Final

import altair as alt
import pandas as pd

from analysis.charts.base import baseline_layers, finish, label, scale_of
from analysis.charts.encoder import PROBES, accuracies
from analysis.palette import PART_COLOURS
from analysis.run_directory.paths import FinalDirectory
from analysis.run_directory.promotions import read_evaluation, read_promotion
from analysis.tables.run import Run
from analysis.verdict import BESIDE, MODELS

SEARCHED, TRAINED, PREDICTED = PART_COLOURS
BEGINNING: Final = 0.1  # of a run, in which losses fall from far above; it does not set the scale


def final_curve(run: Run, promotion: str) -> Any:
    """Draws the loss of a promoted run behind that of its trial in the search, and what was predicted for its end.

    Args:
        run: the search.
        promotion: name of the folder of the promoted run, such as `T0-10epochs`.

    Returns:
        The chart; None without a report.

    Raises:
        RunError: what the promoted run keeps of itself is damaged.
    """
    final = FinalDirectory(run.directory.final_root / promotion)
    told = read_promotion(final) or {}
    begun = float(told.get("begun_at_epoch", 0.0))
    points, predicted = _points(run, final, begun), _predicted(final, told)
    if points.empty:
        return None
    late = points[points["epoch"] > BEGINNING * final.epochs]
    levels = (late if len(late) else points)["loss"].tolist()
    scale = scale_of([*levels, *predicted["low"], *predicted["high"]], [*run.baselines.values()])
    there = [part for part in PART_COLOURS if part in {*points["part"], *predicted["part"]}]
    encoded: dict[str, Any] = {
        "x": alt.X("epoch:Q", title=label("epoch"), scale=alt.Scale(domain=[0, 1.04 * final.epochs], nice=False)),
        "y": alt.Y("loss:Q", title=label("val_loss"), scale=scale),
        "color": alt.Color(
            "part:N",
            legend=alt.Legend(orient="top", title=None),
            scale=alt.Scale(domain=there, range=[PART_COLOURS[part] for part in there]),
        ),
    }
    said = [
        alt.Tooltip("part:N", title="what"),
        alt.Tooltip("epoch:Q", format=".4~g"),
        alt.Tooltip("loss:Q", title=label("val_loss"), format=".4f"),
    ]
    trained, guess = alt.Chart(points).encode(**encoded), alt.Chart(predicted).encode(**encoded)
    ends = [alt.Tooltip(f"{end}:Q", format=".4f") for end in ("low", "high")]
    layers = [
        *baseline_layers(run.baselines, scale, horizontal=True),
        *_marked(told, final.epochs),
        trained.mark_line(clip=True, strokeWidth=2.5),
        trained.mark_point(clip=True, filled=True, size=40).encode(tooltip=said),
        guess.mark_rule(strokeWidth=2.5).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q"),
        guess.mark_point(filled=True, size=70, shape="diamond").encode(tooltip=[*said, *ends]),
    ]
    last = points.iloc[-1]
    title = f"Held-out loss of {promotion}: {last['loss']:.4f} at epoch {last['epoch']:g} of {final.epochs:g}"
    went_on = f" It goes on from epoch {begun:g} of the search's trial." if begun else ""
    return finish(
        alt.layer(*layers if len(predicted) else layers[:-2]), title, f"Learning curve. {title}.{went_on}", 300
    )


def _predicted(final: FinalDirectory, told: dict[str, Any]) -> pd.DataFrame:
    """Returns what was predicted for the end: a row, or none."""
    rows = [{**told["predicted"], "epoch": final.epochs, "part": PREDICTED}] if told.get("predicted") else []
    return pd.DataFrame(rows, columns=["loss", "low", "high", "epoch", "part"])


def _points(run: Run, final: FinalDirectory, begun: float) -> pd.DataFrame:
    """Returns the losses of the trial in the search, then those of the promoted run from where it began."""
    mine = run.final[(run.final["promotion"] == final.path.name) & (run.final["epoch"] >= begun)]
    trial = run.reports[run.reports["trial"] == final.trial]
    parts = [trial.assign(part=SEARCHED), mine.assign(part=TRAINED)]
    columns = ["part", "epoch", "val_loss"]
    table = pd.concat([part[columns] for part in parts], ignore_index=True)
    return table.dropna().rename(columns={"val_loss": "loss"})


def _marked(told: dict[str, Any], epochs: float) -> list[Any]:
    """Marks where it goes on, and where its rate begins to fall."""
    begun, trunk = told.get("begun_at_epoch", 0.0), told.get("trunk_epochs", 0.0)
    rows = [(begun, "goes on")] * (begun > 0) + [(trunk, "cooldown")] * (0 < trunk < epochs)
    if not rows:
        return []
    table = alt.Chart(pd.DataFrame(rows, columns=["epoch", "what"])).encode(x="epoch:Q")
    text = table.mark_text(align="left", baseline="top", dx=4, fontSize=11).encode(y=alt.value(0), text="what:N")
    return [table.mark_rule(strokeDash=[2, 4]), text]


def final_probes(run: Run, promotion: str) -> Any:
    """Draws the accuracy of a promoted model beside its trial, another model and baselines; None: not measured.

    Args:
        run: the search.
        promotion: see `final_curve`.

    Raises:
        RunError: evaluation.json is damaged.
    """
    evaluation = read_evaluation(FinalDirectory(run.directory.final_root / promotion))
    rows: dict[str, Any] = evaluation["rows"] if evaluation else {}
    model = rows.get("model", {})
    metric = next((each for each in ("attentive_top1", *PROBES) if model.get(each) is not None), None)
    if metric is None:
        return None
    named = {**MODELS, **BESIDE}
    measured = [(named[row], "model" if row in MODELS else "baseline", rows[row]) for row in named if row in rows]
    title = f"{label(metric).capitalize()} of {promotion}: {model[metric]:.1%}"
    return accuracies(measured, metric, title)
