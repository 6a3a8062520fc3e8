"""The rank correlation between rungs, its interval, and what is said of a rung."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import rung_correlation
from analysis.statistics.rung_correlation import RungCorrelation


def named(scores: "list[float] | np.ndarray[tuple[int], np.dtype[np.float64]]") -> dict[str, float]:
    """Scores of trials with names."""
    return {f"T{number}": float(score) for number, score in enumerate(scores)}


def between(first: list[float], last: list[float]) -> RungCorrelation:
    """The correlation between two rungs."""
    return rung_correlation({1.0: named(first), 3.0: named(last)})[0]


@given(st.permutations(range(7)), st.permutations(range(7)))
def test_only_the_order_counts(a: list[int], b: list[int]) -> None:
    found = between(list(map(float, a)), list(map(float, b)))
    assert found == between([math.exp(value) for value in a], [value**3 - 5.0 for value in b])
    rho = 1 - 6 * sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / (7 * 48)
    assert found.spearman == pytest.approx(rho)
    assert found.low is not None and found.high is not None
    assert -1 <= found.low <= rho + 1e-12 and rho - 1e-12 <= found.high <= 1
    other = between(list(map(float, a)), [-float(value) for value in b])
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))


def test_equal_scores_share_their_rank() -> None:
    found = between([1, 1, 2, 3], [1, 2, 3, 3])
    assert found.spearman == pytest.approx(np.corrcoef([1.5, 1.5, 3, 4], [1, 2, 3.5, 3.5])[0, 1])
    assert between([1, 1, 1, 1], [1, 2, 3, 4]).spearman is None


@pytest.mark.parametrize("trials", [5, 8, 15, 30])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_interval_covers_the_truth_as_often_as_it_says(trials: int, rho: float) -> None:
    random = np.random.default_rng(trials)
    truth = 6 / math.pi * math.asin(rho / 2)
    hits = 0
    for _ in range(400):
        early = random.normal(size=trials)
        found = between(list(early), list(rho * early + math.sqrt(1 - rho**2) * random.normal(size=trials)))
        assert found.low is not None and found.high is not None
        hits += found.low <= truth <= found.high
    assert hits / 400 > 0.92


def test_the_deepest_rung_is_the_last_that_four_trials_reached() -> None:
    scores = {0.5: named([3, 1, 2, 5, 4, 6]), 1.5: named([3, 1, 2, 5]), 4.5: named([1, 2])}
    (found,) = rung_correlation(scores)
    assert (found.rung, found.deepest, found.trials, found.spearman) == (0.5, 1.5, 4, 1.0)
    assert found.high == 1.0 and found.low is not None and 1 - found.low > 0


def test_too_few_trials_say_so() -> None:
    found = rung_correlation({0.5: named([3, 1, 2]), 1.5: named([3, 1])})
    assert found == [RungCorrelation(0.5, 1.5, 2, None, None, None)]
    assert found[0].conclusion == "too few"
    assert rung_correlation({}) == rung_correlation({1.0: named([1, 2, 3, 4])}) == []


def test_a_rung_reached_by_others_than_the_deepest_has_too_few() -> None:
    deep = {f"T{number}": float(number) for number in range(5)}
    shallow, middle = {"T0": 1.0, "T9": 2.0}, dict(deep)
    found = rung_correlation({1.0: shallow, 2.0: middle, 3.0: deep})
    assert [(each.trials, each.conclusion) for each in found] == [(1, "too few"), (5, "agrees")]


def test_lost_trials_have_not_reached_a_rung() -> None:
    lost = rung_correlation({1.0: named([1, 2, 3, 4]), 3.0: named([1, 2, 3, math.inf]), 9.0: {"T0": math.nan}})
    assert (lost[0].deepest, lost[0].trials, lost[0].conclusion) == (3.0, 3, "too few")


def test_a_rung_is_too_short_where_it_cannot_be_useful() -> None:
    order = list(map(float, range(12)))
    assert between(order, order[::-1]).conclusion == "too short"
    assert between(order, order).conclusion == "agrees"
    assert between(order[:6], [1, 4, 2, 5, 0, 3]).conclusion == "unclear"


def test_selection_alone_seldom_makes_a_rung_too_short() -> None:
    random = np.random.default_rng(0)
    rho, alarms, spearman = 2 * math.sin(math.pi * 0.8 / 6), 0, []
    for _ in range(300):
        early = random.normal(size=30)
        late = rho * early + math.sqrt(1 - rho**2) * random.normal(size=30)
        kept = early.argsort()[:10]
        first = {f"T{number}": float(early[number]) for number in range(30)}
        found = rung_correlation({1.0: first, 3.0: {f"T{number}": float(late[number]) for number in kept}})[0]
        assert found.spearman is not None
        alarms += found.conclusion == "too short"
        spearman.append(found.spearman)
    assert np.mean(spearman) == pytest.approx(0.5, abs=0.05)
    assert alarms / 300 < 0.04
