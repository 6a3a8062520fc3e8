"""How the figures of a comparison are printed and written."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy
import ray

from benchmarks.machine import describe as machine
from benchmarks.replay.figures import Interval
from benchmarks.replay.methods import RAY

HEADER = (
    "method", "epochs", "makespan", "finished", "rank", "regret", "regret - Ray's", "after as many epochs",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """Returns what the figures were measured on."""
    return {"machine": machine(), "date": date.today().isoformat(), "ray": ray.__version__, "numpy": numpy.__version__}


def markdown(rows: dict[str, Any]) -> str:
    """Returns a table of the methods; "Ray's" is its ASHA with a grace of 3."""
    return table(HEADER, [_cells(name, row) for name, row in rows.items()])


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ("---",) * len(header), *lines))


def with_interval(figure: Interval, form: str) -> str:
    """Returns a figure and its interval, formatted; "more" stands for infinite."""
    value, low, high = (format(number, form) if math.isfinite(number) else "more" for number in figure)
    return value if value == low == high else f"{value} ({low} to {high})"


def _cells(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    against = row[f"against {RAY}"]
    return (
        name, with_interval(row["epochs"], ".0f"), f"{row['makespan'][0]:.0f}", f"{row['finished'][0]:.1f}",
        with_interval(row["rank"], ".4f"), with_interval(row["regret"], ".3f"),
        with_interval(against["regret, mean difference"], ".3f"),
        with_interval(against["regret, mean difference after as many epochs"], ".3f"),
    )  # fmt: skip


def write(path: Path, figures: dict[str, Any]) -> None:
    """Writes figures as JSON: an interval a line, four decimals, null for infinite, which JSON does not know."""
    text = json.dumps(_rounded(figures), indent=1)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text)
    path.write_text(f"{text}\n", encoding="utf-8")


def _rounded(figures: Any) -> Any:
    if isinstance(figures, dict):
        return {key: _rounded(value) for key, value in figures.items()}
    if isinstance(figures, list | tuple):
        return [_rounded(value) for value in figures]
    if isinstance(figures, float):
        return round(figures, 4) if math.isfinite(figures) else None
    return figures
