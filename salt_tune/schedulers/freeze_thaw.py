"""Freeze-thaw: all trials pause at every rung, and the one goes on whose next stretch is worth most."""

import math
from bisect import insort
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from salt_tune.schedulers.asha import LOST, Move, Scheduler
from salt_tune.schedulers.learning_curves import Array, CurveModel

HEAVY_TAILS = (
    1.5  # real curves surprise more often than Gaussian ones: their standard deviation is taken that much larger
)
WORTHWHILE = 0.02  # a paused trial with less of a chance than this to beat the best does not go on as things stand
HOPELESS = 0.001  # a paused trial with less of a chance than this gives its checkpoint up
REFIT_AFTER = 0.01  # share of new results that the model is fitted again for: each one up to 100
OUTLIER = (
    3.0  # a value further above the median of the first rung than so many times what the best is below counts as that
)


class FreezeThaw(Scheduler):
    """Asks a model of the curves which paused trial deserves the next stretch of training.

    A trial's worth is its expected improvement on the best finished trial (before there is one, on the best
    prediction) at the end of training, over the resource to its next rung. All trials are started first.
    Who has no fair chance to beat the best waits, even where a worker is free: what runs may yet disappoint. The search
    ends when a trial has finished and no other has a fair chance to beat it.

    Args:
        rungs: see `Scheduler`.
        trials: see `Scheduler`.
        keep: paused trials that may keep a checkpoint; the least promising give theirs up. None: all.
    """

    def __init__(self, rungs: Sequence[float], trials: int, keep: int | None = None) -> None:
        super().__init__(rungs, trials)
        self._model = CurveModel(self.rungs)
        self._keep = keep
        self._ids: list[str] = []
        self._costs = np.diff(self.rungs, append=math.inf)
        self._values = np.full((0, len(self.rungs)), np.nan)  # of each trial at each rung
        self._levels = np.zeros(0, np.intp)  # the last rung with a value; -1: none yet
        self._paused = np.zeros(0, bool)
        self._ends = np.zeros(0)  # predicted values at the last rung; infinite for the lost
        self._first: list[float] = []  # the values at the first rung, ascending
        self._results = self._fitted_on = 0
        self._judged: tuple[Array, Array] | None = None  # of the paused trials, until something changes

    def next(self) -> Move | None:
        """See `Scheduler.next`."""
        if self.started < self.trials:
            return Move(None, self.rungs[0], "not all trials have been started")
        paused = np.flatnonzero(self._paused)
        if not len(paused):
            return None
        chance, gain = self._chances(paused)
        fair = chance >= WORTHWHILE
        if not fair.any():
            if self._running or self._best_finished() < LOST:
                return None
            fair[:] = True
        best = int(np.argmax(np.where(fair, gain / self._costs[self._levels[paused]], -1.0)))
        trial, level = paused[best], int(self._levels[paused[best]])
        why = f"predicted {self._ends[trial]:.4g} at the end, {chance[best]:.0%} to be the best"
        return Move(self._ids[trial], self.rungs[level + 1], why)

    def drop(self) -> list[str]:
        """See `Scheduler.drop`: the hopeless, and the least promising above `keep`."""
        paused = np.flatnonzero(self._paused)
        excess = 0 if self._keep is None else max(0, len(paused) - self._keep)
        late = self.started == self.trials and self._best_finished() < LOST
        if not len(paused) or not (excess or late):
            return []
        chance, _ = self._chances(paused)
        hopeless = (chance < HOPELESS) & late
        hopeless[np.argsort(chance, kind="stable")[:excess]] = True
        if not hopeless.any():
            return []
        self._judged = None
        self._paused[paused[hopeless]] = False
        return [self._ids[trial] for trial in paused[hopeless]]

    def run(self, trial: str, to: float) -> None:
        """See `Scheduler.run`."""
        if trial not in self._order:
            self._add(trial)
        super().run(trial, to)
        self._judged = None
        self._paused[self._order[trial]] = False

    def _add(self, trial: str) -> None:
        self._ids.append(trial)
        if len(self._ids) > len(self._levels):
            room = max(self.trials, len(self._ids)) - len(self._levels)
            self._values = np.concatenate([self._values, np.full((room, len(self.rungs)), np.nan)])
            self._levels = np.concatenate([self._levels, np.full(room, -1)])
            self._paused = np.concatenate([self._paused, np.zeros(room, bool)])
            self._ends = np.concatenate([self._ends, np.full(room, LOST)])

    def _arrived(self, trial: str, level: int, score: float) -> None:
        index = self._order[trial]
        self._judged = None
        if score == LOST:
            self._ends[index] = LOST
            return
        self._values[index, level], self._levels[index] = score, level
        if level == 0:
            insort(self._first, score)
        self._paused[index] = level < len(self.rungs) - 1
        self._results += 1
        if self._results >= self._fitted_on * (1 + REFIT_AFTER):
            self._fitted_on = self._results
            seen = np.flatnonzero((self._levels >= 0) & ((self._ends < LOST) | (np.arange(len(self._ends)) == index)))
            curves = self._curves(seen)
            self._model.fit(curves)
            self._ends[seen] = self._model.predict(curves, self._levels[seen])
        else:
            self._ends[index] = self._model.predict(self._curves(np.array([index])), self._levels[[index]])[0]

    def _curves(self, trials: NDArray[np.intp]) -> Array:
        """The trials' values, where a wild one counts as a bad one: it says nothing about the good."""
        half = len(self._first) // 2
        middle = (self._first[half] + self._first[-half - 1]) / 2
        capped: Array = np.minimum(self._values[trials], middle + OUTLIER * (middle - self._first[0]))
        return capped

    def _best_finished(self) -> float:
        return float(self._ends[self._levels == len(self.rungs) - 1].min(initial=LOST))

    def _chances(self, paused: NDArray[np.intp]) -> tuple[Array, Array]:
        """Of each paused trial: the probability that it beats the best, and by how much it is expected to."""
        if self._judged is not None:
            return self._judged
        best = self._best_finished()
        target = best if best < LOST else float(self._ends.min())
        spread = np.maximum(HEAVY_TAILS * self._model.learnable[self._levels[paused]], 1e-300)
        lead = (target - self._ends[paused]) / spread
        chance: Array = ndtr(lead)
        self._judged = chance, spread * (lead * chance + np.exp(-(lead**2) / 2) / math.sqrt(2 * math.pi))
        return self._judged
