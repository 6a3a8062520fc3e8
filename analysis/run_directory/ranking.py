"""Which trial is better."""

import math
from collections.abc import Iterable
from statistics import fmean

from analysis.run_directory.trials import Trial, TrialState

TOLD = (TrialState.COMPLETE, TrialState.DIVERGED, TrialState.OUT_OF_MEMORY)  # states of replicates that tell something


def ranking(trials: Iterable[Trial]) -> list[Trial]:
    """Sorts trials, best first: they are compared with those that trained as long; longer training stands above.

    Of those, unfit ones stand last: none of them wins while another one is fit. Equal scores, as of probes on few
    clips, are settled by val_loss.

    Replicates, trials without a score and lost trials have no rank. A trial that failed after it had reported is lost
    too. Its scores stay in the tables, but it can neither win nor be promoted as a winner.
    """
    ranked = [t for t in trials if t.score < math.inf and t.replicate_of is None and not t.state.lost]
    return sorted(
        ranked, key=lambda trial: (-trial.resource, trial.unfit, trial.score, trial.value("val_loss") or math.inf)
    )


def complete(trials: Iterable[Trial]) -> list[Trial]:
    """Returns the trials of a `ranking` that trained to their end, best first, each by its first seed."""
    return [trial for trial in ranking(trials) if trial.state is TrialState.COMPLETE]


def scores_by_seed(trials: Iterable[Trial]) -> dict[str, list[float]]:
    """Returns the scores of the seeds of each configuration that trained to the end, in the order of `complete`.

    The first is that of the trial itself. Infinite: that seed was lost. A replicate that failed or was interrupted
    tells nothing of its configuration, and is left out.
    """
    known = list(trials)
    scores = {trial.id: [trial.score] for trial in complete(known)}
    for trial in known:
        if trial.replicate_of in scores and trial.state in TOLD:
            scores[trial.replicate_of].append(trial.score)
    return scores


def standing(trials: Iterable[Trial]) -> list[Trial]:
    """Returns the trials that trained to their end, best first, each with its replicates: the first of them wins.

    The finalists are those down to the last one that has several seeds; they are sorted by the mean over their seeds.
    Those below have one score each, by which they lost: they would be compared by their luck. Unfit ones stand last.
    """
    known = list(trials)
    ordered, scores = complete(known), scores_by_seed(known)
    count = finalist_count(scores.values())
    return sorted(ordered[:count], key=lambda trial: (trial.unfit, fmean(scores[trial.id]))) + ordered[count:]


def finalist_count(scores: Iterable[list[float]]) -> int:
    """Returns how many configurations there are down to the last one that has several seeds; see `standing`."""
    several = [place for place, seeds in enumerate(scores, start=1) if len(seeds) > 1]
    return several[-1] if several else 0


def nothing_to_promote(trials: Iterable[Trial]) -> bool:
    """Returns whether complete trials were judged beside an untrained encoder, and all of those are unfit."""
    judged = [trial for trial in complete(trials) if trial.verdict is not None]
    return bool(judged) and all(trial.unfit for trial in judged)
