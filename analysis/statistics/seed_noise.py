"""How far the luck of the seed moves a score: from replicates, or from configurations that are alike.

Scores are lower is better; infinite or NaN: lost.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FEWEST_PAIRS = 4  # of similar configurations; fewer tell too little of a variance
ENOUGH_PAIRS = 6  # of the closest ones are used before less similar ones are left out


class Source(StrEnum):
    """What the noise of the seeds was estimated from."""

    REPLICATES = "replicates"
    SIMILAR = "similar configurations"


@dataclass(frozen=True)
class SeedNoise:
    """How far seeds and configurations spread the score.

    Attributes:
        source: what it was estimated from.
        within_sd: standard deviation between seeds of one configuration.
        degrees: of freedom of `within_sd`.
        trials: configurations that it was estimated from.
        between_sd: standard deviation between configurations, without what the seeds add; None where it is not known.
    """

    source: Source
    within_sd: float
    degrees: int
    trials: int
    between_sd: float | None = None


def seed_noise(groups: Mapping[str, Sequence[float]]) -> SeedNoise | None:
    """Splits the variance of the score into that of the seeds and that of the configurations.

    One-way analysis of variance with random effects and groups of unequal size. Seeds are taken to spread every
    configuration alike. Where the replicated are the best of a search, this is the noise among the best: a first seed
    that was lucky makes it larger. The spread between configurations is that of the groups given.

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
    return SeedNoise(Source.REPLICATES, math.sqrt(within), replicates, len(finite), between)


def noise_of_similar(configurations: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> SeedNoise | None:
    """Estimates the noise of the seeds from configurations that are alike, where none has two seeds.

    Each configuration is paired with a near one, closest pairs first (Gower's distance, 1971, over the ranks of
    numbers). The variance is half the mean square of the differences within the closer half of the pairs, but within
    six at least. So Daniel and Wood (1971) estimate an error from near neighbours. What the hyperparameters do within a
    pair is counted as noise, and the estimate errs upwards. Pairs are chosen by hyperparameters alone; choosing by
    scores would make it too small.

    Args:
        configurations: the hyperparameters of each, by name; those that were not set are left out.
        scores: one of each, all at the same resource; those that are not finite are left out with their configuration.

    Returns:
        None with fewer than `FEWEST_PAIRS`.
    """
    known = np.isfinite(np.asarray(scores, dtype=np.float64))
    values = np.asarray(scores, dtype=np.float64)[known]
    pairs = _closest_pairs([each for each, there in zip(configurations, known, strict=True) if there])
    if len(pairs) < FEWEST_PAIRS:
        return None
    used = pairs[: max(ENOUGH_PAIRS, math.ceil(len(pairs) / 2))]
    squares = [(values[one] - values[other]) ** 2 / 2 for one, other in used]
    return SeedNoise(Source.SIMILAR, math.sqrt(float(np.mean(squares))), len(used), 2 * len(used))


def _closest_pairs(configurations: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Returns pairs without a common member, the closest first; of equally close ones those given first."""
    if len(configurations) < 2:
        return []
    distances = _distances(configurations)
    first, second = np.triu_indices(len(configurations), 1)
    order = np.argsort(distances[first, second], kind="stable")
    free, pairs = np.ones(len(configurations), bool), []
    for one, other in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if free[one] and free[other]:
            free[[one, other]] = False
            pairs.append((one, other))
    return pairs


def _distances(configurations: Sequence[Mapping[str, Any]]) -> Floats:
    """Returns Gower's distance between each two, shape (configurations, configurations), in [0, 1].

    A number counts by its rank, as some are searched on a logarithmic scale. A parameter that one of two sets alone
    makes them as different as can be, one that neither sets makes no difference.
    """
    count = len(configurations)
    names = dict.fromkeys(name for each in configurations for name in each)
    total = np.zeros((count, count))
    for name in names:
        there = np.array([name in each for each in configurations])
        values = [each[name] for each in configurations if name in each]
        apart = np.zeros((count, count))
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            different, ranks = np.unique(values, return_inverse=True)
            places = ranks / max(1, len(different) - 1)
            apart[np.ix_(there, there)] = np.abs(places[:, None] - places)
        else:
            apart[np.ix_(there, there)] = [[one != other for other in values] for one in values]
        total += np.where(there[:, None] & there, apart, there[:, None] != there)
    return total / max(1, len(names))


def _finite(scores: Sequence[float]) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    return values[np.isfinite(values)]
