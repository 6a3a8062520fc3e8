"""Intervals over the clips cover the truth as often as they say."""

import math
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import paired_bootstrap
from tests.analysis import fake_run
from tests.analysis.fake_run import losses

FINITE = st.floats(-1e3, 1e3)


def by_clip(values: "list[float] | np.ndarray[tuple[int], np.dtype[np.float64]]") -> dict[str, float]:
    """Losses of clips with names."""
    return {f"clip-{number:04d}": float(value) for number, value in enumerate(values)}


@settings(deadline=None)
@given(st.lists(FINITE, min_size=2, max_size=50), st.randoms())
def test_neither_the_order_of_the_clips_nor_that_of_the_trials_matters(values: list[float], random: object) -> None:
    a, b = by_clip(values), by_clip([math.sin(value) for value in values])
    names = sorted(b, key=hash)
    found = paired_bootstrap(a, {name: b[name] for name in names}, resamples=500)
    assert found == paired_bootstrap(a, b, resamples=500)
    back = paired_bootstrap(b, a, resamples=500)
    scale = max(map(abs, values)) + 1
    assert (found.mean, found.low, found.high) == pytest.approx((-back.mean, -back.high, -back.low), abs=1e-9 * scale)
    assert found.low <= found.mean + 1e-9 * scale and found.mean <= found.high + 1e-9 * scale


@pytest.mark.parametrize(("clips", "least"), [(8, 0.90), (32, 0.92), (200, 0.92)])
def test_the_interval_covers_the_truth_as_often_as_it_says(clips: int, least: float) -> None:
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        hard = random.gamma(2.0, 1.0, clips)
        a, b = (hard + random.normal(shift, 0.1, clips) for shift in (0.3, 0.1))
        found = paired_bootstrap(by_clip(a), by_clip(b), resamples=1000)
        hits += found.low <= 0.2 <= found.high
    assert least < hits / 400 < 0.985


def test_skewed_differences_are_missed_equally_often_on_both_sides() -> None:
    random, truth = np.random.default_rng(1), math.exp(0.5)
    above = below = symmetric = 0
    for _ in range(400):
        a = random.lognormal(0, 1, 64)
        found = paired_bootstrap(by_clip(a), dict.fromkeys(by_clip(a), 0.0), resamples=1000)
        above, below = above + (found.low > truth), below + (found.high < truth)
        symmetric += found.mean + 2 * found.standard_error < truth
    assert above + below < 0.12 * 400
    assert below < symmetric


def test_pairing_finds_what_separate_bars_cannot() -> None:
    best, other = losses("T2", 3.0), losses("T0", 3.0)
    unpaired_error = (best.var() / len(best) + other.var() / len(other)) ** 0.5
    assert abs(other.mean() - best.mean()) < 1.96 * unpaired_error
    found = paired_bootstrap(fake_run.by_clip("T0", 3.0), fake_run.by_clip("T2", 3.0))
    assert found.distinguishable and found.low > 0
    assert found.standard_error == pytest.approx((other - best).std() / len(best) ** 0.5, rel=1e-5)


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_equal_differences_have_an_interval_without_width(shift: float) -> None:
    a = by_clip([0.5, 1.0, 2.0])
    found = paired_bootstrap({name: loss + shift for name, loss in a.items()}, a)
    assert (found.mean, found.low, found.high, found.standard_error) == (shift, shift, shift, 0.0)
    assert found.distinguishable is (shift > 0)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ({"x": 1.0, "y": 2.0}, {"x": 1.0, "z": 2.0}, "must have the same"),
        ({"x": 1.0, "y": 2.0}, {"x": 1.0}, "losses_a has 2 clips, losses_b 1"),
        ({"x": 1.0}, {"x": 1.0}, "must have at least 2"),
        ({"x": 1.0, "y": math.nan}, {"x": 1.0, "y": 1.0}, "not finite"),
        ({"x": 1.0, "y": math.inf}, {"x": 1.0, "y": math.inf}, "not finite"),
    ],
)
def test_what_cannot_be_paired_is_refused(a: dict[str, float], b: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(a, b)


def test_many_clips_take_little_time_and_memory() -> None:
    random = np.random.default_rng(0)
    trials = [by_clip(random.normal(size=2048)) for _ in range(20)]
    tracemalloc.start()
    paired_bootstrap(trials[0], trials[1], seed=1)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
    started = time.process_time()
    for trial in trials[1:]:
        paired_bootstrap(trials[0], trial, seed=1)
    assert time.process_time() - started < 5
