"""How trials compare: differences clip by clip, the luck of the seed, finalists, trade-offs. Numbers alone.

Scores are lower is better; infinite or NaN: lost.
"""

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


@dataclass(frozen=True)
class SeedNoise:
    """How far seeds and configurations spread the score.

    Attributes:
        within_sd: standard deviation between seeds of one configuration, pooled over those that have several;
            of `replicates` degrees of freedom.
        between_sd: standard deviation between configurations, without what the seeds add; None of a single one.
        trials: configurations.
        replicates: trials beyond the first of each configuration.
    """

    within_sd: float
    between_sd: float | None
    trials: int
    replicates: int


def seed_noise(groups: Mapping[str, Sequence[float]]) -> SeedNoise | None:
    """Splits the variance of the score into that of the seeds and that of the configurations.

    One-way analysis of variance with random effects and groups of unequal size. Seeds are taken to spread every
    configuration alike. Where the replicated are the best of a search, this is the noise among the best. The spread
    between configurations is that of the groups given.

    Args:
        groups: the scores of the seeds of each configuration, all at the same resource; those that are not finite are
            left out.

    Returns:
        None where no configuration has two scores.
    """
    finite = [values for scores in groups.values() if len(values := _finite(scores))]
    sizes = np.array([len(values) for values in finite], dtype=np.float64)
    total, replicates = sizes.sum(), int(sizes.sum()) - len(sizes)
    if not replicates:
        return None
    within = sum(float(((values - values.mean()) ** 2).sum()) for values in finite) / replicates
    between = None
    if len(finite) > 1:
        means = np.array([values.mean() for values in finite])
        spread = (sizes * (means - sizes @ means / total) ** 2).sum() / (len(finite) - 1)
        typical_size = (total - (sizes**2).sum() / total) / (len(finite) - 1)
        between = math.sqrt(max(0.0, (float(spread) - within) / float(typical_size)))
    return SeedNoise(math.sqrt(within), between, len(finite), replicates)


@dataclass(frozen=True)
class Finalist:
    """A configuration at the end of a search.

    Attributes:
        id: of the configuration: that of its first trial.
        seeds: how many it was trained with.
        mean: of its scores; None where one is lost: it then ranks last.
        standard_error: of the mean; None where nothing tells.
        low: the lower end of the 95% interval of the mean; None as before.
        high: its upper end.
        behind: this mean less that of the best finalist; None of the best, and where nothing tells.
    """

    id: str
    seeds: int
    mean: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    behind: Difference | None


def rank_finalists(
    scores: Mapping[str, Sequence[float]], clip_losses: Mapping[str, Mapping[str, float]] | None = None
) -> list[Finalist]:
    """Ranks configurations by the mean over their seeds, best first; of equal ones the first given is first.

    Where any has two finite scores, the errors are those of the seeds. They are `seed_noise`, pooled over the
    finalists, with Student's quantile of the pooled degrees of freedom. Two seeds alone would give an interval 4 times
    as wide as four configurations of two seeds do together. Else the errors are those of the clips: the bootstrap of
    `clip_losses`, which says nothing of another seed.

    Args:
        scores: the scores of the seeds of each configuration, all at the same resource.
        clip_losses: the loss on each clip, by configuration and clip; what the scores are means of, or None.
    """
    of_clips = clip_losses or {}
    noise = seed_noise(scores)
    means = {name: float(np.mean(values)) if np.isfinite(values).all() else math.inf for name, values in scores.items()}
    order = sorted((name for name in scores if len(scores[name])), key=means.__getitem__)

    def estimate(name: str, rival: str | None) -> Difference | None:
        """Returns the mean of `name`, or its difference to that of `rival`, with the interval."""
        names = [name] if rival is None else [name, rival]
        if not all(math.isfinite(means[each]) for each in names):
            return None
        if noise is not None:
            error = noise.within_sd * math.sqrt(sum(1 / len(scores[each]) for each in names))
            margin = float(stdtrit(noise.replicates, UPPER)) * error
            mean = means[name] - (means[rival] if rival is not None else 0.0)
            return Difference(mean, error, mean - margin, mean + margin)
        if any(each not in of_clips for each in names):
            return None
        losses = of_clips[name]
        return paired_bootstrap(losses, of_clips[rival] if rival is not None else dict.fromkeys(losses, 0.0))

    ranked = []
    for name in order:
        own, behind = estimate(name, None), estimate(name, order[0]) if name != order[0] else None
        error, low, high = (own.standard_error, own.low, own.high) if own else (None, None, None)
        mean = means[name] if math.isfinite(means[name]) else None
        ranked.append(Finalist(name, len(scores[name]), mean, error, low, high, behind))
    return ranked


def pareto_front(points: Sequence[Sequence[float]]) -> list[int]:
    """Returns the indices of the points that no other is better than: as low in every coordinate, and lower in one.

    Equal points stay together. A point with a coordinate that is not finite is never on the front.
    """
    if not len(points):
        return []
    values = np.array(points, dtype=np.float64)
    candidates = np.flatnonzero(np.isfinite(values).all(axis=1))
    front = []
    for index in candidates:
        others = values[candidates]
        beaten = (others <= values[index]).all(axis=1) & (others < values[index]).any(axis=1)
        if not beaten.any():
            front.append(int(index))
    return front


def _finite(scores: Sequence[float]) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    return values[np.isfinite(values)]


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
