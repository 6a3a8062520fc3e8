"""ASHA with promotions: trials pause at rungs, and the best of each rung go on."""

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any

from salt_tune.schedulers.base import Job, Scheduler

Entry = tuple[float, int, str]  # score, how many had been started before, trial


class Asha(Scheduler):
    """ASHA (Li et al., 2020) as its paper has it: trials pause at rungs, and the best 1/eta of each goes on.

    A promotion from the deepest rung comes first; a new trial starts only where nothing can be promoted. Where all have
    been started and none has been trained to the end, the best of the deepest rung goes on all the same. So no search
    ends without a complete trial. Equal scores are settled by which trial was started first.

    Args:
        rungs: see `Scheduler`.
        allowed: see `Scheduler`.
        options: see `Scheduler`; `reduction_factor` is eta, at least 2 (3: Li et al.).
    """

    ranks_by_cost = True

    def __init__(self, rungs: Sequence[float], allowed: int, **options: Any) -> None:
        super().__init__(rungs, allowed, **options)
        self._all: list[list[tuple[float, int]]] = [[] for _ in rungs]  # of each rung, what came there: sorted
        self._paused: list[list[Entry]] = [[] for _ in rungs]  # what waits there: sorted
        self._waiting: dict[str, tuple[int, Entry]] = {}  # trial -> where, in `_paused`

    def next_job(self) -> Job | None:
        """See `Scheduler.next_job`."""
        last = len(self.rungs) - 1
        for level in range(last - 1, -1, -1):
            paused = self._paused[level]
            if paused and self._place(level, paused[0]) < self._quota(level):
                place = f"{self._place(level, paused[0]) + 1} of {len(self._all[level])}"
                return Job(paused[0][2], self.rungs[level + 1], f"{place} at rung {self.rungs[level]:g}")
        if self.started < self.allowed:
            return Job(None, self.rungs[0], "nothing to promote")
        if not self._running and not self._has_complete():
            for level in range(last - 1, -1, -1):
                if paused := self._paused[level]:
                    return Job(paused[0][2], self.rungs[level + 1], f"best of rung {self.rungs[level]:g}, at the end")
        return None

    def prunable(self) -> list[str]:
        """See `Scheduler.prunable`: once a trial is complete, those below the most that their rung can promote."""
        if not self._has_complete():
            return []
        prunable: list[str] = []
        arriving = self.allowed - self.started
        for level, paused in enumerate(self._paused[:-1]):
            arriving += sum(1 for heading in self._running.values() if heading == level)
            arrived = self._all[level]
            most = math.floor((len(arrived) + arriving) / self._reduction_factor)
            kept = bisect_left(paused, arrived[most]) if most < len(arrived) else len(paused)
            prunable += [trial for *_, trial in paused[kept:]]
            arriving += kept  # those above will not arrive anywhere
        return prunable

    def on_trial_prune(self, trial: str) -> None:
        """See `Scheduler.on_trial_prune`."""
        self._leave(trial)

    def on_job(self, trial: str, milestone: float) -> None:
        """See `Scheduler.on_job`."""
        super().on_job(trial, milestone)
        self._leave(trial)

    def _leave(self, trial: str) -> None:
        """Lets it wait no more, where it did."""
        if trial in self._waiting:
            level, entry = self._waiting.pop(trial)
            del self._paused[level][bisect_left(self._paused[level], entry)]

    def _arrived(self, trial: str, level: int, score: float) -> None:
        order = self._order[trial]
        insort(self._all[level], (score, order))
        if score < math.inf and level < len(self.rungs) - 1:
            self._waiting[trial] = level, (score, order, trial)
            insort(self._paused[level], (score, order, trial))

    def _place(self, level: int, entry: Entry) -> int:
        return bisect_left(self._all[level], entry[:2])

    def _quota(self, level: int) -> int:
        return math.floor(len(self._all[level]) / self._reduction_factor)

    def _has_complete(self) -> bool:
        return any(score < math.inf for score, _ in self._all[-1][:1])
