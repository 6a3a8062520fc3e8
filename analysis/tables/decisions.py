"""The decisions of a search as a table."""

from collections.abc import Iterable

import pandas as pd

from analysis.run_directory.events import Event
from analysis.run_directory.journal import encode

DECISION_TYPES = {
    **dict.fromkeys(("event", "trial"), "str"),
    **dict.fromkeys(("start", "milestone"), "float64"),
    "reason": "str",
    **dict.fromkeys(("predicted", "predicted_sd", "chance"), "float64"),
    "resource": "float64",
    "status": "str",
    "score": "float64",
    "retry": "boolean",
    **dict.fromkeys(("state", "error"), "str"),
    "trials": "Int64",
    "seconds": "float64",
}


def decision_table(events: Iterable[Event]) -> pd.DataFrame:
    """Returns one row a decision, in order; a field that it does not have is missing.

    Returns:
        The columns of `DECISION_TYPES`: the fields of `decisions.jsonl`, but for the hyperparameters of trials.
    """
    rows = [encode(event) for event in events]
    return pd.DataFrame(rows, columns=list(DECISION_TYPES)).astype(DECISION_TYPES)
