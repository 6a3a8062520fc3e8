"""A search without training: workers on a simulated clock, curves instead of trials."""

import heapq
import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from analysis.run_directory.trials import TrialState
from benchmarks.replay.curves import Array, Pool
from salt_tune.schedulers.base import Job


class Method(Protocol):
    """Who decides which trial goes on: `salt_tune.schedulers.base.Scheduler`, or a peer behind the same questions."""

    compared: tuple[float, ...]  # where trials are compared

    def next_job(self) -> Job | None:
        """Returns the next job."""

    def on_job(self, trial: str, milestone: float) -> None:
        """Is told that a trial is on its way."""

    def on_trial_result(self, trial: str, resource: float, score: float) -> None:
        """Is told that a running trial reports."""

    def on_trial_end(self, trial: str) -> None:
        """Is told that a running trial is lost."""

    def prunable(self) -> list[str]:
        """Returns the paused trials that will never go on."""

    def on_trial_prune(self, trial: str) -> None:
        """Is told that a trial that was prunable has been given up."""


class Suggestions(Protocol):
    """Who names the configuration of a new trial."""

    def start(self, trial: str) -> int:
        """Returns the index in the pool of the configuration that this trial gets; none is given twice."""

    def report(self, trial: str, rung: float, score: float) -> None:
        """Is told that a trial has come to a rung."""

    def end(self, trial: str, state: TrialState, score: float) -> None:
        """Is told that a trial has ended."""


@dataclass(order=True)
class _Stretch:
    """A trial on its way: training from one step to another."""

    done_at: float
    number: int
    trial: str = field(compare=False)
    config: int = field(compare=False)
    begun_at: float = field(compare=False)
    begin: int = field(compare=False)
    stop: int = field(compare=False)  # before `to` where the trial diverges
    to: int = field(compare=False)

    def steps_by(self, now: float) -> float:
        """Returns the steps of this stretch that are done at a time."""
        return (self.stop - self.begin) * (now - self.begun_at) / (self.done_at - self.begun_at)


@dataclass
class Replay:
    """What came of a replay.

    Attributes:
        spent: steps of all trials together when the recommendation was looked at: after each stretch.
        recommended: the end of the configuration that would have been recommended then; infinite where none would.
        starts: configurations in the order of their start.
        jobs: (trial, milestone) in the order in which they were begun.
        makespan: the clock at the end.
        finished: how many trials went to the full length.
    """

    spent: list[float] = field(default_factory=list)
    recommended: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    jobs: list[tuple[str, float]] = field(default_factory=list)
    makespan: float = 0.0
    finished: int = 0


def replay(method: Method, suggestions: Suggestions, pool: Pool, workers: int, seed: int = 0) -> Replay:
    """Runs a search until no worker has anything to do.

    Whenever a stretch ends, its trial reports, and all free workers ask for the next job. A trial that diverges ends
    itself at that step. The recommendation is the product's: the best score among the trials that came to the deepest
    rung.

    Args:
        method: decides which trial goes on.
        suggestions: names configurations.
        pool: the curves.
        workers: trials at a time.
        seed: which of the pool's seeds is trained with.
    """
    values, state = pool.values[seed], Replay()
    lost_at = _first_lost(values)
    rungs = set(method.compared)
    configs: dict[str, int] = {}
    reached: dict[str, int] = {}
    running: list[_Stretch] = []
    now, steps, best = 0.0, 0, (0.0, math.inf, math.inf)
    while True:
        while len(running) < workers and (job := method.next_job()) is not None:
            trial = job.trial or f"T{len(configs)}"
            if trial not in configs:
                configs[trial] = suggestions.start(trial)
                state.starts.append(configs[trial])
            config, begin, to = configs[trial], reached.get(trial, 0), round(job.milestone)
            stop = min(to, int(lost_at[config]))
            method.on_job(trial, job.milestone)
            state.jobs.append((trial, job.milestone))
            done_at = now + float(pool.clock[config, stop] - pool.clock[config, begin])
            heapq.heappush(running, _Stretch(done_at, len(state.jobs), trial, config, now, begin, stop, to))
        if not running:
            break
        stretch = heapq.heappop(running)
        now, steps = stretch.done_at, steps + stretch.stop - stretch.begin
        reached[stretch.trial] = stretch.stop
        score = float(values[stretch.config, stretch.stop])
        if score == math.inf:
            method.on_trial_end(stretch.trial)
            suggestions.end(stretch.trial, TrialState.DIVERGED, math.inf)
        else:
            method.on_trial_result(stretch.trial, stretch.to, score)
            if stretch.to in rungs:
                best = min(best, (-stretch.to, score, float(pool.ends[stretch.config])))
                suggestions.report(stretch.trial, stretch.to, score)
            if stretch.to == round(method.compared[-1]):
                state.finished += 1
                suggestions.end(stretch.trial, TrialState.COMPLETE, score)
        for pruned in method.prunable():
            method.on_trial_prune(pruned)
            suggestions.end(pruned, TrialState.PRUNED, float(values[configs[pruned], reached[pruned]]))
        state.spent.append(steps + sum(other.steps_by(now) for other in running))
        state.recommended.append(best[2])
    state.makespan = now
    return state


def _first_lost(values: Array) -> Array:
    """Returns the first step, from 1 on, at which a trial has no value; infinite where it always has one."""
    lost = ~np.isfinite(values[:, 1:])
    return np.where(lost.any(1), lost.argmax(1) + 1, np.iinfo(np.int32).max).astype(np.float64)
