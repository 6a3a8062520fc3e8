"""ASHA with promotions: trials pause at rungs, and the best of each rung go on."""

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any

from salt_tune.schedulers.base import Job, Scheduler

Place = tuple[bool, float, int]  # whether it stands behind, score, how many had been started before
Entry = tuple[bool, float, int, str]  # its place and the trial


class Asha(Scheduler):
    """ASHA (Li et al., 2020) as its paper has it: trials pause at rungs, and the best 1/eta of each goes on.

    A promotion from the deepest rung comes first; a new trial starts only where nothing can be promoted. Where all have
    been started and none has been trained to the end, the best of the deepest rung goes on all the same. So no search
    ends without a complete trial. Equal scores are settled by which trial was started first. A trial that stands behind
    goes on only from a rung where all do.

    Args:
        rungs: see `Scheduler`.
        allowed: see `Scheduler`.
        options: see `Scheduler`; `reduction_factor` is eta, at least 2 (3: Li et al.).
    """

    ranks_by_cost = True

    def __init__(self, rungs: Sequence[float], allowed: int, **options: Any) -> None:
        super().__init__(rungs, allowed, **options)
        self._all: list[list[Place]] = [[] for _ in rungs]  # of each rung, what came there: sorted
        self._paused: list[list[Entry]] = [[] for _ in rungs]  # what waits there: sorted
        self._waiting: dict[str, tuple[int, Entry]] = {}  # trial -> where, in `_paused`

    def next_job(self) -> Job | None:
        """See `Scheduler.next_job`."""
        last = len(self.rungs) - 1
        for level in range(last - 1, -1, -1):
            paused = self._paused[level]
            if paused and self._place(level, paused[0]) < self._quota(level) and self._may_go_on(level, paused[0]):
                place = f"{self._place(level, paused[0]) + 1} of {len(self._all[level])}"
                return Job(paused[0][3], self.rungs[level + 1], f"{place} at rung {self.rungs[level]:g}")
        if self.started < self.allowed:
            return Job(None, self.rungs[0], "nothing to promote")
        if not self._running and not self._has_complete():
            for behind in (False, True):
                for level in range(last - 1, -1, -1):
                    if (paused := self._paused[level]) and paused[0][0] == behind:
                        where = f"best of rung {self.rungs[level]:g}, at the end"
                        return Job(paused[0][3], self.rungs[level + 1], where)
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
        place = trial in self._behind, score, self._order[trial]
        insort(self._all[level], place)
        if score < math.inf and level < len(self.rungs) - 1:
            self._waiting[trial] = level, (*place, trial)
            insort(self._paused[level], (*place, trial))

    def _place(self, level: int, entry: Entry) -> int:
        return bisect_left(self._all[level], entry[:3])

    def _may_go_on(self, level: int, entry: Entry) -> bool:
        """Says whether none at its rung stands before it."""
        return not entry[0] or self._all[level][0][0]

    def _quota(self, level: int) -> int:
        return math.floor(len(self._all[level]) / self._reduction_factor)

    def _has_complete(self) -> bool:
        """Says whether a trial is complete that does not stand behind one which waits."""
        waits = any(paused and not paused[0][0] for paused in self._paused)
        return any(score < math.inf and not (behind and waits) for behind, score, _ in self._all[-1][:1])
