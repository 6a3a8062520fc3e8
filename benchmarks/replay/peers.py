"""Ray's own schedulers, asked as ours are, with stand-ins for Ray's trials and controller.

They do not promote: a trial reports after every step, and the answer is to go on, to pause or to stop.
"""

import math
import warnings
from collections import deque

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandScheduler, MedianStoppingRule, TrialScheduler

from salt_tune.schedulers.asha import Move

METRIC, TIME = "value", "training_iteration"
WAITING = (Trial.PENDING, Trial.PAUSED)


class RayTrial:
    """What Ray's schedulers look at in a trial."""

    def __init__(self, number: int) -> None:
        self.trial_id = f"ray-{number}"
        self.status = Trial.PENDING
        self.is_saving = False
        self.step = 0
        self.last_result: dict[str, float] = {}


class RayPeer:
    """One of Ray's schedulers, with what it needs of Ray's controller; all trials wait from the start, in order.

    As Ray's controller does, a trial that comes to its full length or diverges is reported as complete (the latter with
    NaN), and so is one that is stopped.

    Args:
        scheduler: with the metric "value", mode "min" and the time "training_iteration".
        trials: how many.
        full: steps of a full trial.
        rungs: where trials are compared.
    """

    def __init__(self, scheduler: TrialScheduler, trials: int, full: int, rungs: tuple[float, ...]) -> None:
        self.rungs = rungs
        self._scheduler = scheduler
        self._full = full
        self._all = [RayTrial(number) for number in range(trials)]
        self._names: dict[str, RayTrial] = {}
        self._going: deque[str] = deque()  # told to continue
        for trial in self._all:
            scheduler.on_trial_add(self, trial)

    def get_trials(self) -> list[RayTrial]:
        """As Ray's controller has it."""
        return self._all

    def get_live_trials(self) -> list[RayTrial]:
        """As Ray's controller has it."""
        return [trial for trial in self._all if trial.status != Trial.TERMINATED]

    def stop_trial(self, trial: RayTrial) -> None:
        """As Ray's controller has it."""
        if trial.status in WAITING:
            self._scheduler.on_trial_remove(self, trial)
        elif trial.status == Trial.RUNNING:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a percentile of nothing but NaN
                self._scheduler.on_trial_complete(self, trial, trial.last_result)
        trial.status = Trial.TERMINATED

    def next(self) -> Move | None:
        """See `clock.Method`."""
        if self._going:
            return self._step(self._going[0], self._names[self._going[0]])
        chosen = self._scheduler.choose_trial_to_run(self)
        if chosen is None:
            return None
        return self._step(next((name for name, trial in self._names.items() if trial is chosen), None), chosen)

    def run(self, trial: str, to: float) -> None:  # noqa: ARG002
        """See `clock.Method`."""
        if self._going and self._going[0] == trial:
            self._going.popleft()
        elif trial not in self._names:
            self._names[trial] = self._scheduler.choose_trial_to_run(self)
        self._names[trial].status = Trial.RUNNING

    def result(self, trial: str, resource: float, score: float) -> None:
        """See `clock.Method`."""
        reporting = self._report(trial, score)
        if resource >= self._full:
            self.stop_trial(reporting)
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            decision = self._scheduler.on_trial_result(self, reporting, reporting.last_result)
        if decision == TrialScheduler.CONTINUE:
            self._going.append(trial)
        elif decision == TrialScheduler.PAUSE:
            reporting.status = Trial.PAUSED
        else:
            self.stop_trial(reporting)

    def end(self, trial: str) -> None:
        """See `clock.Method`."""
        self.stop_trial(self._report(trial, math.nan))

    def drop(self) -> list[str]:
        """See `clock.Method`."""
        return []

    def _step(self, name: str | None, trial: RayTrial) -> Move:
        return Move(name, trial.step + 1, "Ray's")

    def _report(self, trial: str, score: float) -> RayTrial:
        reporting = self._names[trial]
        reporting.step += 1
        reporting.last_result = {TIME: reporting.step, METRIC: score}
        return reporting


def ray_asha(trials: int, full: int, grace: int, eta: int = 3) -> RayPeer:
    """Ray's ASHA, which stops trials."""
    settings = {"max_t": full, "grace_period": grace, "reduction_factor": eta}
    scheduler = AsyncHyperBandScheduler(time_attr=TIME, metric=METRIC, mode="min", **settings)
    return RayPeer(scheduler, trials, full, milestones(grace, full, eta))


def ray_median(trials: int, full: int, grace: int) -> RayPeer:
    """Ray's median stopping rule."""
    scheduler = MedianStoppingRule(time_attr=TIME, metric=METRIC, mode="min", grace_period=grace)
    return RayPeer(scheduler, trials, full, tuple(range(1, full + 1)))


def ray_hyperband(trials: int, full: int, eta: int = 3) -> RayPeer:
    """Ray's HyperBand; its brackets are filled before the first trial runs."""
    scheduler = HyperBandScheduler(time_attr=TIME, metric=METRIC, mode="min", max_t=full, reduction_factor=eta)
    return RayPeer(scheduler, trials, full, milestones(1, full, eta))


def milestones(grace: int, full: int, eta: int) -> tuple[float, ...]:
    """The rungs of ASHA: the first, and powers of the factor above it."""
    rungs = []
    while grace < full:
        rungs.append(float(grace))
        grace *= eta
    return (*rungs, float(full))
