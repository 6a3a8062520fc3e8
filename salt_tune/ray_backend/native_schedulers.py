"""Ray's own schedulers behind our protocol, for comparison.

They do not promote: a trial reports, and the answer is to go on, to pause or to stop. So they are asked at every
report, not at rungs only. A search and a replay drive them as they drive ours, and a journal told again brings them
back. Ray is imported as one is made.
"""

import math
import warnings
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from salt_tune.ray_backend.environment import set_ray_environment
from salt_tune.schedulers.base import Job, Scheduler

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler

METRIC, RESOURCE, REPORTS = "score", "resource", "training_iteration"
PENDING, RUNNING, PAUSED, TERMINATED = "PENDING", "RUNNING", "PAUSED", "TERMINATED"  # as Ray names them


@contextmanager
def _percentiles_of_nothing() -> Iterator[None]:
    """Silences NumPy's warning of scores that are all NaN; Ray's schedulers let the trial continue."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


class StandIn:
    """What Ray's schedulers look at in a trial.

    Args:
        number: how many there were before it.

    Attributes:
        trial_id: Ray's name of it.
        status: one of Ray's, see above.
        is_saving: whether a checkpoint is being written.
        name: ours, from its start on.
        last_result: what it reported last.
    """

    def __init__(self, number: int) -> None:
        self.trial_id = f"ray-{number}"
        self.status = PENDING
        self.is_saving = False
        self.name: str | None = None
        self.level = -1  # of its last report
        self.last_result: dict[str, float] = {}


class NativeScheduler(Scheduler):
    """One of Ray's schedulers, and to it what it needs of Ray's controller.

    As Ray's controller does, it calls a trial complete that has come to its end or was stopped. A trial that is lost
    is complete with NaN. Where a score has no value, as of a probe before the first rung, the report has no metric.

    Args:
        rungs: the first is the least that a trial trains.
        allowed: see `Scheduler`.
        options: see `Scheduler`; trials are compared at `reports`.

    Attributes:
        fills_first: whether Ray's scheduler is shown all allowed trials before the first of them starts. In a search
            on Ray's loop it sees each as it starts.
    """

    pauses = False
    fills_first = False

    def __init__(self, rungs: Sequence[float], allowed: int, **options: Any) -> None:
        super().__init__(rungs, allowed, **options)
        self.rungs = self._reports
        self._level = {rung: level for level, rung in enumerate(self.rungs)}
        self._trials: dict[str, StandIn] = {}  # by our name; those that have been started
        self._all: list[StandIn] = []
        self._going: deque[str] = deque()  # told to continue
        self._prunable: list[str] = []
        set_ray_environment()
        self._scheduler = self._make(rungs[0])

    @abstractmethod
    def _make(self, first: float) -> "TrialScheduler":
        """Makes Ray's scheduler, by the lowest `METRIC`.

        Args:
            first: resource at the first rung.
        """

    def next_job(self) -> Job | None:
        """See `Scheduler.next_job`: trials that were told to continue come first."""
        self._fill()
        if self._going:
            return self._job(self._trials[self._going[0]])
        chosen = self._choose()
        return None if chosen is None else self._job(chosen)

    def prunable(self) -> list[str]:
        """See `Scheduler.prunable`: those that Ray's scheduler has stopped."""
        return [*self._prunable]

    def on_trial_prune(self, trial: str) -> None:
        """See `Scheduler.on_trial_prune`."""
        self._prunable.remove(trial)

    def on_job(self, trial: str, milestone: float) -> None:
        """See `Scheduler.on_job`."""
        self._fill()
        if trial in self._going:
            self._going.remove(trial)
        elif trial not in self._trials:
            self._start(trial)
        self._trials[trial].status = RUNNING
        super().on_job(trial, milestone)

    def on_trial_result(self, trial: str, resource: float, score: float, *, behind: bool = False) -> None:
        """See `Scheduler.on_trial_result`; Ray's schedulers go by the score alone."""
        self._fill()
        super().on_trial_result(trial, resource, score, behind=behind)

    def on_trial_end(self, trial: str) -> None:
        """See `Scheduler.on_trial_end`."""
        self._fill()
        self._running.pop(trial, None)
        stand_in = self._trials.get(trial)
        if stand_in is None or stand_in.status == TERMINATED:
            return
        if trial in self._going:
            self._going.remove(trial)
        stand_in.status = RUNNING
        self._report(stand_in, stand_in.level + 1, math.nan)
        self._complete(stand_in)

    # What Ray's schedulers ask of a controller

    def get_trials(self) -> list[StandIn]:
        """See Ray's `TuneController`."""
        return self._all

    def get_live_trials(self) -> list[StandIn]:
        """See Ray's `TuneController`."""
        return [trial for trial in self._all if trial.status != TERMINATED]

    def stop_trial(self, trial: StandIn) -> None:
        """See Ray's `TuneController`: it stops trials that wait; a running one stops itself by its decision."""
        if trial.status in (PENDING, PAUSED):
            self._scheduler.on_trial_remove(self, trial)
            if trial.name is not None:
                self._prunable.append(trial.name)
        trial.status = TERMINATED

    def _arrived(self, trial: str, level: int, score: float) -> None:
        stand_in = self._trials[trial]
        if level == len(self.rungs) - 1:
            self._report(stand_in, level, score if score < math.inf else math.nan)
            self._complete(stand_in)
            return
        self._report(stand_in, level, score)
        with _percentiles_of_nothing():
            decision = self._scheduler.on_trial_result(self, stand_in, stand_in.last_result)
        match decision:
            case "CONTINUE":
                self._going.append(trial)
            case "PAUSE":
                stand_in.status = PAUSED
            case "STOP":
                self._complete(stand_in)
                self._prunable.append(trial)
            case _:
                raise ValueError(f"{type(self._scheduler).__name__}: {decision!r} is no decision on a trial")

    def _report(self, trial: StandIn, level: int, score: float) -> None:
        trial.level = level
        trial.last_result = {RESOURCE: self.rungs[level], REPORTS: level + 1, **self._metric(score)}

    def _metric(self, score: float) -> dict[str, float]:
        """Returns what a result says of a score; the one of a lost trial is NaN."""
        return {} if score == math.inf else {METRIC: score}

    def _complete(self, trial: StandIn) -> None:
        with _percentiles_of_nothing():
            self._scheduler.on_trial_complete(self, trial, trial.last_result)
        trial.status = TERMINATED

    def _fill(self) -> None:
        """Shows Ray's scheduler the trials that are allowed by now, where it wants to see them first."""
        if not self.fills_first:
            return
        waiting = [trial for trial in self._all if trial.status == PENDING]
        for trial in reversed(waiting[max(0, self.allowed - self.started) :]):
            self.stop_trial(trial)
        for _ in range(self.allowed - self.started - len(waiting)):
            self._add()

    def _add(self) -> StandIn:
        trial = StandIn(len(self._all))
        self._all.append(trial)
        self._scheduler.on_trial_add(self, trial)
        return trial

    def _start(self, name: str) -> None:
        trial = self._choose() if self.fills_first else self._add()
        if trial is None or trial.name is not None:  # in a journal that is not this scheduler's
            raise ValueError(f"{type(self).__name__} would not have started {name}")
        trial.name = name
        self._trials[name] = trial

    def _choose(self) -> StandIn | None:
        """Returns the trial that Ray's scheduler would run next; one that is not there yet is new."""
        if not self.fills_first and self.started < self.allowed:
            return StandIn(len(self._all))
        chosen: StandIn | None = self._scheduler.choose_trial_to_run(self)
        return chosen

    def _job(self, trial: StandIn) -> Job:
        return Job(trial.name, self.rungs[trial.level + 1], "Ray's")


