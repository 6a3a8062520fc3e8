"""What replays amount to: steps, regret, and how sure that is.

All averages are interquartile means (Agarwal et al., 2021): of the repetitions of all tasks together, the middle half.
Intervals are the middle 95% of bootstrap resamples of the repetitions, stratified by task. All methods are resampled
alike, for the same repetition means the same configurations: so differences and ratios keep what the pairing is worth.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.replay.clock import Replay
from benchmarks.replay.curves import Array, Pool

RESAMPLES = 1000
NOTHING_YET = (0.5, 1.0)  # rank and regret before there is anything to recommend: those of a blind draw, about

Interval = tuple[float, float, float]  # the figure, and the ends of its 95% interval


@dataclass
class Table:
    """The repetitions of one method, tasks one after the other; an array has a row for each repetition.

    Attributes:
        epochs: steps spent in all.
        makespan: the clock at the end.
        finished: trials at the full length.
        ranks: (repetitions, budgets) rank of the recommendation after so many steps; the last column is the end.
        regrets: the same for the normalised regret.
    """

    epochs: Array
    makespan: Array
    finished: Array
    ranks: Array
    regrets: Array


def tabulate(replays: list[tuple[Pool, Replay]], most: int) -> Table:
    """Returns the figures of each replay; the budgets are 0 to `most` steps."""
    ranks, regrets = np.empty((2, len(replays), most + 1))
    for row, (pool, one) in enumerate(replays):
        worth = {end: _worth(pool, end) for end in set(one.recommended)}
        ends = [NOTHING_YET, *(worth[end] for end in one.recommended)]
        at = np.searchsorted(one.spent, np.arange(most + 1), side="right")
        at[-1] = len(one.spent)
        ranks[row], regrets[row] = np.array(ends)[at].T
    return Table(
        np.array([one.spent[-1] for _, one in replays]),
        np.array([one.makespan for _, one in replays]),
        np.array([float(one.finished) for _, one in replays]),
        ranks,
        regrets,
    )


def _worth(pool: Pool, end: float) -> tuple[float, float]:
    return (pool.rank(end), pool.regret(end)) if np.isfinite(end) else NOTHING_YET


def resamples(tasks: int, repetitions: int) -> NDArray[np.intp]:
    """Counts how often each row is drawn, shape (1 + resamples, rows); the first row draws each once."""
    random = np.random.default_rng(0)
    drawn = random.multinomial(repetitions, np.full(repetitions, 1 / repetitions), size=(RESAMPLES, tasks))
    rows = np.ones((1 + RESAMPLES, tasks * repetitions), np.intp)
    rows[1:] = drawn.reshape(RESAMPLES, -1)
    return rows


def interquartile_mean(values: Array, counts: NDArray[np.intp]) -> Array:
    """Returns the mean of the middle half.

    Args:
        values: (rows, ...).
        counts: (resamples, rows) how often each row counts.

    Returns:
        (resamples, ...).
    """
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    total = len(values)
    drawn = counts.astype(np.float32)
    means = np.empty((len(counts), *values.shape[1:]))
    # With a = the rows up to here, cut to the middle half, the weighted sum of the rows is a sum over their steps.
    rises = np.diff(ordered, axis=0)
    for number, count in enumerate(drawn):
        inside = np.clip(count[order[:-1]].cumsum(0), total / 4, 3 * total / 4) - total / 4
        means[number] = ordered[-1] - (inside * rises).sum(0) / (total / 2)
    return means


def interval(samples: Array) -> Interval:
    """Returns the figure and its interval, from the samples that `counts` gave; the first one is the figure."""
    low, high = np.quantile(samples[1:], (0.025, 0.975), method="nearest")
    return float(samples[0]), float(low), float(high)


def mean_difference(first: Array, second: Array, counts: NDArray[np.intp]) -> Interval:
    """Averages the differences, repetition by repetition; not interquartile, for many of them are exactly 0."""
    return interval(counts @ (first - second) / counts.sum(1))


def summarise(table: Table, references: dict[str, Table], counts: NDArray[np.intp]) -> dict[str, object]:
    """Returns the figures of a method, alone and against each reference."""
    ends = interquartile_mean(np.stack([table.ranks[:, -1], table.regrets[:, -1]], axis=1), counts)
    spent = interquartile_mean(np.stack([table.epochs, table.makespan, table.finished], axis=1), counts)
    summary: dict[str, object] = {
        "epochs": interval(spent[:, 0]),
        "makespan": interval(spent[:, 1]),
        "finished": interval(spent[:, 2]),
        "rank": interval(ends[:, 0]),
        "regret": interval(ends[:, 1]),
    }
    for name, other in references.items():
        against: dict[str, object] = {"epochs, mean difference": mean_difference(table.epochs, other.epochs, counts)}
        for measure, mine, theirs in (("rank", table.ranks, other.ranks), ("regret", table.regrets, other.regrets)):
            against[f"{measure}, mean difference"] = mean_difference(mine[:, -1], theirs[:, -1], counts)
            then = theirs[np.arange(len(theirs)), table.epochs.astype(np.intp)]
            against[f"{measure}, mean difference after as many epochs"] = mean_difference(mine[:, -1], then, counts)
        summary[f"against {name}"] = against
    return summary
