"""Where a search ends early: what can be given, and when it is reached."""

from typing import Any

import pytest

from analysis.run_directory.events import Trials
from salt_tune.controller.limits import NO_LIMITS, Limits
from tests.salt_tune.made_trials import add_report, add_trial, make_report, make_space
from tests.toy_task import TOY
from trainable.errors import UserError
from trainable.task import find_task


@pytest.mark.parametrize(
    ("time_limit", "budget", "seconds", "trained", "field"),
    [
        ("8h", None, 28800, None, "training_seconds"),
        ("90 min", "40epochs", 5400, 40, "epoch"),
        ("1.5H", "1 epoch", 5400, 1, "epoch"),
        (None, ".5tflop", None, 0.5, "tflop"),
        (None, "12h", None, 43200, "training_seconds"),
    ],
)
def test_what_can_be_given(
    time_limit: str | None, budget: str | None, seconds: float, trained: float, field: str
) -> None:
    limits = Limits.parse(time_limit, budget)
    assert (limits.seconds, limits.trained, limits.field) == (seconds, trained, field)


@pytest.mark.parametrize("text", ["8", "h", "0h", "-1h", "8 hours", "1e9h", "nanh", ""])
@pytest.mark.parametrize("flag", ["--time-limit", "--budget"])
def test_what_is_no_amount_is_refused_in_a_line(flag: str, text: str) -> None:
    given: dict[str, Any] = {"time_limit": None, "budget": None, flag[2:].replace("-", "_"): text}
    with pytest.raises(UserError) as refused:
        Limits.parse(**given)
    said = str(refused.value)
    assert said.startswith(f"{flag} {text}: must be a number above 0 and one of ") and "\n" not in said


def test_a_time_is_no_amount_of_training() -> None:
    with pytest.raises(UserError, match="3epochs: must be a number above 0 and one of s, min, h, such as 8h"):
        Limits.parse("3epochs", None)


def test_a_task_that_counts_no_tflop_has_no_budget_of_it() -> None:
    mae = find_task("examples.another_task.mae:MaskedAutoencoder")
    with pytest.raises(UserError, match=r"--budget 3tflop: trials of .* are counted in epoch, epochs$"):
        Limits.parse(None, "3tflop").check(mae)
    Limits.parse("1h", "3epochs").check(mae)
    Limits.parse(None, "3tflop").check(find_task(TOY))


def test_a_budget_is_of_all_trials_together() -> None:
    space, trials = make_space(), Trials(9)
    for name, point in (("T0", 1.0), ("T1", 0.5), ("T2", 3.0)):
        add_trial(trials, name, space)
        add_report(trials, name, make_report(point, 0.5), space)
    add_trial(trials, "T3", space)
    for budget, reached in (("4.5epochs", True), ("5epochs", False), ("45tflop", True), ("46tflop", False)):
        assert Limits.parse(None, budget).reached(0, trials.values()) == (f"--budget {budget}" if reached else None)
    assert Limits.parse("1min", "5epochs").reached(60, trials.values()) == "--time-limit 1min"
    assert NO_LIMITS.reached(1e9, trials.values()) is None
