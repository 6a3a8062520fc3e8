"""The trials of a summary as a table."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.errors import RunError, require_fields, require_numbers
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.reports import natural
from analysis.run_directory.trial_row import measures_of

# Fields of metrics, which another task may not have: their columns are empty then.
METRIC_RESULTS = ("val_loss", "val_loss_se", "val_r2", "probe_top1", "effective_rank")
METRIC_COSTS = ("student_parameters", "predictor_parameters", "step_seconds")
RESULT_COLUMNS = ("state", "rank", "score", "resource", "epochs", "tflop", *METRIC_RESULTS, "verdict")
COST_COLUMNS = (*METRIC_COSTS, "training_seconds", "origin", "replicate_of", "seed", "error")
RESULTS = (*RESULT_COLUMNS, *COST_COLUMNS)
TEXTS = ("state", "verdict", "origin", "replicate_of", "error")
COUNTS = ("rank", "seed", "student_parameters", "predictor_parameters")
MEASURES = tuple(name for name in RESULTS if name not in (*TEXTS, *COUNTS))
AGAINST_WINNER = ("rung", "difference", "standard_error", "clip_error", "seed_error", "low", "high", "conclusion")
TRIAL_FIELDS = (*RESULTS, "id", "config", "parameters", "against_winner")


def trial_table(directory: RunDirectory, summary: dict[str, Any]) -> pd.DataFrame:
    """Returns one row a trial, T2 before T10; see `analysis.tables.run.Run` for the columns.

    Raises:
        RunError: a trial lacks a field, or a value is no number.
    """
    parameters = summary["parameters"]
    reported = measures_of(summary["metrics"])
    more = [name for name in reported if name not in RESULTS]
    for name in {*RESULTS, *more, "trial"}.intersection(parameters):
        raise RunError(f"{directory.summary}: parameters has {name!r}, and must not, as it names a result of a trial")
    lacking = dict.fromkeys(
        ["verdict", *more, *(name for name in (*METRIC_RESULTS, *METRIC_COSTS) if name not in reported)]
    )
    trials = [{**lacking, **trial} if isinstance(trial, dict) else trial for trial in summary["trials"]]
    for number, trial in enumerate(trials):
        where = f"{directory.summary}, trials[{number}]"
        require_fields(where, trial, TRIAL_FIELDS)
        require_numbers(where, trial, (*MEASURES, *COUNTS, *more))
        if trial["against_winner"] is not None:
            require_fields(f"{where}, against_winner", trial["against_winner"], AGAINST_WINNER)
    rows = [_trial_row(trial, more) for trial in sorted(trials, key=lambda trial: natural(trial["id"]))]
    names = dict.fromkeys(
        ["trial", *RESULT_COLUMNS, *more, *parameters, *COST_COLUMNS, *(name for row in rows for name in row)]
    )
    types = (
        dict.fromkeys(("trial", *TEXTS), "str")
        | dict.fromkeys((*MEASURES, *more), "float64")
        | dict.fromkeys(COUNTS, "Int64")
    )
    types |= {name: "Int64" for name in parameters if _counts_where_set(rows, name)}
    return pd.DataFrame(rows).reindex(columns=list(names)).astype(types)


def _trial_row(trial: dict[str, Any], more: Sequence[str]) -> dict[str, Any]:
    searched = {name: "null" if value is None else value for name, value in trial["parameters"].items()}
    fixed = {f"config.{name}": value for name, value in trial["config"].items() if name not in searched}
    return {"trial": trial["id"], **{name: trial[name] for name in (*RESULTS, *more)}, **searched, **fixed}


def _counts_where_set(rows: list[dict[str, Any]], parameter: str) -> bool:
    """Says whether a parameter is a whole number in some rows and missing in others: pandas would make it a float."""
    values = [row[parameter] for row in rows if parameter in row]
    return 0 < len(values) < len(rows) and all(type(value) is int for value in values)
