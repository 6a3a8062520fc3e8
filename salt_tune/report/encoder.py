"""Whether the trials to choose from are good encoders, in words: their probes beside those of baselines."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from analysis.run_directory.panel_baselines import baselines_beside
from salt_tune.ui.accuracies import accuracy_bars, named, points
from trainable.metrics import interval_fields
from trainable.task import find_task

SHOWN: Final = ("probe_top1", "order_top1", "speed_top1")  # the first that was measured

Summary = dict[str, Any]
Row = Mapping[str, Any]


def encoder_lines(summary: Summary) -> Iterator[str]:
    """Draws the accuracy of the winner and of those tied with it beside that of the baselines, best first."""
    metrics = find_task(summary["task"]).metrics
    rows = {trial["id"]: trial for trial in summary["trials"]}
    chosen = rows.get(summary["recommended"] or "")
    name = chosen and next((name for name in SHOWN if chosen.get(name) is not None), None)
    if chosen is None or name is None:
        return
    yield f"{metrics[name].label}; 95% over clips and folds"
    trials = {trial: rows[trial] for trial in summary["tied"] if rows[trial].get(name) is not None}
    yield from accuracy_bars({**trials, **named(baselines_beside(summary, chosen["config"]))}, name)
    for trial, row in trials.items():
        if row["verdict"] is not None and len(trials) > 1:
            yield f"{trial}: {row['verdict']}{difference(row)}"


def difference(row: Row) -> str:
    """Returns by how much a trial is above untrained encoders, as ", by 12.0 points [3.9, 20.2]"."""
    low, high = (row.get(end) for end in interval_fields("above_untrained"))
    if row.get("above_untrained") is None or low is None or high is None:
        return ""
    return f", by {points(row['above_untrained'], low, high)}"
