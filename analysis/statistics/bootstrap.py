"""The bootstrap of differences clip by clip: how far the choice of held-out clips moves a mean."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtrit

Floats = npt.NDArray[np.float64]

RESAMPLES = 10_000
CHUNK = 2**16  # draws at once: half a MiB, which stays in the cache
UPPER = 0.975  # quantile of the upper end of a 95% interval


@dataclass(frozen=True)
class Difference:
    """A mean difference a - b, with its 95% interval.

    Attributes:
        mean: in units of the loss.
        standard_error: of the mean.
        low: the lower end of the interval.
        high: its upper end.
    """

    mean: float
    standard_error: float
    low: float
    high: float

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    losses_a: Mapping[str, float], losses_b: Mapping[str, float], *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Returns the mean over the clips of the difference a - b, and its 95% interval over the choice of clips.

    The interval is the bootstrap's, bias-corrected and accelerated (BCa: Efron, 1987), because the differences are
    skewed by a few hard clips. It is off by 1 / clips where percentiles are off by 1 / sqrt(clips), and of a mean it
    costs nothing more. Its quantiles are Student's times sqrt(n / (n - 1)) (Hesterberg, 2015), without which intervals
    of few clips are too narrow. It covers neither another seed nor the choice of the best of many trials.

    All differences over as many clips share their resamples, which are kept: resamples x clips bytes.

    Args:
        losses_a: the loss of one trial on each clip, by clip.
        losses_b: the same for the other trial.
        resamples: how many.
        seed: of the resamples.

    Raises:
        ValueError: the two do not have the same clips, have fewer than two, or a loss that is not finite.
    """
    if losses_a.keys() != losses_b.keys():
        raise ValueError(f"losses_a has {len(losses_a)} clips, losses_b {len(losses_b)}, and both must have the same")
    return _bootstrap([losses_a[clip] - losses_b[clip] for clip in sorted(losses_a)], resamples, seed)


def _bootstrap(values: Sequence[float], resamples: int, seed: int) -> Difference:
    """Returns the mean of `values` and its 95% interval; see `paired_bootstrap`."""
    sample, n = np.array(values, dtype=np.float64), len(values)
    if n < 2:
        raise ValueError(f"losses_a has {n} clips, and must have at least 2")
    if not np.isfinite(sample).all():
        raise ValueError("losses_a or losses_b has a loss that is not finite, and all must be")
    mean, deviation = float(sample.mean()), float(sample.std(ddof=1))
    if not deviation:
        return Difference(mean, 0.0, mean, mean)
    standard = (sample - mean) / deviation
    means = _resampled_means(standard, resamples, seed)
    bias = ndtri(np.clip((means < 0).mean() + (means == 0).mean() / 2, 1 / resamples, 1 - 1 / resamples))
    acceleration = (standard**3).sum() / (6 * (standard**2).sum() ** 1.5)
    quantile = math.sqrt(n / (n - 1)) * stdtrit(n - 1, UPPER)
    ends = bias + np.array([-quantile, quantile])
    low, high = mean + deviation * np.quantile(means, ndtr(bias + ends / (1 - acceleration * ends)))
    return Difference(mean, deviation / math.sqrt(n), float(low), float(high))


def _resampled_means(values: Floats, resamples: int, seed: int) -> Floats:
    """Returns the mean of each bootstrap sample of `values`."""
    counts = _counts(len(values), resamples, seed)
    rows = max(1, CHUNK // len(values))
    parts = [counts[start : start + rows] @ values for start in range(0, resamples, rows)]
    means: Floats = np.concatenate(parts) / len(values)
    return means


@lru_cache(maxsize=1)
def _counts(n: int, resamples: int, seed: int) -> npt.NDArray[np.uint8]:
    """Returns how often each bootstrap sample has each of `n` values, shape (resamples, n)."""
    random, rows = np.random.default_rng(seed), max(1, CHUNK // n)
    counts = np.empty((resamples, n), dtype=np.uint8)
    for start in range(0, resamples, rows):
        block = counts[start : start + rows]
        drawn = random.integers(0, n, block.shape, dtype=np.int32) + n * np.arange(len(block), dtype=np.int32)[:, None]
        block[:] = np.bincount(drawn.ravel(), minlength=block.size).reshape(block.shape)
    return counts
