"""How much a search has still to train, from what its trials came to so far; standard library only."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Final

from analysis.run_directory.trials import Trial, TrialState

FEWEST: Final = 3  # trials that have come to rest, below which nothing is said of those to come
NORMAL: Final = 1.96  # standard errors on each side of a 95% interval
GO_ON: Final = 3  # at most one in so many of the paused trials goes on to the end: schedulers promote no more


@dataclass(frozen=True)
class Left:
    """What is still to be trained, in the search's resource or in seconds.

    Attributes:
        expected: as trials came to rest so far.
        low: a 95% interval of it, by their spread.
        high: its upper end; the best paused trials going on is counted in.
    """

    expected: float
    low: float
    high: float

    def over(self, rate: float) -> "Left":
        """Returns the same in seconds, at so much of the resource a second."""
        return Left(self.expected / rate, self.low / rate, self.high / rate)

    def at_most(self, most: float) -> "Left":
        """Returns the same where a limit ends it."""
        return Left(min(self.expected, most), min(self.low, most), min(self.high, most))


def resource_left(trials: Collection[Trial], full: float, asked: int | None) -> Left | None:
    """Says how much is still to be trained.

    Trials to come will cost what those cost on average that have come to rest: paused, pruned, complete or lost ones.
    Of the paused ones, between none and the best third will go on to the end; half of that is expected. The interval is
    that of a sum of so many new ones. Replicates that are still to be begun are not counted.

    Args:
        trials: all that are known.
        full: the resource of a full trial.
        asked: how many trials will be begun in all; None: not known.

    Returns:
        None where too few trials have come to rest.
    """
    own = [trial for trial in trials if trial.replicate_of is None]
    running = [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    settled = [trial.resource for trial in own if trial.state not in (TrialState.RUNNING, TrialState.WAITING)]
    paused = sorted(full - trial.resource for trial in own if trial.state is TrialState.PAUSED)
    new = max(0, (asked or 0) - len(own))
    if asked is None or (new and len(settled) < FEWEST):
        return None
    under_way = sum(max(0.0, trial.milestone - trial.resource) for trial in running)
    expected, spread = under_way, 0.0
    if new:
        expected += new * fmean(settled)
        spread = NORMAL * stdev(settled) * math.sqrt(new + new**2 / len(settled))
    go_on = sum(paused[: math.ceil(len(paused) / GO_ON)])
    most = new * full + sum(full - trial.resource for trial in running) + sum(paused)
    low = max(min(under_way, expected), expected - spread)
    return Left(min(most, expected + go_on / 2), low, min(most, expected + spread + go_on))
