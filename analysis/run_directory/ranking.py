"""Which trial is better."""

import math
from collections.abc import Iterable

from analysis.run_directory.trials import Trial, TrialState


def ranking(trials: Iterable[Trial]) -> list[Trial]:
    """Sorts trials, best first: they are compared with those that trained as long; longer training stands above.

    Equal scores, as of probes on few clips, are settled by val_loss.

    Replicates, trials without a score and lost trials have no rank. A trial that failed after it had reported is lost
    too. Its scores stay in the tables, but it can neither win nor be promoted as a winner.
    """
    ranked = [t for t in trials if t.score < math.inf and t.replicate_of is None and not t.state.lost]
    return sorted(ranked, key=lambda trial: (-trial.resource, trial.score, trial.value("val_loss") or math.inf))


def complete(trials: Iterable[Trial]) -> list[Trial]:
    """Returns the trials of a `ranking` that trained to their end, best first: the first of them wins."""
    return [trial for trial in ranking(trials) if trial.state is TrialState.COMPLETE]
