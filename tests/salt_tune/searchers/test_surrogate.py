"""Searchers that learn find better trials than draws do, from trials that paused too, and stay away from lost ones."""

import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest

from analysis.run_directory.trials import TrialState
from salt_tune.searchers.base import Searcher
from salt_tune.space.parameters import Int
from tests.salt_tune.made_trials import earlier
from tests.salt_tune.suggesting import LINE, MIXED, make


def valley(values: dict[str, Any]) -> float:
    far = (math.log10(values["lr"]) + 3) ** 2 + 20 * (values["mask_ratio"] - 0.7) ** 2
    return float(far + abs(values["depth"] - 6) / 6 + (values["dim"] != 128))


def best_of(name: str, seed: int) -> float:
    searcher = make(name, MIXED, seed=seed)
    scores = []
    for number in range(35):
        values = searcher.suggest(f"T{number}")
        assert values is not None
        scores.append(valley(values))
        searcher.on_trial_result(f"T{number}", 1.0, scores[-1])
    return min(scores)


def test_learning_finds_better_trials_than_drawing() -> None:
    learnt, drawn = ([best_of(name, seed) for seed in range(6)] for name in ("tpe", "random"))
    assert statistics.mean(learnt) < 0.7 * statistics.mean(drawn)


def line_search(name: str, tell: Callable[[Searcher], None], objectives: int = 1) -> list[float]:
    """Where a search on a line goes on after 12 trials at 0.0, 0.08... 0.92, of which it is told something."""
    found = []
    for seed in range(1 if name == "gp" else 8):
        searcher = make(name, LINE, seed=seed, objectives=objectives)
        for number in range(12):
            searcher.on_trial_add(f"T{number}", {"x": number / 12.5})
        tell(searcher)
        found.append((searcher.suggest("T12") or {})["x"])
    return found


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_scores_of_a_low_rung_never_stand_beside_those_of_a_high_one(name: str) -> None:
    def tell(level: float) -> Callable[[Searcher], None]:
        def told(searcher: Searcher) -> None:
            for number in range(12):
                searcher.on_trial_result(
                    f"T{number}", 1.0, level + (number - 11) ** 2 / 1000
                )  # best on the right, then paused
            for number in range(6):
                searcher.on_trial_result(f"T{number}", 3.0, 50 + number)  # best on the left

        return told

    low, high = line_search(name, tell(0.0)), line_search(name, tell(100.0))
    assert low == high
    assert statistics.median(low) < 0.5


@pytest.mark.parametrize("state", [*(state for state in TrialState if state.lost), TrialState.COMPLETE])
def test_lost_trials_are_worse_than_any(state: TrialState) -> None:
    def tell(searcher: Searcher) -> None:
        for number in range(6):
            searcher.on_trial_result(f"T{number}", 3.0, 0.1)
            searcher.on_trial_complete(f"T{number}", state, math.inf)
        for number in range(6, 12):
            searcher.on_trial_result(f"T{number}", 1.0, 10.0)

    assert statistics.median(line_search("tpe", tell)) > 0.5


def test_trials_that_paused_teach() -> None:
    def tell(searcher: Searcher) -> None:
        for number in range(12):
            searcher.on_trial_result(f"T{number}", 1.0, abs(number - 10))

    assert statistics.median(line_search("tpe", tell)) > 0.6


def test_two_objectives_are_both_low() -> None:
    def tell(searcher: Searcher) -> None:
        for number in range(12):
            searcher.on_trial_result(f"T{number}", 1.0, abs(number - 3), cost=float(number))  # none beats those up to 3
        searcher.on_trial_complete("T0", TrialState.COMPLETE, 3.0)

    assert statistics.median(line_search("tpe", tell, objectives=2)) < 0.45


def test_of_two_objectives_lost_and_silent_trials_count_as_bad() -> None:
    def tell(searcher: Searcher) -> None:
        for number in range(6, 12):
            searcher.on_trial_result(f"T{number}", 1.0, 1.0, cost=1.0)
        searcher.on_trial_result("T5", 0.5, 0.0, cost=0.0)  # not at the rung of the others yet
        for number in range(4):
            searcher.on_trial_complete(f"T{number}", TrialState.DIVERGED, math.inf)  # T4 has not reported

    assert statistics.median(line_search("tpe", tell, objectives=2)) > 0.5


def test_earlier_trials_teach() -> None:
    searcher = make("tpe", {"x": Int(type="int", low=0, high=63)})
    searcher.warm_start([earlier({"x": x}, {1.0: abs(x - 40.0)}) for x in range(0, 63, 2)])
    suggested = searcher.suggest("T0")
    assert suggested is not None and abs(suggested["x"] - 40) < 15