class AshaStop(NativeScheduler):
    """Ray's ASHA: at rungs, a trial below the best 1/reduction_factor of those that came there is stopped for good.

    It decides as it does in Ray's loop.
    """

    def _make(self, first: float) -> "TrialScheduler":
        from ray.tune.schedulers import AsyncHyperBandScheduler

        return AsyncHyperBandScheduler(
            time_attr=RESOURCE,
            metric=METRIC,
            mode="min",
            max_t=self.rungs[-1],
            grace_period=first,
            reduction_factor=self._reduction_factor,
        )


class MedianStop(NativeScheduler):
    """Ray's median stopping rule: a trial is stopped where its best is worse than the median of the others' means.

    It stops the trials that it stops in Ray's loop. There, until three have reported, it also pauses trials while the
    worker of another has not begun yet, which hangs on how long that takes. Here it sees a trial as it starts, and
    pauses none.
    """

    def __init__(self, rungs: Sequence[float], allowed: int, **options: Any) -> None:
        super().__init__(rungs, allowed, **options)
        self.compared = self.rungs

    def _make(self, first: float) -> "TrialScheduler":
        from ray.tune.schedulers import MedianStoppingRule

        return MedianStoppingRule(time_attr=RESOURCE, metric=METRIC, mode="min", grace_period=first)


class HyperBand(NativeScheduler):
    """Ray's HyperBand: brackets of trials, of which the best 1/reduction_factor go on at once; it counts in reports.

    It decides otherwise than in Ray's loop, which adds a trial to a bracket as it starts. There, a bracket that has one
    trial is done with it, and of trials that come one by one none is ever stopped. Here brackets are filled before the
    first trial starts, as Ray's loop does with trials that all wait.
    """

    pauses = True
    fills_first = True

    def _make(self, first: float) -> "TrialScheduler":  # noqa: ARG002
        from ray.tune.schedulers import HyperBandScheduler

        return HyperBandScheduler(
            time_attr=REPORTS,
            metric=METRIC,
            mode="min",
            max_t=len(self.rungs),
            reduction_factor=self._reduction_factor,
        )

    def _metric(self, score: float) -> dict[str, float]:
        return {METRIC: score}  # it sorts by it: what has none is the worst
