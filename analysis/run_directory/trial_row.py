"""A trial as `summary.json` has it, and as the tables show one of a search that has not ended."""

import math
from typing import Any

from analysis.run_directory.trials import Trial, TrialState

MEASURES = (
    "val_loss",
    "val_loss_se",
    "val_r2",
    "probe_top1",
    "effective_rank",
    "student_parameters",
    "predictor_parameters",
    "step_seconds",
)
SPENT = ("tflop", "training_seconds")


def trial_row(
    trial: Trial, state: TrialState, rank: int | None, against_winner: dict[str, float] | None = None
) -> dict[str, Any]:
    """The fields of a trial in a summary; docs/run-directory.md says what they mean.

    Args:
        trial: the trial.
        state: what is said of it, see `TrialState.at_exit`.
        rank: its place, from 1; None: it has none.
        against_winner: how it compares with the winner, clip by clip.
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
        "resource": trial.resource,
        "epochs": trial.epochs,
        **{name: trial.value(name) for name in MEASURES},
        **{name: trial.value(name) or 0.0 for name in SPENT},
        "against_winner": against_winner,
        "error": trial.error,
    }
