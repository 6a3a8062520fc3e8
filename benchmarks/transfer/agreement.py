"""How well a signal agrees with the truth: Kendall's tau, decisions between pairs, and what picking by it gives up.

Values are such that higher is better. A search has one seed a trial. So each seed's signal is compared by itself with
the truth, which is averaged over the seeds; the figures are then averaged. Intervals are the middle 95% of bootstrap
resamples of the configurations. All signals are resampled alike, so that differences keep what the pairing is worth.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.replay.curves import Array
from benchmarks.replay.figures import Interval, interval

Counts = NDArray[np.intp]  # (1 + resamples, configurations): how often each counts; the first row counts each once


@dataclass(frozen=True)
class Samples:
    """Figures of a signal; the first is that of the configurations as they are, all others are of resamples.

    Attributes:
        tau: Kendall's tau-b with the truth; 0 where one of them is the same for all.
        accuracy: share of the pairs of unlike truth that are put in the right order; a tie counts half.
        regret: the truth of the best less that of the one which the signal likes best, in units of the truth; among
            several, the mean.
    """

    tau: Array
    accuracy: Array
    regret: Array

    def intervals(self) -> dict[str, Interval]:
        """Returns each figure with its interval."""
        return {name: interval(samples) for name, samples in vars(self).items()}


def agreement(signal: Array, truth: Array, counts: Counts) -> Samples:
    """Compares a signal with the truth.

    Args:
        signal: (seeds, configurations).
        truth: (configurations,).
        counts: (1 + resamples, configurations).
    """
    of_seeds = [_of_seed(values, truth, counts) for values in signal]
    return Samples(*(np.mean(figures, axis=0) for figures in zip(*of_seeds, strict=True)))


def _of_seed(signal: Array, truth: Array, counts: Counts) -> tuple[Array, Array, Array]:
    # `scipy.stats.kendalltau` on each resample gives the same, some hundred times slower.
    ordered, right = _signs(signal), _signs(truth)
    agreeing, told, unlike = (_pairs(matrix, counts) for matrix in (ordered * right, abs(ordered), abs(right)))
    with np.errstate(invalid="ignore"):
        tau = np.nan_to_num(agreeing / np.sqrt(told * unlike))
        accuracy = np.nan_to_num((1 + agreeing / unlike) / 2, nan=0.5)
    return tau, accuracy, _regret(signal, truth, counts)


def _signs(values: Array) -> Array:
    """Returns the signs of the differences, shape (configurations, configurations)."""
    return np.sign(values[:, None] - values)


def _pairs(matrix: Array, counts: Counts) -> Array:
    """Sums a matrix over the ordered pairs of each resample."""
    return np.asarray(((counts @ matrix) * counts).sum(1))


def _regret(signal: Array, truth: Array, counts: Counts) -> Array:
    there = counts > 0
    seen = np.where(there, signal, -np.inf)
    picked = counts * (seen == seen.max(1, keepdims=True))
    best = np.where(there, truth, -np.inf).max(1)
    return np.asarray(np.maximum(best - picked @ truth / picked.sum(1), 0.0))  # rounding may bring it below
