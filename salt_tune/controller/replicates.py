"""The finalists again, with other seeds: how much of a lead is the hyperparameters', and how much the seed's.

A request is a number of further seeds for each of the best, or "auto": a race. Each round of a race gives one more seed
to every configuration that is still tied with the best, and to the best. It ends when none is tied any more, or when a
share of what was trained has been spent. F-Race (Birattari et al., 2002) is such a race; here the test holds over all
looks.

A round is a line of the journal, and what it needs is read from the journal alone: the same rounds follow on resume.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Final

from analysis.run_directory.events import Request, RoundStarted, TrialAdded, Trials
from analysis.run_directory.ranking import standing
from analysis.run_directory.trials import REPLICATE, TrialState
from analysis.statistics.comparison import level_at_look
from salt_tune.report.finalists import MOST_TIED, looks, seeds_of, tied_with_best

SHARE: Final = 0.15  # of the resource trained, which a race may spend before its last round begins
FEWEST: Final = 2  # in a round of a race: the first two
MOST_FINALISTS: Final = 3  # that get a number of seeds which was asked for


class Replicates:
    """What is next of the replicates of a search, as far as its trials are known.

    Args:
        trials: of the search; what comes later is added to it.
        request: of run.json.
        rungs: where trials are compared, ascending; the last is a full trial.
    """

    def __init__(self, trials: Trials, request: Request, rungs: Sequence[float]) -> None:
        self._trials, self._request, self._rungs = trials, request, rungs
        self._asked: tuple[Hashable, RoundStarted | None] = (None, None)  # the last question, and its answer

    @property
    def requests(self) -> list[Request]:
        """All requests, that of run.json first."""
        return [self._request, *self._trials.requests]

    def next(self) -> RoundStarted | TrialAdded | str | None:
        """Returns what is next when no trial of the search itself runs. Asking changes nothing.

        Returns:
            A replicate to add or, by its id, to run; a round to begin; None where there is nothing, as long as nothing
            else happens: replicates run, or all is done.
        """
        states = [(trial.state, trial.resource) for trial in self._trials.values()]
        waiting = (name for name, trial in self._trials.items() if trial.state is TrialState.WAITING)
        replicate = next(waiting, None) or next_replicate(self._trials)
        if replicate is not None or any(state is TrialState.RUNNING for state, _ in states):
            return replicate
        known = (len(self._trials.rounds), len(self._trials.requests), tuple(states))
        if self._asked[0] != known:
            self._asked = known, next_round(self._trials, self.requests, self._rungs)
        return self._asked[1]


def next_replicate(trials: Trials) -> TrialAdded | None:
    """Returns the next trial of the last round; None where all have been added."""
    if not trials.rounds:
        return None
    due = trials.rounds[-1].seeds
    for number in range(1, max(due.values())):
        for name, seeds in due.items():
            replicate = f"{name}-seed{number}"
            if number < seeds and replicate not in trials:
                trial = trials[name]
                seed = trial.seed + number
                config = {**trial.config, "seed": seed}
                return TrialAdded(replicate, trial.parameters, config, seed, REPLICATE, replicate_of=name)
    return None


def next_round(trials: Trials, requests: Sequence[Request], rungs: Sequence[float]) -> RoundStarted | None:
    """Returns the round that follows when all of the search and of the last round has ended; None where none does.

    Args:
        trials: all that is known.
        requests: all requests, that of run.json first.
        rungs: where trials are compared, ascending; the last is a full trial.
    """
    begun = max((each.request for each in trials.rounds), default=0)
    for number, request in enumerate(requests[begun:], start=begun):
        found = _raced(trials, requests, rungs) if request == "auto" else _asked(trials, number, request)
        if found is not None:
            names, more, reason = found
            return RoundStarted(number, {name: seeds_of(trials, name) + more for name in names}, reason)
    return None


def most_replicates(requests: Sequence[Request], trials: int) -> int:
    """Returns how many replicates there may be at most, of a search of so many trials."""
    race = math.floor(SHARE * trials) + FEWEST
    return sum(race if request == "auto" else request * MOST_FINALISTS for request in requests)


def _raced(trials: Trials, requests: Sequence[Request], rungs: Sequence[float]) -> tuple[list[str], int, str] | None:
    """Returns which configurations get a seed in the next round of a race, and why; None where it is over.

    A round begins while less than the share has been spent, so the first one always does.
    """
    full, originals = rungs[-1], [trial for trial in trials.values() if trial.replicate_of is None]
    left = SHARE * sum(trial.resource for trial in originals) - full * (len(trials) - len(originals))
    level = level_at_look(1 + looks(trials.rounds, requests))
    tied = [trial.id for trial in tied_with_best(trials.values(), rungs, level)]
    if left <= 0 or len(tied) < FEWEST or trials[tied[0]].unfit:
        return None
    raced = tied[: max(FEWEST, min(MOST_TIED, math.floor(left / full)))]
    return raced, 1, f"tied with {tied[0]}: {', '.join(tied[1:])}"


def _asked(trials: Trials, number: int, seeds: int) -> tuple[list[str], int, str] | None:
    """Returns which configurations get the seeds of a request: the best three, and one that overtakes them later."""
    rounds = [each for each in trials.rounds if each.request == number]
    best = [trial.id for trial in standing(trials.values())[:MOST_FINALISTS]]
    new = [name for name in best if not rounds or seeds_of(trials, name) == 1]
    return (new, seeds, "the best so far") if new and seeds else None
