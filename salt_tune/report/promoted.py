"""What a promotion says: what it trains and how sure that is, each report, and what came of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from salt_tune.report.prediction import Prediction
from salt_tune.report.verdict import certainty
from salt_tune.ui.format import byte_size, duration, exact, number, progress
from trainable.metrics import Metric, computed, objectives
from trainable.worker import FINAL_CHECKPOINTS

SHOWN = ("val_loss", "val_r2", "probe_top1")  # of a report

Summary = dict[str, Any]
Row = dict[str, Any]


def beginning_lines(
    summary: Summary,
    trial: Row,
    what: str,
    ahead: float,
    beginning: str,
    predicted: Prediction | None,
    checkpoint_bytes: int | None,
) -> Iterator[str]:
    """Says what is trained, for how long by the trial's own speed, and how sure the search was of it.

    Args:
        summary: of the search.
        trial: its entry in there.
        what: is trained: "20 epochs on stores/ssv2".
        ahead: epochs that are still to be trained.
        beginning: where that begins.
        predicted: loss at the end, where there is a prediction.
        checkpoint_bytes: of one checkpoint, where that is known.
    """
    speed = trial["training_seconds"] / trial["epochs"] if trial["epochs"] else None
    lasts = f"; about {duration(speed * ahead)} of training" if speed else ""
    yield f"{trial['id']} of {summary['name']}: {what}, {beginning}{lasts}"
    for line in certainty(summary, trial):
        yield f"  {line}"
    if predicted is not None:
        known = f"val_loss {exact(trial['val_loss'])} at {trial['epochs']:g}"
        yield f"  {known}, by the curves {predicted} at the end"
    if checkpoint_bytes is not None:
        yield f"  checkpoints take up to {byte_size(FINAL_CHECKPOINTS * checkpoint_bytes)}"


def report_line(report: Mapping[str, Any], metrics: Mapping[str, Metric]) -> str:
    """Says what a report has come to."""
    measured = [name for name in SHOWN if name in metrics and report.get(name) is not None]
    return f"epoch {report['epoch']:6.2f}  {progress(report, measured)}"


def result_lines(
    trial: Row, epochs: float, last: Mapping[str, Any], metrics: Mapping[str, Metric], predicted: Prediction | None
) -> Iterator[str]:
    """Says what a final run has come to, beside the search, and whether that was predicted."""
    columns = computed(among=metrics)
    known = [name for name in objectives(metrics) if name in columns and last.get(name) is not None]
    measures = ", ".join(f"{name} {number(last[name])}" for name in known)
    searched = f"val_loss {number(trial['val_loss'])} after {trial['epochs']:g}"
    yield f"Done: {measures} after {epochs:g} epochs; in the search {searched}"
    if predicted is not None:
        within = "within" if predicted.low <= last["val_loss"] <= predicted.high else "outside"
        yield f"val_loss {exact(last['val_loss'])} is {within} what the search predicted: {predicted}"
