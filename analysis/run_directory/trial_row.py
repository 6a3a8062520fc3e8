"""A trial as `summary.json` has it, and as the tables show one of a search that has not ended."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from analysis.run_directory.trials import Trial, TrialState

SPENT = ("tflop", "training_seconds")
NOTED = ("step", "clipped_share")  # of the last report, where it has them


def trial_row(
    trial: Trial,
    state: TrialState,
    rank: int | None,
    measures: Iterable[str],
    against_winner: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the fields of a trial in a summary; docs/run-directory.md says what they mean.

    Args:
        trial: the trial.
        state: what is said of it, see `TrialState.at_exit`.
        rank: its place, from 1; None: it has none.
        measures: fields of its reports, see `measures_of`.
        against_winner: how it compares with the winner.
    """
    return {
        "id": trial.id,
        "state": state,
        "rank": rank,
        "score": trial.score if trial.score < math.inf else None,
        "config": trial.config,
        "parameters": trial.parameters,
        "seed": trial.seed,
        "replicate_of": trial.replicate_of,
        "origin": trial.origin,
        "verdict": trial.verdict,
        "resource": trial.resource,
        "epochs": trial.epochs,
        **{name: trial.value(name) for name in measures},
        **{name: trial.value(name) or 0.0 for name in SPENT},
        **{name: trial.value(name) for name in NOTED},
        "against_winner": against_winner,
        "error": trial.error,
    }


def measures_of(metrics: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Returns the fields of reports that make up the metrics which a run describes, and the ends of their intervals."""
    return tuple(
        dict.fromkeys(
            field for metric in metrics.values() for field in (*metric["fields"], *metric.get("interval", ()))
        )
    )
