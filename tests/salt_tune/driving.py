"""Drives a scheduler as a search does, with tables of scores for trials, and workers that answer in any order."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from salt_tune.schedulers.base import Scheduler

Table = Sequence[Sequence[float]]  # of the trials, in the order of their start: the score at each rung
Choose = Callable[[int], int]  # which of so many running trials answers next


@dataclass
class Driven:
    """What happened, in order.

    Attributes:
        jobs: (trial, milestone, reason) as decided.
        events: ("job", trial, level), ("result", trial, level, score) and ("prune", trial), in order.
        pruned: in the order in which they were named.
    """

    jobs: list[tuple[str, float, str]] = field(default_factory=list)
    events: list[tuple[str, str, int, float]] = field(default_factory=list)
    pruned: list[str] = field(default_factory=list)

    @property
    def steps(self) -> list[tuple[str, float]]:
        """The jobs without their reasons."""
        return [(trial, milestone) for trial, milestone, _ in self.jobs]

    @property
    def finite(self) -> dict[str, int]:
        """The level of the last finite score of each trial that has one."""
        return {
            trial: level for event, trial, level, score in self.events if event == "result" and math.isfinite(score)
        }

    def check_order(self, *, lost_end: bool = False) -> dict[str, int]:
        """Checks that each trial goes from rung to rung, and does nothing after it is gone.

        Args:
            lost_end: whether a trial without a finite score is gone.

        Returns:
            The deepest level that each trial reached.
        """
        reached: dict[str, int] = {}
        gone: set[str] = set()
        for event, trial, level, score in self.events:
            assert trial not in gone
            if event == "job":
                assert level == reached.get(trial, -1) + 1
            elif event == "result":
                reached[trial] = level
                gone |= {trial} if lost_end and not math.isfinite(score) else set()
            else:
                gone.add(trial)
        return reached


def first(_: int) -> int:
    """A choice: who started first answers first."""
    return 0


def choices(numbers: Sequence[int]) -> Choose:
    """Choices by these numbers, over and over."""
    turn = iter(range(10**9))
    return lambda running: numbers[next(turn) % len(numbers)] % running


def prune_all(scheduler: Scheduler) -> list[str]:
    """Gives up the trials that are prunable, and names them."""
    prunable = scheduler.prunable()
    assert scheduler.prunable() == prunable, "asking changes nothing"
    for trial in prunable:
        scheduler.on_trial_prune(trial)
    assert not scheduler.prunable(), "each is named once"
    return prunable


def drive(
    scheduler: Scheduler,
    table: Table | Callable[[str, int], float],
    *,
    workers: int = 1,
    choose: Choose = first,
    prune: bool = True,
    fails: Mapping[str, int] | None = None,
    past: Driven | None = None,
    behind: Collection[str] = (),
) -> Driven:
    """Runs a search to its end.

    Args:
        scheduler: decides.
        table: the scores.
        workers: trials at a time.
        choose: see `Choose`.
        prune: whether trials are given up that the scheduler calls prunable.
        fails: trials that end on their way to a level.
        past: what happened before, where the search goes on.
        behind: trials that stand behind all others.
    """
    done = past or Driven()
    running: list[str] = []
    heading: dict[str, int] = {}
    while True:
        while len(running) < workers and (job := scheduler.next_job()) is not None:
            assert scheduler.next_job() == job, "asking changes nothing"
            trial = job.trial or f"T{scheduler.started}"
            assert (job.trial is None) == (trial not in {name for name, *_ in done.jobs})
            assert trial not in running and job.milestone in scheduler.rungs
            scheduler.on_job(trial, job.milestone)
            running.append(trial)
            heading[trial] = scheduler.rungs.index(job.milestone)
            done.jobs.append((trial, job.milestone, job.reason))
            done.events.append(("job", trial, heading[trial], 0.0))
            assert set(scheduler.running) == set(running) and not scheduler.over
        if not running:
            assert scheduler.over
            return done
        trial = running.pop(choose(len(running)))
        level = heading[trial]
        if fails and fails.get(trial) == level:
            score = math.inf
            scheduler.on_trial_end(trial)
        else:
            score = table(trial, level) if callable(table) else table[int(trial[1:])][level]
            scheduler.on_trial_result(trial, scheduler.rungs[level], score, behind=trial in behind)
            score = score if math.isfinite(score) else math.inf
        done.events.append(("result", trial, level, score))
        if prune:
            for pruned in prune_all(scheduler):
                done.pruned.append(pruned)
                done.events.append(("prune", pruned, level, 0.0))
