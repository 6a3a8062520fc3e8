"""What a summary says in words of the losses: what the winner's is worth, and what it beat.

All of it follows from the content of `summary.json`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from salt_tune.report.rivals import rival_lines, seed_lines
from salt_tune.ui.format import heading
from trainable.metrics import value_in
from trainable.task import find_task

Summary = dict[str, Any]


def value_of(trial: dict[str, Any], summary: Summary) -> float | None:
    """Returns the objective of a trial as people read it, at its last report; None where it has none."""
    score: float | None = trial["score"]
    return score if score is None or summary["objective"]["mode"] == "min" else -score


def loss_lines(summary: Summary) -> Iterator[str]:
    """Says what the loss of the winner is worth, and whether others are tied with it."""
    baselines, labels = summary["baselines"], _labels(summary)
    best = next((trial for trial in summary["trials"] if trial["id"] == summary["best"]), None)
    metric = summary["objective"]["metric"]
    if best is not None:
        if metric != "val_loss":
            yield f"{best['id']}: {metric} is {value_of(best, summary):.4f}"
        yield f"{best['id']}: {_loss(best)} over the held-out clips{_explained(best.get('val_r2'))}"
    if baselines:
        yield without_learning(baselines, labels)
    if best is None:
        return
    if baselines:
        yield f"{best['id']} is {worth(best['val_loss'], baselines, labels)}"
    yield from rival_lines(summary)
    yield from seed_lines(summary)


def _labels(summary: Summary) -> Mapping[str, str]:
    """Returns what the baselines of the search are called."""
    return find_task(summary["task"]).baseline_labels


def without_learning(baselines: Mapping[str, float], labels: Mapping[str, str]) -> str:
    """Returns the errors of the predictors that learned nothing, in a line."""
    errors = ", ".join(f"{labels.get(name, name)} {error:.4f}" for name, error in baselines.items())
    return f"Without learning: {errors}"


def worth(val_loss: float, baselines: Mapping[str, float], labels: Mapping[str, str]) -> str:
    """Says how a held-out loss stands against the best of the predictors that learned nothing."""
    name = min(baselines, key=baselines.__getitem__)
    best = baselines[name]
    if val_loss < best and (share := f"{1 - val_loss / best:.1%}") != "0.0%":
        return f"{share} below the best of them"
    return f"not better than the {labels.get(name, name)}, which takes no training"


def _loss(best: dict[str, Any]) -> str:
    error = "" if best.get("val_loss_se") is None else f" +- {best['val_loss_se']:.4f}"
    return f"val_loss {best['val_loss']:.4f}{error}"


def _explained(val_r2: float | None) -> str:
    if val_r2 is None:
        return ""
    if val_r2 > 0:
        return f": takes away {val_r2:.1%} of the error of always predicting the training mean"
    return ": no better than always predicting the training mean"


def pareto_table(summary: Summary) -> Table:
    """Tabulates the trials that none beats in both objectives, best objective first."""
    trials = {trial["id"]: trial for trial in summary["trials"]}
    metric, against = summary["objective"]["metric"], summary["objective"]["against"]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("trial")
    for name in (metric, against):
        table.add_column(heading(name), justify="right", no_wrap=True)
    for trial in (trials[name] for name in summary["pareto"]):
        table.add_row(trial["id"], f"{value_of(trial, summary):.4f}", _cost(trial, summary))
    return table


def _cost(trial: dict[str, Any], summary: Summary) -> str:
    value = value_in(trial, summary["objective"]["against"], find_task(summary["task"]).metrics)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
