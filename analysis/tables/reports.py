"""Reads `reports.jsonl` into a table: what the trials of a search, or a promoted run, reported as they trained."""

import json
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from analysis.errors import RunError, is_number, require_fields, require_numbers
from analysis.run_directory.held import is_held
from analysis.run_directory.reports import natural
from analysis.text import printable

NUMBERS = (
    "resource",
    "epoch",
    "step",
    "tflop",
    "val_loss",
    "val_loss_se",
    "val_r2",
    "probe_top1",
    "effective_rank",
    "train_loss",
    "lr",
    "weight_decay",
    "grad_norm",
    "clipped_share",
    "clips_per_second",
    "waiting_share",
    "computing_share",
    "evaluating_share",
    "training_seconds",
    "step_seconds",
    "peak_rss_gb",
    "student_parameters",
    "predictor_parameters",
)
STEP_NAMES = {"lr": "step_lr", "weight_decay": "step_weight_decay"}  # those of trials are hyperparameters
TIMES = ("time", "submitted", "began")
COLUMNS = ("trial", *(STEP_NAMES.get(name, name) for name in NUMBERS), "slot", "status", *TIMES)


def read_reports(path: Path, lock: Path, point: Literal["resource", "epoch"] = "resource") -> pd.DataFrame:
    """Reads the reports in the file `path`, one row a trial and point of its training.

    Of reports repeated after a restart the last one counts. A last line that was cut off is left out. A process that
    holds the lock is writing it; where none does, its writer was killed, and a warning says so.

    Args:
        path: the file.
        lock: held by the process that writes it.
        point: what tells the points apart: the resource in a search, the epoch in a promoted run, which has no other.

    Returns:
        Sorted by trial (T2 before T10), then point: the columns `COLUMNS`, then any that the file has besides. `lr` and
        `weight_decay` of the file are `step_lr` and `step_weight_decay`. Numbers are float64 (missing: NaN), `slot` is
        Int64, `TIMES` are datetime64[us, UTC].

    Raises:
        RunError: a line is no report.
    """
    written = is_held(lock)  # before: its writer may end meanwhile
    latest = {(report["trial"], report[point]): report for report in _read_lines(path, point, live=written)}
    return as_table([latest[key] for key in sorted(latest, key=lambda key: (natural(key[0]), key[1]))])


def as_table(reports: list[dict[str, Any]]) -> pd.DataFrame:
    """Returns reports as a table of the columns and types that `read_reports` promises; none give an empty one."""
    table = pd.DataFrame(reports).rename(columns=STEP_NAMES)
    table = table.reindex(columns=list(dict.fromkeys([*COLUMNS, *table.columns])))
    numbers = dict.fromkeys((STEP_NAMES.get(name, name) for name in NUMBERS), "float64")
    table = table.astype({**numbers, "trial": "str", "status": "str", "slot": "Int64"})
    return table.assign(**{name: pd.to_datetime(table[name], utc=True).dt.as_unit("us") for name in TIMES})


def _read_lines(path: Path, point: str, *, live: bool) -> Iterator[dict[str, Any]]:
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        try:
            report = json.loads(line)
        except ValueError as error:
            if number == len(lines) and not line.endswith(b"\n"):
                if not live:
                    why = "its process was killed as it wrote"
                    warnings.warn(f"{printable(where)} was cut off and is left out: {why}", stacklevel=4)
                return
            raise RunError(f"{where} is broken JSON, and must be one report: {error}") from error
        yield _checked(where, report, point)


def _checked(where: str, report: Any, point: str) -> dict[str, Any]:
    require_fields(where, report, ("trial", point))
    require_numbers(where, report, NUMBERS)
    if not isinstance(report["trial"], str):
        raise RunError(f"{where}: trial is {report['trial']!r}, and must be the id of a trial, such as 'T0'")
    if not is_number(report[point], finite=True):
        raise RunError(f"{where}: {point} is {report[point]!r}, and must be a finite number")
    return {**report, **{name: _time(where, name, report.get(name)) for name in TIMES}}


def _time(where: str, name: str, value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise RunError(f"{where}: {name} is {value!r}, and must be an ISO 8601 time") from error
