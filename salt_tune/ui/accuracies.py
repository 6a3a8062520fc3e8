"""Accuracies of probes as bars, an encoder's beside those of baselines."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from analysis.verdict import BESIDE
from trainable.metrics import interval_fields

BAR: Final = 24  # letters that an accuracy of 1 takes

Row = Mapping[str, Any]


def named(baselines: Mapping[str, Row]) -> dict[str, Row]:
    """Returns the panel of each baseline by what people call it."""
    return {label: baselines[name] for name, label in BESIDE.items() if name in baselines}


def accuracy_bars(rows: Mapping[str, Row], metric: str) -> Iterator[str]:
    """Draws a bar a row with its interval, the best first; rows without the metric are left out.

    Args:
        rows: metrics and the ends of their intervals, by what stands before the bar.
        metric: an accuracy.
    """
    measured = {label: row for label, row in rows.items() if row.get(metric) is not None}
    width = max(map(len, measured), default=0)
    for label, row in sorted(measured.items(), key=lambda bar: -float(bar[1][metric])):
        yield f"{label:<{width}}  {_bar(row, metric)}"


def points(difference: float, low: float, high: float) -> str:
    """Formats a difference of accuracies with its interval: "12.0 points [3.9, 20.2]"."""
    mean, low, high = (round(100 * share, 1) + 0.0 for share in (difference, low, high))  # + 0.0: no "-0.0"
    return f"{mean:.1f} points [{low:.1f}, {high:.1f}]"


def _bar(row: Row, metric: str) -> str:
    value = float(row[metric])
    low, high = (row.get(end) for end in interval_fields(metric))
    interval = "" if low is None or high is None else f"  {100 * low:.0f} to {100 * high:.0f}"
    return f"{'#' * round(BAR * value):<{BAR}}  {value:6.1%}{interval}"
