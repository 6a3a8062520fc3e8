"""How configurations compare: clips and seeds both count, and so does the number that the best was picked from.

The difference of two configurations at one resource has the variance

    clip part + seed part = s^2 / C + seed^2 (1 / m + 1 / n)

Here s is the standard deviation, over the C held-out clips, of the difference on a clip, between means over the seeds.
`seed` is the standard deviation between seeds (`analysis.statistics.seed_noise`); m and n count the seeds of the two.
What seeds do to single clips stands in both parts, so the sum is a little too large.

The winner is the best of k, so its luck is that of the luckiest. Each difference is therefore held against the range of
k equal ones: Tukey's studentized range, with an error for each pair as by Kramer (1956). All intervals hold at once,
whichever configuration won. Comparison with the best (Hsu, 1981) would be narrower, but says "not the best" even of one
that is as good. The two parts have few and many degrees of freedom. Each has its own critical value, and the margin is
the root of the sum of squares (Banerjee, 1960). The approximation of Welch and Satterthwaite is too narrow where the
seeds' part has 2 or 3 degrees and happens to be small.

Each look at the trials after which more seeds may follow spends a part of the level (`level_at_look`, `level_after`).

Scores are lower is better; infinite or NaN: lost.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from scipy.special import stdtrit

from analysis.statistics.seed_noise import SeedNoise, seed_noise

LEVEL = 0.05  # chance that a search calls one configuration better which is not
DEGREES = (*range(1, 21), 24, 30, 40, 60, 120, math.inf)  # for which the studentized range is inverted


class Conclusion(StrEnum):
    """What may be said of a configuration beside the winner."""

    WORSE = "worse"
    BETTER = "better"  # where the winner was chosen by another score
    TIED = "tied"
    BEHIND = "behind on these clips"  # clips or seeds could not be counted
    AHEAD = "ahead on these clips"
    EARLIER = "compared at an earlier rung"  # where trials are not yet what they become

    @property
    def as_good(self) -> bool:
        """Whether nothing that could be counted sets the winner above the configuration."""
        return self in (Conclusion.TIED, Conclusion.BETTER, Conclusion.AHEAD)


@dataclass(frozen=True)
class Sample:
    """What is known of a configuration at one resource.

    Attributes:
        scores: of its seeds, finite.
        clips: the mean over its seeds of the loss on each clip, by clip; None: not known.
    """

    scores: Sequence[float]
    clips: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Comparison:
    """A configuration less the winner.

    Attributes:
        difference: of the means over their seeds, in units of the score.
        standard_error: of the difference.
        clip_error: its part from the choice of clips; None: not counted.
        seed_error: its part from the seeds; None: not counted.
        low: the lower end of the interval, which holds together with those of all others.
        high: its upper end.
        conclusion: what follows.
    """

    difference: float
    standard_error: float
    clip_error: float | None
    seed_error: float | None
    low: float
    high: float
    conclusion: Conclusion

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def level_at_look(look: int) -> float:
    """Returns the level of a test after which more seeds may be trained: LEVEL / 4, / 8, / 16...

    Such tests spend at most half of LEVEL together (Bonferroni; spending: Lan and DeMets, 1983).

    Args:
        look: which one it is, from 1.
    """
    return float(LEVEL / 2 ** (look + 1))


def level_after(looks: int) -> float:
    """Returns what is left of LEVEL for the last test, after so many looks: all of it after none."""
    return LEVEL - sum(level_at_look(look) for look in range(1, looks + 1))


def compare(
    sample: Sample, winner: Sample, noise: SeedNoise | None, *, configurations: int = 2, level: float = LEVEL
) -> Comparison | None:
    """Compares a configuration with the winner; see the module.

    Args:
        sample: of the configuration.
        winner: of the winner, at the same resource.
        noise: of the seeds there; None: not known, and not counted.
        configurations: how many the winner was picked from, itself included, at least 2.
        level: chance that any of their intervals misses the truth.

    Returns:
        None where neither clips nor seeds can be counted.

    Raises:
        ValueError: the two do not have the same clips, have fewer than two, or a loss that is not finite.
    """
    parts: list[tuple[float, float]] = []  # standard error, degrees of freedom
    clip_error = seed_error = None
    if sample.clips is not None and winner.clips is not None:
        clip_error, degrees = _clip_part(sample.clips, winner.clips)
        parts.append((clip_error, degrees))
    if noise is not None:
        seed_error = noise.within_sd * math.sqrt(1 / len(sample.scores) + 1 / len(winner.scores))
        parts.append((seed_error, noise.degrees))
    if not parts:
        return None
    difference = float(np.mean(sample.scores) - np.mean(winner.scores))
    error = math.hypot(*(each for each, _ in parts))
    margin = math.hypot(*(each * critical_value(configurations, degrees, level) for each, degrees in parts))
    low, high = difference - margin, difference + margin
    counted = clip_error is not None and seed_error is not None
    return Comparison(difference, error, clip_error, seed_error, low, high, _conclusion(low, high, counted))


def _conclusion(low: float, high: float, counted: bool) -> Conclusion:
    if low > 0:
        return Conclusion.WORSE if counted else Conclusion.BEHIND
    if high < 0:
        return Conclusion.BETTER if counted else Conclusion.AHEAD
    return Conclusion.TIED


def _clip_part(clips: Mapping[str, float], others: Mapping[str, float]) -> tuple[float, float]:
    """Returns the standard error of the mean difference over the clips, and its degrees of freedom."""
    if clips.keys() != others.keys():
        raise ValueError(f"the clips are not the same: {len(clips)} and {len(others)}")
    differences = np.array([clips[clip] - others[clip] for clip in clips])
    if len(differences) < 2 or not np.isfinite(differences).all():
        raise ValueError(f"{len(differences)} clips, and must be at least 2 with finite losses")
    return float(differences.std(ddof=1) / math.sqrt(len(differences))), len(differences) - 1


def critical_value(configurations: int, degrees: float, level: float) -> float:
    """Returns how many standard errors the largest of all differences of equal configurations exceeds so rarely.

    Args:
        configurations: at least 2; of two it is Student's quantile.
        degrees: of freedom, at least 1; rounded down to one of `DEGREES`.
        level: the chance.
    """
    return _critical_value(configurations, max(each for each in DEGREES if each <= max(1.0, degrees)), level)


@lru_cache(maxsize=1024)
def _critical_value(configurations: int, degrees: float, level: float) -> float:
    if configurations == 2:
        return float(stdtrit(degrees, 1 - level / 2))
    from scipy.stats import studentized_range  # takes a second

    return float(studentized_range.ppf(1 - level, configurations, degrees) / math.sqrt(2))


@dataclass(frozen=True)
class Finalist:
    """A configuration at the end of a search.

    Attributes:
        id: of the configuration: that of its first trial.
        seeds: how many it was trained with.
        mean: of its scores; None where one is lost: it then ranks last.
        standard_error: of the mean over the seeds; None where nothing tells.
        low: the lower end of the 95% interval of the mean, for this one alone; None as before.
        high: its upper end.
        behind: this configuration less the best; None of the best, and where nothing tells.
    """

    id: str
    seeds: int
    mean: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    behind: Comparison | None


def rank_finalists(
    scores: Mapping[str, Sequence[float]],
    clips: Mapping[str, Mapping[str, float]] | None = None,
    *,
    last: Collection[str] = (),
    configurations: int | None = None,
    level: float = LEVEL,
) -> list[Finalist]:
    """Ranks configurations by the mean over their seeds, best first; of equal ones the first given is first.

    The errors of the means are those of the seeds, `seed_noise`, pooled over the finalists, with Student's quantile of
    the pooled degrees of freedom. Two seeds alone would give an interval 4 times as wide as four configurations of two
    seeds do together.

    Args:
        scores: the scores of the seeds of each configuration, all at the same resource.
        clips: see `Sample`, by configuration, where the scores are means of them; `behind` counts them too.
        last: those that rank below the others, whatever their scores.
        configurations: how many they were picked from; None: they are all.
        level: see `compare`.
    """
    noise = seed_noise(scores)
    means = {name: float(np.mean(values)) if np.isfinite(values).all() else math.inf for name, values in scores.items()}
    order = sorted((name for name in scores if len(scores[name])), key=lambda name: (name in last, means[name]))
    samples = {name: Sample(scores[name], (clips or {}).get(name)) for name in order if math.isfinite(means[name])}
    family = max(2, len(samples) if configurations is None else configurations)
    ranked = []
    for name in order:
        if name not in samples:
            ranked.append(Finalist(name, len(scores[name]), None, None, None, None, None))
            continue
        error = low = high = behind = None
        if noise is not None:
            error = noise.within_sd / math.sqrt(len(scores[name]))
            margin = critical_value(2, noise.degrees, LEVEL) * error
            low, high = means[name] - margin, means[name] + margin
        if name != order[0] and order[0] in samples:
            behind = compare(samples[name], samples[order[0]], noise, configurations=family, level=level)
        ranked.append(Finalist(name, len(scores[name]), means[name], error, low, high, behind))
    return ranked
