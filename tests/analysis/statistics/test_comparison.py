"""How configurations compare: clips, seeds and the number that the best was picked from all count."""

import math

import numpy as np
import pytest
from scipy.stats import t, tukey_hsd

from analysis import Sample, rank_finalists, seed_noise
from analysis.statistics.comparison import LEVEL, Conclusion, compare, critical_value, level_after, level_at_look
from analysis.statistics.seed_noise import SeedNoise, Source

CLIPS = 60


def noise(within_sd: float, degrees: int) -> SeedNoise:
    return SeedNoise(Source.REPLICATES, within_sd, degrees, 3)


def clips(mean: float, seed: int, spread: float = 0.02) -> dict[str, float]:
    """Losses of clips with exactly this mean."""
    own = np.random.default_rng(seed).normal(0, spread, CLIPS)
    return {f"clip-{number}": float(loss) for number, loss in enumerate(mean + own - own.mean())}


def test_both_parts_add_up() -> None:
    one, other = Sample([0.41, 0.43], clips(0.42, 1)), Sample([0.40], clips(0.40, 2))
    found = compare(one, other, noise(0.003, 4))
    assert found is not None and found.clip_error is not None and found.seed_error is not None
    differences = np.subtract([*clips(0.42, 1).values()], [*clips(0.40, 2).values()])
    assert found.difference == pytest.approx(0.02)
    assert found.clip_error == pytest.approx(differences.std(ddof=1) / CLIPS**0.5)
    assert found.seed_error == pytest.approx(0.003 * 1.5**0.5)
    assert found.standard_error == pytest.approx(math.hypot(found.clip_error, found.seed_error))
    margins = found.clip_error * t.ppf(0.975, 40), found.seed_error * t.ppf(0.975, 4)  # 40: of 59 degrees, rounded
    assert found.high - found.difference == pytest.approx(math.hypot(*margins))
    back = compare(other, one, noise(0.003, 4))
    assert back is not None and (back.low, back.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize(
    ("difference", "known", "seen", "conclusion"),
    [
        (0.1, True, True, Conclusion.WORSE),
        (-0.1, True, True, Conclusion.BETTER),
        (0.001, True, True, Conclusion.TIED),
        (0.1, False, True, Conclusion.BEHIND),
        (-0.1, False, True, Conclusion.AHEAD),
        (0.1, True, False, Conclusion.BEHIND),
        (0.001, False, True, Conclusion.TIED),
    ],
)
def test_better_needs_clips_and_seeds(difference: float, known: bool, seen: bool, conclusion: Conclusion) -> None:
    means = 0.4 + difference, 0.4
    one, other = (Sample([mean], clips(mean, seed) if seen else None) for seed, mean in enumerate(means))
    found = compare(one, other, noise(0.003, 6) if known else None)
    assert found is not None and found.conclusion is conclusion
    assert found.distinguishable == (conclusion is not Conclusion.TIED)


def test_nothing_is_said_of_nothing() -> None:
    assert compare(Sample([0.4]), Sample([0.5]), None) is None


@pytest.mark.parametrize(
    "broken", [{"clip-0": 0.4}, {}, {**clips(0.4, 1), "another": 0.4}, {**clips(0.4, 1), "clip-0": math.nan}]
)
def test_clips_that_cannot_be_paired_are_refused(broken: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="clips"):
        compare(Sample([0.4], broken), Sample([0.5], clips(0.5, 1) if len(broken) != 1 else broken), noise(0.01, 3))


def test_equal_ones_have_an_interval_without_width() -> None:
    same = Sample([0.4], clips(0.4, 1))
    found = compare(same, same, noise(0.0, 3))
    assert found is not None and (found.difference, found.low, found.high) == (0, 0, 0)
    assert found.conclusion is Conclusion.TIED


def test_the_critical_value_is_tukeys() -> None:
    random = np.random.default_rng(0)
    groups = [random.normal(0, 1, 5) for _ in range(4)]
    expected = tukey_hsd(*groups).confidence_interval(0.95)
    pooled = math.sqrt(np.mean([group.var(ddof=1) for group in groups]))
    margin = critical_value(4, 16, 0.05) * pooled * math.sqrt(2 / 5)
    assert expected.high[0, 1] - (groups[0].mean() - groups[1].mean()) == pytest.approx(margin, rel=1e-3)
    assert critical_value(2, 7, 0.05) == pytest.approx(t.ppf(0.975, 7))
    assert critical_value(2, math.inf, 0.05) == pytest.approx(1.95996, rel=1e-4)
    assert critical_value(3, 7.9, 0.05) == critical_value(3, 7, 0.05)


def test_more_rivals_and_fewer_degrees_need_more() -> None:
    values = [critical_value(count, 6, 0.05) for count in (2, 3, 8, 24)]
    assert values == sorted(values) and values[0] < values[-1]
    values = [critical_value(4, degrees, 0.05) for degrees in (1, 3, 10, 200)]
    assert values == sorted(values, reverse=True)


def test_looks_spend_the_level_once() -> None:
    assert level_after(0) == LEVEL
    for count in range(1, 9):
        spent = sum(level_at_look(look) for look in range(1, count + 1))
        assert level_after(count) + spent == pytest.approx(LEVEL)
        assert spent <= LEVEL / 2


def test_the_best_of_many_equal_ones_is_seldom_called_better() -> None:
    random = np.random.default_rng(0)
    wrong = alone = 0
    for _ in range(300):
        scores = {f"T{number}": list(random.normal(0.4, 0.01, 2)) for number in range(6)}
        found = seed_noise(scores)
        ordered = sorted(scores.values(), key=np.mean)
        hard = {f"clip-{number}": float(loss) for number, loss in enumerate(random.gamma(9, 1 / 9, 30))}
        samples = [Sample(each, hard) for each in ordered]
        for count in (6, 2):
            told = [compare(each, samples[0], found, configurations=count) for each in samples[1:]]
            called = any(each is not None and each.conclusion is Conclusion.WORSE for each in told)
            wrong, alone = wrong + (called and count == 6), alone + (called and count == 2)
    assert wrong <= 0.05 * 300 < 3 * 0.05 * 300 < alone


def test_intervals_over_seeds_cover_the_difference_of_two_finalists() -> None:
    random = np.random.default_rng(0)
    means = covered = 0
    for _ in range(300):
        scores = {name: list(random.normal(centre, 0.02, 2)) for name, centre in (("a", 0.4), ("b", 0.41), ("c", 0.9))}
        ranked = {finalist.id: finalist for finalist in rank_finalists(scores, configurations=2)}
        best = ranked["a"]
        assert best.low is not None and best.high is not None
        means += best.low <= 0.4 <= best.high
        behind = ranked["c"].behind
        assert behind is not None
        centre = 0.9 - (0.4 if best.behind is None else 0.41)
        covered += behind.low <= centre <= behind.high
    assert 0.92 < means / 300 < 0.98
    assert 0.92 < covered / 300 < 0.99


def test_a_lucky_seed_does_not_win_against_a_better_mean() -> None:
    ranked = rank_finalists({"lucky": [0.40, 0.46], "steady": [0.42, 0.42], "lost": [0.3, math.nan]})
    assert [finalist.id for finalist in ranked] == ["steady", "lucky", "lost"]
    assert [finalist.seeds for finalist in ranked] == [2, 2, 2]
    assert ranked[0].behind is None
    assert ranked[1].behind is not None and not ranked[1].behind.distinguishable
    assert (ranked[2].mean, ranked[2].standard_error, ranked[2].behind) == (None, None, None)


def test_without_replicates_the_clips_alone_tell() -> None:
    scores = {"near": [0.401], "best": [0.4], "far": [0.5]}
    best, near, far = rank_finalists(scores, {name: clips(score, 3) for name, (score,) in scores.items()})
    assert (best.id, best.mean, best.standard_error) == ("best", 0.4, None)
    assert near.behind is not None and near.behind.seed_error is None
    assert far.behind is not None and far.behind.conclusion is Conclusion.BEHIND
    assert [finalist.behind for finalist in rank_finalists(scores)] == [None, None, None]


def test_what_stands_last_does_so_whatever_its_score() -> None:
    ranked = rank_finalists({"unfit": [0.3, 0.3], "fit": [0.4, 0.41]}, last=["unfit"])
    assert [finalist.id for finalist in ranked] == ["fit", "unfit"]
    assert ranked[1].behind is not None and ranked[1].behind.difference == pytest.approx(-0.105)
