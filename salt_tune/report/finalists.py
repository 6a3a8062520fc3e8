"""Which trials are tied with the best as far as their scores tell: by seeds alone, from the journal alone.

More seeds do not change the clips. So a race between finalists asks here, and a summary counts clips as well.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from analysis.run_directory.events import Request, RoundStarted
from analysis.run_directory.ranking import scores_by_seed, standing
from analysis.run_directory.trials import Trial
from analysis.statistics.comparison import Sample, compare
from analysis.statistics.seed_noise import SeedNoise, noise_of_similar, seed_noise

MOST_TIED: Final = 5  # trials, best first, that keep their checkpoints and may take part in a race


def noise_of(trials: Iterable[Trial], rungs: Sequence[float]) -> tuple[SeedNoise, float] | None:
    """Estimates the noise of the seeds in a search, and says at which rung; None where nothing tells.

    It comes from the replicates of the finalists. Before there are any, it comes from similar configurations, at the
    deepest rung that all came to which came to the first and were not lost. Good scores alone reach deeper rungs, and
    their spread is too small. The winner is left out, as its lead is in question. Seeds are then taken to spread the
    scores no more at the end than there.

    Args:
        trials: all trials.
        rungs: where trials are compared, ascending.
    """
    known = list(trials)
    if (noise := seed_noise(scores_by_seed(known))) is not None:
        return noise, rungs[-1]
    winner = {trial.id for trial in standing(known)[:1]}
    others = [trial for trial in known if trial.replicate_of is None and trial.id not in winner]
    scored = [trial for trial in others if trial.resource >= rungs[0] and not trial.state.lost]
    for rung in reversed(rungs):
        if all(rung in trial.scores for trial in scored):
            similar = noise_of_similar([trial.parameters for trial in scored], [t.scores[rung] for t in scored])
            return None if similar is None else (similar, rung)
    return None


def tied_with_best(trials: Iterable[Trial], rungs: Sequence[float], level: float) -> list[Trial]:
    """Returns the complete trials that seeds alone do not tell from the best, itself first; best first.

    A trial that lost a seed is not among them, and neither is an unfit one beside a fit one. Where nothing tells of the
    seeds, all others are tied.

    Args:
        trials: all trials.
        rungs: see `noise_of`.
        level: chance that one of them is told apart wrongly, see `compare`.
    """
    known = list(trials)
    ordered, scores, found = standing(known), scores_by_seed(known), noise_of(known, rungs)
    if not ordered:
        return []
    best, *others = ordered

    def is_tied(trial: Trial) -> bool:
        if (trial.unfit and not best.unfit) or not all(map(math.isfinite, scores[trial.id] + scores[best.id])):
            return False
        samples = Sample(scores[trial.id]), Sample(scores[best.id])
        told = compare(*samples, found and found[0], configurations=len(ordered), level=level)
        return told is None or told.low <= 0

    return [best, *filter(is_tied, others)]


def looks(rounds: Sequence[RoundStarted], requests: Sequence[Request]) -> int:
    """Returns how often the finalists were compared before more seeds were trained because of it.

    That is before each round of a race, and before what was asked for after a summary. What was asked for from the
    beginning waits for no comparison.

    Args:
        rounds: of replicates, so far.
        requests: all of them, that of run.json first.
    """
    return sum(round_.request > 0 or requests[0] == "auto" for round_ in rounds)


def seeds_of(trials: Mapping[str, Trial], name: str) -> int:
    """Returns how many seeds a configuration has been given so far, its first one included."""
    return 1 + sum(trial.replicate_of == name for trial in trials.values())
