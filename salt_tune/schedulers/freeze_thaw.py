"""Freeze-thaw: all trials pause at every rung, and the one with the most worthwhile next stretch goes on."""

import math
from bisect import insort
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from salt_tune.schedulers.base import Job, Prediction, Scheduler
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
RUNG_FACTOR = 2**0.5  # between rungs, where a space names none


class FreezeThaw(Scheduler):
    """Asks a model of the curves which paused trial deserves the next stretch of training.

    A trial's worth is its expected improvement at the end of training, over the resource to its next rung. The
    improvement is on the best complete trial, or on the best prediction before there is one. All trials are started
    first. A trial without a fair chance to beat the best waits, even where a worker is free: what runs may yet
    disappoint. The search ends when a trial is complete and no other has a fair chance to beat it. A trial that stands
    behind has no chance while another one is alive.

    Args:
        rungs: see `Scheduler`.
        allowed: see `Scheduler`.
        options: see `Scheduler`; above `keep`, the least promising of the paused trials give their checkpoints up.
    """

    limits_checkpoints = True

    def __init__(self, rungs: Sequence[float], allowed: int, **options: Any) -> None:
        super().__init__(rungs, allowed, **options)
        self._model = CurveModel(self.rungs)
        self._ids: list[str] = []
        self._costs = np.diff(self.rungs, append=math.inf)
        self._values = np.full((0, len(self.rungs)), np.nan)  # of each trial at each rung
        self._levels = np.zeros(0, np.intp)  # the last rung with a value; -1: none yet
        self._paused = np.zeros(0, bool)
        self._last = np.zeros(0, bool)  # stands behind all others
        self._ends = np.zeros(0)  # predicted values at the last rung; infinite for the lost
        self._first: list[float] = []  # the values at the first rung, ascending
        self._results = self._fitted_on = 0
        self._judged: tuple[Array, Array] | None = None  # of the paused trials, until something changes

    @staticmethod
    def rung_points(first: float, full: float, reduction_factor: float) -> tuple[float, ...]:  # noqa: ARG004
        """See `Scheduler.rung_points`: whole multiples of the first, about `RUNG_FACTOR` apart."""
        rungs: list[float] = []
        multiple = 1.0
        while first * multiple < full:
            rungs.append(first * multiple)
            multiple = max(multiple + 1, round(multiple * RUNG_FACTOR))
        return tuple(rungs)

    def next_job(self) -> Job | None:
        """See `Scheduler.next_job`."""
        if self.started < self.allowed:
            return Job(None, self.rungs[0], "not all trials have been started")
        paused = np.flatnonzero(self._paused)
        if not len(paused):
            return None
        chance, gain = self._chances(paused)
        fair = chance >= WORTHWHILE
        if not fair.any():
            if self._running or self._best_complete() < math.inf:
                return None
            fair[:] = True
        best = int(np.argmax(np.where(fair, gain / self._costs[self._levels[paused]], -1.0)))
        trial, level = self._ids[paused[best]], int(self._levels[paused[best]])
        return Job(trial, self.rungs[level + 1], str(self.prediction(trial)))

    def prunable(self) -> list[str]:
        """See `Scheduler.prunable`: the hopeless, and the least promising above `keep`."""
        paused = np.flatnonzero(self._paused)
        excess = 0 if self._keep is None else max(0, len(paused) - self._keep)
        late = self.started == self.allowed and self._best_complete() < math.inf
        if not len(paused) or not (excess or late):
            return []
        chance, _ = self._chances(paused)
        hopeless = (chance < HOPELESS) & late
        hopeless[np.argsort(chance, kind="stable")[:excess]] = True
        return [self._ids[trial] for trial in paused[hopeless]]

    def prediction(self, trial: str) -> Prediction | None:
        """See `Scheduler.prediction`; heavy tails are counted in the standard deviation."""
        index = self._order.get(trial)
        if index is None or not self._paused[index]:
            return None
        paused = np.flatnonzero(self._paused)
        chance, _ = self._chances(paused)
        spread = HEAVY_TAILS * self._model.learnable[self._levels[index]]
        return Prediction(float(self._ends[index]), float(spread), float(chance[np.searchsorted(paused, index)]))

    def on_trial_prune(self, trial: str) -> None:
        """See `Scheduler.on_trial_prune`."""
        self._judged = None
        self._paused[self._order[trial]] = False

    def on_job(self, trial: str, milestone: float) -> None:
        """See `Scheduler.on_job`."""
        if trial not in self._order:
            self._add(trial)
        super().on_job(trial, milestone)
        self._judged = None
        self._paused[self._order[trial]] = False

    def _add(self, trial: str) -> None:
        self._ids.append(trial)
        if len(self._ids) > len(self._levels):
            room = max(self.allowed, len(self._ids)) - len(self._levels)
            self._values = np.concatenate([self._values, np.full((room, len(self.rungs)), np.nan)])
            self._levels = np.concatenate([self._levels, np.full(room, -1)])
            self._paused = np.concatenate([self._paused, np.zeros(room, bool)])
            self._last = np.concatenate([self._last, np.zeros(room, bool)])
            self._ends = np.concatenate([self._ends, np.full(room, math.inf)])

    def _arrived(self, trial: str, level: int, score: float) -> None:
        index = self._order[trial]
        self._judged = None
        self._last[index] = trial in self._behind
        if score == math.inf:
            self._ends[index] = math.inf
            return
        self._values[index, level], self._levels[index] = score, level
        if level == 0:
            insort(self._first, score)
        self._paused[index] = level < len(self.rungs) - 1
        self._results += 1
        if self._results >= self._fitted_on * (1 + REFIT_AFTER):
            self._fitted_on = self._results
            alive = (self._ends < math.inf) | (np.arange(len(self._ends)) == index)
            seen = np.flatnonzero((self._levels >= 0) & alive)
            curves = self._curves(seen)
            self._model.fit(curves)
            self._ends[seen] = self._model.predict(curves, self._levels[seen])
        else:
            self._ends[index] = self._model.predict(self._curves(np.array([index])), self._levels[[index]])[0]

    def _curves(self, trials: NDArray[np.intp]) -> Array:
        """Returns the trials' values, where a wild one counts as a bad one: it says nothing about the good."""
        half = len(self._first) // 2
        middle = (self._first[half] + self._first[-half - 1]) / 2
        capped: Array = np.minimum(self._values[trials], middle + OUTLIER * (middle - self._first[0]))
        return capped

    def _best_complete(self) -> float:
        return float(self._standing()[self._levels == len(self.rungs) - 1].min(initial=math.inf))

    def _standing(self) -> Array:
        """Returns the predicted ends, infinite for trials that stand behind one that is alive."""
        others = np.where(self._last, math.inf, self._ends)
        return others if (others < math.inf).any() else self._ends

    def _chances(self, paused: NDArray[np.intp]) -> tuple[Array, Array]:
        """Returns, of each paused trial, the probability that it beats the best, and by how much it is expected to."""
        if self._judged is not None:
            return self._judged
        best, ends = self._best_complete(), self._standing()
        target = best if best < math.inf else float(ends.min())
        spread = np.maximum(HEAVY_TAILS * self._model.learnable[self._levels[paused]], 1e-300)
        lead = (target - self._ends[paused]) / spread
        chance: Array = ndtr(lead)
        gain = spread * (lead * chance + np.exp(-(lead**2) / 2) / math.sqrt(2 * math.pi))
        counts = np.isfinite(ends[paused])
        self._judged = chance * counts, gain * counts
        return self._judged
