"""How much a search has still to train."""

import pytest

from analysis.run_directory.forecast import FEWEST, Left, resource_left
from analysis.run_directory.trials import Trial, TrialState

FULL = 3.0


def trial(number: int, reached: float, state: TrialState, milestone: float = 0.0) -> Trial:
    """A trial that has come so far."""
    scores = {reached: 0.5} if reached else {}
    return Trial(f"T{number}", {}, {}, 0, state=state, milestone=milestone, scores=scores)


def pruned(*reached: float) -> list[Trial]:
    return [trial(number, point, TrialState.PRUNED) for number, point in enumerate(reached)]


def test_new_trials_cost_what_those_cost_that_came_to_rest() -> None:
    left = resource_left(pruned(0.5, 0.5, 0.5, 0.5), FULL, asked=10)
    assert left == Left(expected=3.0, low=3.0, high=3.0)


def test_a_spread_widens_it_within_what_is_possible() -> None:
    left = resource_left(pruned(0.5, 0.5, 3.0, 1.0), FULL, asked=8)
    assert left is not None and left.expected == pytest.approx(5.0)
    assert 0 <= left.low < left.expected < left.high <= 4 * FULL


def test_running_trials_have_what_is_left_of_their_jobs() -> None:
    running = trial(9, 1.0, TrialState.RUNNING, milestone=3.0)
    assert resource_left([*pruned(0.5, 0.5, 0.5), running], FULL, asked=4) == Left(2.0, 2.0, 2.0)


def test_paused_trials_may_go_on() -> None:
    paused = [trial(number, 0.5, TrialState.PAUSED) for number in range(6)]
    left = resource_left(paused, FULL, asked=6)
    assert left == Left(expected=2.5, low=0.0, high=5.0)  # between none and the best two of them


def test_nothing_is_said_of_what_nothing_tells() -> None:
    assert resource_left(pruned(*[0.5] * (FEWEST - 1)), FULL, asked=9) is None
    assert resource_left(pruned(0.5, 0.5, 0.5), FULL, asked=None) is None
    assert resource_left([], FULL, asked=0) == Left(0.0, 0.0, 0.0)


def test_a_pace_and_a_limit() -> None:
    assert Left(6.0, 3.0, 9.0).over(1.5) == Left(4.0, 2.0, 6.0)
    assert Left(6.0, 3.0, 9.0).at_most(5.0) == Left(5.0, 3.0, 5.0)
