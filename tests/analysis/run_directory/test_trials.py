"""What is kept of each trial, and what its state says."""

import math

import pytest

from analysis.run_directory.events import Trials
from analysis.run_directory.trials import TrialState
from tests.salt_tune.made_trials import add_report, add_trial, make_report, make_space, make_trial

ENDED = {"complete", "pruned", "failed", "diverged", "out_of_memory"}
LOST = {"failed", "diverged", "out_of_memory"}


def test_states_are_what_the_files_say() -> None:
    assert {state for state in TrialState if state.ended} == ENDED
    assert {state for state in TrialState if state.lost} == LOST


@pytest.mark.parametrize("state", list(TrialState))
def test_at_exit_nothing_goes_on(state: TrialState) -> None:
    if state.ended:
        assert state.at_exit(True) is state.at_exit(False) is state
    else:
        assert state.at_exit(False) is TrialState.INTERRUPTED
        over = TrialState.PRUNED if state is TrialState.PAUSED else TrialState.INTERRUPTED
        assert state.at_exit(True) is over


@pytest.mark.parametrize("status", ["diverged", "out_of_memory"])
def test_a_trial_that_was_lost_has_no_score_but_keeps_those_before(status: str) -> None:
    space, trials = make_space(), Trials()
    trial = add_trial(trials, "T0", space)
    add_report(trials, "T0", make_report(0.5, 0.7), space)
    assert trial.score == 0.7
    point = 0.5 if status == "out_of_memory" else 1.0  # it never got to the next one
    add_report(trials, "T0", make_report(point, None, status=status), space)
    assert (trial.score, trial.resource, trial.scores[0.5]) == (math.inf, point, 0.7)
    add_report(trials, "T0", make_report(1.0, 0.6), space)  # tried again
    assert (trial.score, trial.resource) == (0.6, 1.0)


def test_no_report_is_no_epoch_and_no_value() -> None:
    trial = make_trial("T0", space=make_space(), state=TrialState.WAITING)
    assert (trial.epochs, trial.resource, trial.score, trial.value("val_loss")) == (0.0, 0.0, math.inf, None)


def test_probe_and_rank_are_those_of_the_last_report_that_has_them() -> None:
    space, trials = make_space(objective={"val_loss": 0.5, "probe_top1": 0.5}), Trials()
    trial = add_trial(trials, "T0", space)
    add_report(trials, "T0", make_report(1, 1.0, probe_top1=0.5, effective_rank=9.0), space)
    add_report(trials, "T0", make_report(1.5, 0.9), space)
    assert trial.score == pytest.approx(0.2)
    assert (trial.value("probe_top1"), trial.value("effective_rank"), trial.value("val_loss")) == (0.5, 9.0, 0.9)
