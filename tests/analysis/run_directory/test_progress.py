"""How long a search will take from now, with the limits of its process."""

from typing import Any

import pytest

from analysis.run_directory.progress import budget, time_left
from analysis.run_directory.trials import Trial, TrialState

TRIALS = [Trial(f"T{number}", {}, {}, 0, state=TrialState.PRUNED, scores={0.5: 0.5}) for number in range(4)]


def described(**limits: Any) -> dict[str, Any]:
    """A search whose process has these limits."""
    return {"resource": "epoch", "full": 3.0, "session": {"limits": {"seconds": None, "trained": None, **limits}}}


def expected(description: dict[str, Any], seconds: float = 100.0) -> float | None:
    left = time_left(description, TRIALS, 12, trained=2.0, seconds=seconds)
    return left.expected if left else None


def test_it_goes_on_at_its_pace_until_a_limit() -> None:
    assert expected(described()) == pytest.approx(200.0)  # 8 trials of 0.5 epochs, at 0.02 epochs a second
    assert expected(described(seconds=160.0)) == pytest.approx(60.0)
    assert expected(described(trained=3.0, field="epoch")) == pytest.approx(50.0)
    assert expected(described(trained=3.0, field="tflop")) == pytest.approx(200.0)
    assert expected({"resource": "epoch", "full": 3.0}) == pytest.approx(200.0)  # of before there were sessions


def test_a_budget_of_another_kind_is_none() -> None:
    assert budget(described(trained=3.0, field="epoch")) == 3.0
    assert budget(described(trained=3.0, field="tflop")) is None


def test_before_anything_is_trained_nothing_is_known() -> None:
    assert time_left(described(), TRIALS, 12, trained=0.0, seconds=9.0) is None
