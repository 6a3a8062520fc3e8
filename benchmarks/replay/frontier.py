"""Epochs at equal regret, where each method searches as many trials as it takes.

Two methods on the same configurations never end at exactly the same regret, and a cheap one can look at more of them.
So each method is replayed with searches of several sizes, which gives regret against epochs; between two sizes both are
interpolated. Searches of one repetition share their configurations: a smaller one has the first of a larger one.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.replay.curves import Array
from benchmarks.replay.figures import Interval, Table, interquartile_mean, interval
from benchmarks.replay.report import table, with_interval

SIZES = (8, 12, 16, 24, 32, 48)  # trials of a search
TARGETS = (12, 16, 24, 32)  # those of the reference's searches whose regret the others are to come to


def epochs_to(target: Array, regrets: Array, epochs: Array) -> Array:
    """Returns the epochs of a search as large as it must be to end at the target.

    Args:
        target: (resamples,) regret.
        regrets: (resamples, sizes) where searches of each size end, ascending in size.
        epochs: (resamples, sizes) what they spend.

    Returns:
        (resamples,); those of the smallest size where that is enough, and infinite where the largest is not.
    """
    best = np.minimum.accumulate(regrets, axis=1)
    reached = best <= target[:, None]
    after = np.where(reached.any(1), reached.argmax(1), -1)
    rows, before = np.arange(len(target)), np.maximum(after - 1, 0)
    drop = best[rows, before] - best[rows, after]
    share = np.divide(best[rows, before] - target, drop, out=np.ones(len(target)), where=drop > 0)
    needed: Array = epochs[rows, before] + np.clip(share, 0, 1) * (epochs[rows, after] - epochs[rows, before])
    return np.where(after >= 0, needed, math.inf)


def summarise(
    methods: Mapping[str, Mapping[int, Table]],
    counts: NDArray[np.intp],
    reference: str,
    *,
    sizes: Sequence[int] = SIZES,
    targets: Sequence[int] = TARGETS,
) -> dict[str, dict[str, Interval]]:
    """Returns what share of the epochs of the reference's search each method spends to end where that one ended.

    Args:
        methods: by name and size, the repetitions.
        counts: see `figures.interquartile_mean`.
        reference: the method that sets the targets.
        sizes: of the searches, ascending.
        targets: the sizes of the reference's searches that set them.

    Returns:
        By method; of each its epochs and regret by size, and the shares by the size of the reference's search.
    """
    ends = {
        name: [
            interquartile_mean(np.stack([tables[size].epochs, tables[size].regrets[:, -1]], axis=1), counts)
            for size in sizes
        ]
        for name, tables in methods.items()
    }
    rows: dict[str, dict[str, Interval]] = {}
    for name, found in ends.items():
        epochs, regrets = (np.stack([end[:, column] for end in found], axis=1) for column in (0, 1))
        rows[name] = {}
        for number, size in enumerate(sizes):
            rows[name][f"epochs of {size} trials"] = interval(epochs[:, number])
            rows[name][f"regret of {size} trials"] = interval(regrets[:, number])
        for size in targets:
            spent, regret = ends[reference][sizes.index(size)].T
            rows[name][f"share to the regret of {size}"] = interval(epochs_to(regret, regrets, epochs) / spent)
    return rows


def markdown(rows: Mapping[str, Mapping[str, Interval]], reference: str) -> str:
    """Returns two tables of the methods: where searches of each size end, and the shares of the reference's epochs."""
    ends = [
        (
            name,
            *(f"{row[f'epochs of {size} trials'][0]:.0f} / {row[f'regret of {size} trials'][0]:.3f}" for size in SIZES),
        )
        for name, row in rows.items()
    ]
    shares = [
        (name, *(with_interval(row[f"share to the regret of {size}"], ".0%") for size in TARGETS))
        for name, row in rows.items()
    ]
    first, *others = TARGETS
    targets = (f"as {reference} of {first} trials", *(f"of {size}" for size in others))
    return "\n\n".join(
        [table(("method", *(f"{size} trials" for size in SIZES)), ends), table(("method", *targets), shares)]
    )
