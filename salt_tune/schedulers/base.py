"""The interface of a scheduler: it decides which trial trains next, and how far.

Nothing here knows Ray, a clock or a process. A scheduler is told what happened, in the order in which it happened; what
it decides is a function of that alone. So a search that was killed is resumed by telling it again, and a benchmark
replays curves through the very class that a search uses.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """What a scheduler expects of a trial that is paused, by which it decides.

    Attributes:
        predicted: the score of a full trial.
        predicted_sd: its standard deviation, as the chance counts it.
        chance: the probability that it beats the best one; from 0 to 1.
    """

    predicted: float
    predicted_sd: float
    chance: float

    def __str__(self) -> str:
        """Says it in a few words."""
        return f"predicted {self.predicted:.4g} +- {self.predicted_sd:.2g} at the end, {self.chance:.0%} to be the best"


@dataclass(frozen=True)
class Job:
    """A stretch of training to be done next.

    Attributes:
        trial: the trial to go on with; None starts a new one.
        milestone: the rung to train it to, in units of the resource.
        reason: why, in a few words.
    """

    trial: str | None
    milestone: float
    reason: str


class Scheduler(ABC):
    """Decides which trial trains next.

    The class itself says what a search space and a disk budget need to know of it.

    Args:
        rungs: resources at which trials are compared, ascending; the last is a full trial.
        allowed: how many trials may be started in all.
        reduction_factor: between rungs, one in so many trials goes on, where the scheduler counts so.
        keep: paused trials that may keep a checkpoint, where `limits_checkpoints`; None: all.
        reports: resources at which trials report, ascending, the rungs among them; None: at the rungs only.

    Attributes:
        pauses: whether a trial may wait between two jobs while others train.
        compares_early: whether trials are compared before they are full; otherwise the space's rungs mean nothing.
        ranks_by_cost: whether it may serve a search that ranks by two numbers.
        limits_checkpoints: whether `keep` bounds the paused trials that have a checkpoint.
        compared: resources at which trials are compared, ascending; the last is a full trial.
        rungs: resources at which a job may end: where trials are compared, and where else the scheduler is asked.
        allowed: see above; a search may change it at any time.
    """

    pauses = True
    compares_early = True
    ranks_by_cost = False
    limits_checkpoints = False

    def __init__(
        self,
        rungs: Sequence[float],
        allowed: int,
        *,
        reduction_factor: float = 3.0,
        keep: int | None = None,
        reports: Sequence[float] | None = None,
    ) -> None:
        self.compared = self.rungs = tuple(rungs)
        self.allowed = allowed
        self._reduction_factor = reduction_factor
        self._keep = keep
        self._reports = self.rungs if reports is None else tuple(reports)
        self._order: dict[str, int] = {}  # trial -> how many had been started before it
        self._running: dict[str, int] = {}  # trial -> the rung it is on its way to
        self._behind: set[str] = set()  # trials that stand behind all others
        self._level = {rung: level for level, rung in enumerate(self.rungs)}

    @staticmethod
    def rung_points(first: float, full: float, reduction_factor: float) -> tuple[float, ...]:
        """Returns the rungs where a space names none: the first, and each next one a factor above.

        Args:
            first: resource at the first rung, above 0.
            full: resource of a full trial.
            reduction_factor: see the class.

        Returns:
            Resources below `full`, ascending; a full trial is the last rung in any case.
        """
        rungs: list[float] = []
        multiple = 1.0
        while first * multiple < full:
            rungs.append(first * multiple)
            multiple *= reduction_factor
        return tuple(rungs)

    @abstractmethod
    def next_job(self) -> Job | None:
        """Returns the next job; None where there is none, as long as nothing else happens. Asking changes nothing."""

    @abstractmethod
    def prunable(self) -> list[str]:
        """Returns the paused trials that will never go on: their checkpoints can be deleted. Asking changes nothing."""

    def prediction(self, trial: str) -> Prediction | None:  # noqa: ARG002
        """Returns what is expected of a paused trial; None where nothing is predicted. Asking changes nothing."""
        return None

    @abstractmethod
    def on_trial_prune(self, trial: str) -> None:
        """Is told that a trial that was prunable has been given up."""

    @abstractmethod
    def _arrived(self, trial: str, level: int, score: float) -> None:
        """Is told that a trial has come to the rung `level`, the last one included; `score` may be infinite."""

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing is left to do."""
        return not self._running and self.next_job() is None

    @property
    def started(self) -> int:
        """How many trials have been started."""
        return len(self._order)

    @property
    def running(self) -> tuple[str, ...]:
        """The trials on their way to a rung."""
        return tuple(self._running)

    def on_job(self, trial: str, milestone: float) -> None:
        """Is told that a trial is on its way to the rung `milestone`; one not heard of before has been started."""
        self._order.setdefault(trial, len(self._order))
        self._running[trial] = self._level[milestone]

    def on_trial_result(self, trial: str, resource: float, score: float, *, behind: bool = False) -> None:
        """Is told that a running trial reports at a point; only that at the rung it is on its way to counts.

        Args:
            trial: its id.
            resource: the point.
            score: lower is better; NaN and infinity lose.
            behind: it stands behind all others, whatever its score: it goes on only where no other one may.
        """
        level = self._running.get(trial)
        if level is not None and resource >= self.rungs[level]:
            del self._running[trial]
            (self._behind.add if behind else self._behind.discard)(trial)
            self._arrived(trial, level, score if math.isfinite(score) else math.inf)

    def on_trial_end(self, trial: str) -> None:
        """Is told that a trial will not report again: it failed, diverged or ran out of memory on its way."""
        level = self._running.pop(trial, None)
        if level is not None:
            self._arrived(trial, level, math.inf)
