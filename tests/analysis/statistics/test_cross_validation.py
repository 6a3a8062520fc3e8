"""Intervals over folds hold what they say, and end where values end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics.cross_validation import mean_over_folds

FOLDS, REPEATS = 5, 3


def test_the_interval_is_that_of_nadeau_and_bengio() -> None:
    """By hand: sd 0.1, (1/3 + 1/2) of its square, and Student's 4.303 of two degrees of freedom."""
    found = mean_over_folds(np.array([0.4, 0.5, 0.6]), 0.5)
    assert found.mean == pytest.approx(0.5)
    assert found.standard_error == pytest.approx(0.1 * (1 / 3 + 1 / 2) ** 0.5)
    assert (found.low, found.high) == pytest.approx((0.5 - 4.3027 * 0.09129, 0.5 + 4.3027 * 0.09129), abs=1e-4)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.floats(0, 1))
def test_accuracies_stay_within_their_range(values: list[float], test_to_train: float) -> None:
    found = mean_over_folds(np.array(values), test_to_train)
    assert 0 <= found.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= found.high <= 1


def test_more_repeats_of_the_same_folds_do_not_shrink_the_interval_to_nothing() -> None:
    values = np.array([0.3, 0.4, 0.5, 0.6, 0.7])
    widths = [(found := mean_over_folds(np.tile(values, repeats), 0.25)).high - found.low for repeats in (1, 3, 1000)]
    assert widths[0] > widths[1] > widths[2] > 2 * 1.96 * values.std() * 0.25**0.5 - 1e-6


def test_a_single_fold_tells_nothing_and_no_fold_is_refused() -> None:
    found = mean_over_folds(np.array([0.5]), 0.25, least=-1)
    assert (found.mean, found.low, found.high) == (0.5, -1, 1)
    with pytest.raises(ValueError, match="no fold"):
        mean_over_folds(np.array([]), 0.25)


@pytest.mark.parametrize("clips", [60, 240])
def test_the_interval_holds_the_true_accuracy_of_answers_that_depend_on_the_clip_alone(clips: int) -> None:
    """Clips are right with a probability of 0.3, in every repeat alike: 95% of 400 intervals, or more, hold it."""
    random, held = np.random.default_rng(0), 0
    for _ in range(400):
        right = random.random(clips) < 0.3
        values = [right[fold].mean() for _ in range(REPEATS) for fold in np.split(random.permutation(clips), FOLDS)]
        found = mean_over_folds(np.array(values), 1 / (FOLDS - 1))
        held += found.low <= 0.3 <= found.high
    assert held >= 380
