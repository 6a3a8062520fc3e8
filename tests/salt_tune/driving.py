"""Drives a scheduler as a search does, with tables of scores for trials, and workers that answer in any order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from salt_tune.schedulers.asha import LOST, Scheduler

Table = Sequence[Sequence[float]]  # of the trials, in the order of their start: the score at each rung
Choose = Callable[[int], int]  # which of so many running trials answers next


@dataclass
class Driven:
    """What happened, in order.

    Attributes:
        moves: (trial, rung, reason) as decided.
        events: moves, results and drops: ("run", trial, level), ("result", trial, level, score), ("drop", trial).
        dropped: in the order in which they were named.
    """

    moves: list[tuple[str, float, str]] = field(default_factory=list)
    events: list[tuple[str, str, int, float]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    @property
    def steps(self) -> list[tuple[str, float]]:
        """The moves without their reasons."""
        return [(trial, to) for trial, to, _ in self.moves]

    @property
    def finite(self) -> dict[str, int]:
        """The level of the last finite score of each trial that has one."""
        return {trial: level for event, trial, level, score in self.events if event == "result" and score < LOST}


def first(_: int) -> int:
    """A choice: who started first answers first."""
    return 0


def choices(numbers: Sequence[int]) -> Choose:
    """Choices by these numbers, over and over."""
    turn = iter(range(10**9))
    return lambda running: numbers[next(turn) % len(numbers)] % running


def drive(
    scheduler: Scheduler,
    table: Table | Callable[[str, int], float],
    *,
    workers: int = 1,
    choose: Choose = first,
    drop: bool = True,
    fails: Mapping[str, int] | None = None,
    past: Driven | None = None,
) -> Driven:
    """Runs a search to its end.

    Args:
        scheduler: decides.
        table: the scores.
        workers: trials at a time.
        choose: see `Choose`.
        drop: whether the scheduler is asked whom to drop.
        fails: trials that end on their way to a level.
        past: what happened before, where the search goes on.
    """
    done = past or Driven()
    running: list[str] = []
    heading: dict[str, int] = {}
    while True:
        while len(running) < workers and (move := scheduler.next()) is not None:
            assert scheduler.next() == move, "asking changes nothing"
            trial = move.trial or f"T{scheduler.started}"
            assert (move.trial is None) == (trial not in {name for name, *_ in done.moves})
            assert trial not in running and move.to in scheduler.rungs
            scheduler.run(trial, move.to)
            running.append(trial)
            heading[trial] = scheduler.rungs.index(move.to)
            done.moves.append((trial, move.to, move.why))
            done.events.append(("run", trial, heading[trial], 0.0))
            assert set(scheduler.running) == set(running) and not scheduler.over
        if not running:
            assert scheduler.over
            return done
        trial = running.pop(choose(len(running)))
        level = heading[trial]
        if fails and fails.get(trial) == level:
            score = LOST
            scheduler.end(trial)
        else:
            score = table(trial, level) if callable(table) else table[int(trial[1:])][level]
            scheduler.result(trial, scheduler.rungs[level], score)
            score = score if abs(score) < LOST else LOST
        done.events.append(("result", trial, level, score))
        if drop:
            for dropped in scheduler.drop():
                done.dropped.append(dropped)
                done.events.append(("drop", dropped, level, 0.0))
            assert not scheduler.drop(), "each is named once"
