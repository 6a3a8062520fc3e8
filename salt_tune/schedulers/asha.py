"""Which trial trains next, and how far: the interface of a schedule, and ASHA with promotions.

Nothing here knows Ray, a clock or a process: a schedule is told what happened, in the order in which it happened, and
what it decides is a function of that alone. So a search that was killed is taken up by telling it again, and a
benchmark replays curves through the very class that a search uses.
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

LOST = math.inf  # the score of a trial that diverged


@dataclass(frozen=True)
class Move:
    """What to do next.

    Attributes:
        trial: the trial to go on with; None starts a new one.
        to: the rung to train it to, in units of the resource.
        why: the reason, in a few words.
    """

    trial: str | None
    to: float
    why: str


class Scheduler(ABC):
    """Decides which trial trains next.

    Args:
        rungs: resources at which trials pause and are compared, ascending; the last is a full trial.
        trials: how many trials may be started in all.
    """

    def __init__(self, rungs: Sequence[float], trials: int) -> None:
        self.rungs = tuple(rungs)
        self.trials = trials
        self._order: dict[str, int] = {}  # trial -> how many had been started before it
        self._running: dict[str, int] = {}  # trial -> the rung it is on its way to
        self._level = {rung: level for level, rung in enumerate(self.rungs)}

    @abstractmethod
    def next(self) -> Move | None:
        """The next move; None where there is none, as long as nothing else happens. Asking changes nothing."""

    @abstractmethod
    def _arrived(self, trial: str, level: int, score: float) -> None:
        """A trial has paused at the rung `level`, the last one included; `score` may be `LOST`."""

    @abstractmethod
    def drop(self) -> list[str]:
        """Paused trials that will never go on, each named once: their checkpoints can be deleted."""

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing is left to do."""
        return not self._running and self.next() is None

    @property
    def started(self) -> int:
        """How many trials have been started."""
        return len(self._order)

    @property
    def running(self) -> tuple[str, ...]:
        """The trials on their way to a rung."""
        return tuple(self._running)

    def run(self, trial: str, to: float) -> None:
        """A trial is on its way to the rung `to`; one that was not heard of before has been started."""
        self._order.setdefault(trial, len(self._order))
        self._running[trial] = self._level[to]

    def result(self, trial: str, resource: float, score: float) -> None:
        """A running trial reports at a point; only that at the rung it is on its way to counts.

        Args:
            trial: its id.
            resource: the point.
            score: lower is better; NaN and infinity lose.
        """
        level = self._running.get(trial)
        if level is not None and resource >= self.rungs[level]:
            del self._running[trial]
            self._arrived(trial, level, score if math.isfinite(score) else LOST)

    def end(self, trial: str) -> None:
        """A trial will not report again: it failed, diverged or ran out of memory on its way."""
        level = self._running.pop(trial, None)
        if level is not None:
            self._arrived(trial, level, LOST)


class Promotions(Scheduler):
    """ASHA (Li et al., 2020) as its paper has it: trials pause at rungs, and the best 1/eta of each goes on.

    A promotion from the deepest rung comes first; a new trial starts only where nothing can be promoted. When all have
    been started and none has been trained to the end, the best of the deepest rung goes on all the same, so that no
    search ends without a finished trial. Equal scores are settled by who was started first.

    Args:
        rungs: see `Scheduler`.
        trials: see `Scheduler`.
        reduction_factor: eta, at least 2 (3: Li et al.).
    """

    def __init__(self, rungs: Sequence[float], trials: int, reduction_factor: float = 3.0) -> None:
        super().__init__(rungs, trials)
        self._eta = reduction_factor
        self._all: list[list[tuple[float, int]]] = [[] for _ in rungs]  # of each rung, who came there: sorted
        self._paused: list[list[tuple[float, int, str]]] = [[] for _ in rungs]  # who waits there: sorted

    def next(self) -> Move | None:
        """See `Scheduler.next`."""
        last = len(self.rungs) - 1
        for level in range(last - 1, -1, -1):
            paused = self._paused[level]
            if paused and self._place(level, paused[0]) < self._quota(level):
                place = f"{self._place(level, paused[0]) + 1} of {len(self._all[level])}"
                return Move(paused[0][2], self.rungs[level + 1], f"{place} at rung {self.rungs[level]:g}")
        if self.started < self.trials:
            return Move(None, self.rungs[0], "nothing to promote")
        if not self._running and not self._has_finished():
            for level in range(last - 1, -1, -1):
                if paused := self._paused[level]:
                    return Move(paused[0][2], self.rungs[level + 1], f"best of rung {self.rungs[level]:g}, at the end")
        return None

    def drop(self) -> list[str]:
        """See `Scheduler.drop`: once a trial has finished, those below the most that their rung could still promote."""
        if not self._has_finished():
            return []
        dropped: list[str] = []
        arriving = self.trials - self.started
        for level, paused in enumerate(self._paused[:-1]):
            arriving += sum(1 for heading in self._running.values() if heading == level)
            arrived = self._all[level]
            most = math.floor((len(arrived) + arriving) / self._eta)
            if most < len(arrived):
                worse = bisect_left(paused, arrived[most])
                dropped += [trial for *_, trial in paused[worse:]]
                del paused[worse:]
            arriving += len(paused)
        return dropped

    def run(self, trial: str, to: float) -> None:
        """See `Scheduler.run`."""
        super().run(trial, to)
        if (level := self._level[to] - 1) >= 0:
            self._paused[level] = [entry for entry in self._paused[level] if entry[2] != trial]

    def _arrived(self, trial: str, level: int, score: float) -> None:
        order = self._order[trial]
        insort(self._all[level], (score, order))
        if score < LOST and level < len(self.rungs) - 1:
            insort(self._paused[level], (score, order, trial))

    def _place(self, level: int, entry: tuple[float, int, str]) -> int:
        return bisect_left(self._all[level], entry[:2])

    def _quota(self, level: int) -> int:
        return math.floor(len(self._all[level]) / self._eta)

    def _has_finished(self) -> bool:
        return any(score < LOST for score, _ in self._all[-1][:1])
