"""Which trials are tied by their scores, and what their seeds do."""

import math

import pytest

from analysis.run_directory.events import RoundStarted
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.report.finalists import looks, noise_of, seeds_of, tied_with_best
from tests.salt_tune.made_trials import make_report, make_space, make_trial

RUNGS = (0.5, 3.0)


def searched(*scores: tuple[float, float | None]) -> list[Trial]:
    """Trials with these losses at the rungs; those without a last one were stopped."""
    space, trials = make_space(), []
    for number, (first, last) in enumerate(scores):
        reports = [make_report(0.5, first), *([] if last is None else [make_report(3.0, last)])]
        state = TrialState.PAUSED if last is None else TrialState.COMPLETE
        parameters = {"lr": 10 ** -(1 + number / 9)}
        trials.append(make_trial(f"T{number}", *reports, space=space, state=state, parameters=parameters))
    return trials


def test_the_noise_is_that_at_the_deepest_rung_of_all() -> None:
    full = [(0.5, 0.4 + 0.01 * (number % 2)) for number in range(12)]
    found = noise_of(searched(*full), RUNGS)
    assert found is not None and found[1] == 3.0 and found[0].within_sd == pytest.approx(0.01 / 2**0.5)
    found = noise_of(searched(*full, (0.5, None)), RUNGS)
    assert found is not None and found[1] == 0.5 and found[0].within_sd == 0


def test_the_lead_of_the_winner_is_no_noise() -> None:
    found = noise_of(searched((0.5, 0.1), *[(0.5, 0.4)] * 11), RUNGS)
    assert found is not None and (found[0].within_sd, found[0].trials) == (0, 10)


def test_trials_that_were_lost_or_have_come_to_no_rung_say_nothing_of_it() -> None:
    trials = searched(*[(0.5, 0.4)] * 12)
    space = make_space()
    trials.append(make_trial("T12", make_report(0.25, math.nan, status="diverged"), space=space))
    trials[-1].state = TrialState.DIVERGED
    trials.append(make_trial("T13", make_report(0.25, 0.7), space=space, state=TrialState.RUNNING))
    found = noise_of(trials, RUNGS)
    assert found is not None and found[1] == 3.0


def test_without_noise_all_are_tied_and_with_little_none() -> None:
    few = searched((0.5, 0.4), (0.5, 0.41), (0.5, None))
    assert noise_of(few, RUNGS) is None
    assert [trial.id for trial in tied_with_best(few, RUNGS, 0.05)] == ["T0", "T1"]
    many = searched((0.5, 0.4), (0.5, 0.41), *[(0.5001, None)] * 10)
    assert [trial.id for trial in tied_with_best(many, RUNGS, 0.05)] == ["T0"]
    assert tied_with_best([], RUNGS, 0.05) == []


def test_looks_are_what_more_seeds_waited_for() -> None:
    rounds = [RoundStarted(request, {"T0": 2}, "tied") for request in (0, 0, 1)]
    assert looks(rounds, ["auto", 1]) == 3
    assert looks(rounds, [2, 1]) == 1
    assert looks([], ["auto"]) == 0


def test_seeds_are_counted_whatever_became_of_them() -> None:
    space = make_space()
    lost = make_trial("T0-seed1", space=space, state=TrialState.FAILED, replicate_of="T0")
    trials = {trial.id: trial for trial in (*searched((0.5, 0.4), (0.5, 0.4)), lost)}
    assert (seeds_of(trials, "T0"), seeds_of(trials, "T1")) == (2, 1)
