"""Which trial is better, and which has no rank."""

import math
from typing import Any

import pytest

from analysis.run_directory.ranking import complete, nothing_to_promote, ranking, scores_by_seed, standing
from analysis.run_directory.trials import Trial, TrialState
from tests.salt_tune.made_trials import make_report, make_space, make_trial


def made(*reports: dict[str, Any], objective: Any = "val_loss", **of_last: Any) -> list[Trial]:
    """Trials with one report each; `of_last` is of the last one."""
    space = make_space(objective=objective)
    trials = [make_trial(f"T{number}", report, space=space) for number, report in enumerate(reports[:-1])]
    return [*trials, make_trial(f"T{len(trials)}", reports[-1], space=space, **of_last)]


def ranked(*reports: dict[str, Any], **changes: Any) -> list[str]:
    """The ids, best first; see `made`."""
    return [trial.id for trial in ranking(made(*reports, **changes))]


def test_the_lowest_loss_wins_among_those_that_trained_as_long() -> None:
    assert ranked(make_report(3, 2.0), make_report(3, 1.0), make_report(3, 3.0)) == ["T1", "T0", "T2"]


def test_the_highest_r2_wins_where_that_is_the_objective() -> None:
    reports = [make_report(3, 1.0, val_r2=r2) for r2 in (0.2, -1.0, 0.4)]
    assert ranked(*reports, objective="val_r2") == ["T2", "T0", "T1"]


def test_a_pair_is_ranked_by_its_sum() -> None:
    reports = [make_report(3, loss, probe_top1=top1, effective_rank=2.0) for loss, top1 in ((1.0, 0.2), (1.1, 0.9))]
    assert ranked(*reports, objective={"val_loss": 0.9, "probe_top1": 0.1}) == ["T0", "T1"]
    assert ranked(*reports, objective={"val_loss": 0.5, "probe_top1": 0.5}) == ["T1", "T0"]


def test_equal_probes_are_settled_by_the_loss() -> None:
    reports = [make_report(3, loss, probe_top1=0.5, effective_rank=2.0) for loss in (2.0, 1.0, 3.0)]
    assert ranked(*reports, objective="probe_top1") == ["T1", "T0", "T2"]


def test_longer_training_stands_above_a_lower_loss_early() -> None:
    assert ranked(make_report(1, 0.5), make_report(3, 0.9)) == ["T1", "T0"]


@pytest.mark.parametrize("nothing", [math.nan, math.inf, None])
def test_a_trial_without_a_number_never_ranks(nothing: float | None) -> None:
    assert ranked(make_report(3, nothing), make_report(1, 9.0)) == ["T1"]


def test_a_replicate_never_ranks() -> None:
    assert ranked(make_report(3, 1.0), make_report(3, 0.5), replicate_of="T0") == ["T0"]


@pytest.mark.parametrize("status", ["diverged", "out_of_memory"])
def test_a_trial_that_was_lost_never_ranks(status: str) -> None:
    assert ranked(make_report(3, 1.0), make_report(3, 0.5, status=status), state=TrialState(status)) == ["T0"]


def test_a_trial_that_failed_after_it_had_reported_keeps_its_score_and_never_ranks() -> None:
    trials = made(make_report(3, 1.0), make_report(3, 0.5), state=TrialState.FAILED)
    assert trials[1].score == 0.5
    assert [trial.id for trial in ranking(trials)] == [trial.id for trial in complete(trials)] == ["T0"]


def test_a_trial_that_may_go_on_ranks_but_is_not_complete() -> None:
    trials = made(make_report(3, 1.0), make_report(3, 0.5), state=TrialState.PAUSED)
    assert [trial.id for trial in ranking(trials)] == ["T1", "T0"]
    assert [trial.id for trial in complete(trials)] == ["T0"]


# --- verdicts: an encoder that is of no more use than random weights


def judged(*of_each: tuple[float, str | None]) -> list[Trial]:
    """Complete trials with these losses and verdicts."""
    return made(*(make_report(3, loss, verdict=verdict) for loss, verdict in of_each))


def test_an_unfit_trial_never_wins_while_another_is_fit() -> None:
    trials = judged((0.3, "collapsed"), (0.5, "not shown to be better"), (0.4, "worse than untrained"), (0.6, None))
    for order in (ranking(trials), complete(trials), standing(trials)):
        assert [trial.id for trial in order] == ["T1", "T3", "T0", "T2"]


def test_where_all_are_unfit_the_score_decides_and_nothing_is_to_be_promoted() -> None:
    trials = judged((0.5, "worse than untrained"), (0.4, "collapsed"))
    assert [trial.id for trial in complete(trials)] == ["T1", "T0"]
    assert nothing_to_promote(trials)


@pytest.mark.parametrize(
    "verdicts", [(None, None), ("collapsed", "better than untrained"), ("not shown to be better", None)]
)
def test_one_that_is_not_unfit_may_be_promoted(verdicts: tuple[str | None, ...]) -> None:
    assert not nothing_to_promote(judged(*((0.4, verdict) for verdict in verdicts)))


def test_the_last_verdict_counts_and_one_that_was_not_measured_again_stays() -> None:
    space = make_space()
    reports = [make_report(1, 0.5, verdict="collapsed"), make_report(2, 0.4)]
    assert make_trial("T0", *reports, space=space).unfit
    assert not make_trial("T0", *reports, make_report(3, 0.3, verdict="better than untrained"), space=space).unfit
    assert make_trial("T0", make_report(3, 0.4), space=space).verdict is None


# --- configurations with several seeds


def with_seeds(**scores: list[float | None]) -> list[Trial]:
    """Configurations with one trial a score, the first ones first; None: that seed diverged."""
    space, trials = make_space(), []
    for number in range(max(map(len, scores.values()))):
        for name, values in scores.items():
            if number < len(values):
                status = "complete" if values[number] is not None else "diverged"
                original = {"replicate_of": name, "seed": number} if number else {}
                report = make_report(3, values[number], status=status)
                state = TrialState(status)
                trials.append(
                    make_trial(f"{name}-seed{number}" if number else name, report, space=space, state=state, **original)
                )
    return trials


def test_the_mean_over_seeds_decides_among_those_that_have_several() -> None:
    trials = with_seeds(T0=[0.40, 0.46], T1=[0.42, 0.42], T2=[0.43])
    assert [trial.id for trial in complete(trials)] == ["T0", "T1", "T2"]
    assert [trial.id for trial in standing(trials)] == ["T1", "T0", "T2"]
    assert scores_by_seed(trials) == {"T0": [0.40, 0.46], "T1": [0.42, 0.42], "T2": [0.43]}


def test_one_seed_wins_against_none_that_had_a_better_first_one() -> None:
    assert [trial.id for trial in standing(with_seeds(T0=[0.40, 0.50], T1=[0.42]))] == ["T0", "T1"]


def test_a_lost_seed_costs_the_win() -> None:
    trials = with_seeds(T0=[0.40, None], T1=[0.42, 0.43], T2=[0.50])
    assert [trial.id for trial in standing(trials)] == ["T1", "T0", "T2"]
    assert scores_by_seed(trials)["T0"] == [0.40, math.inf]
