"""Finalists go on in turn until one is ahead for good."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salt_tune.controller.continued_race import Reached, milestones, winner_of

RUNGS = (1.0, 2.0, 4.0)


@given(
    rungs=st.lists(st.integers(1, 10), min_size=1, max_size=5, unique=True).map(sorted),
    end=st.floats(1, 300),
    reports=st.integers(1, 4),
)
def test_milestones_are_the_rungs_and_then_reports_up_to_the_end(rungs: list[int], end: float, reports: int) -> None:
    points = milestones([float(rung) for rung in rungs], end, reports)
    assert points == tuple(sorted(set(points)))
    assert end - 1 / reports < points[-1] <= end + 1e-6
    assert all((point * reports).is_integer() for point in points)
    assert set(points[:-1]) >= {rung for rung in rungs if rung < points[-1]}


def ends_at(asymptote: float, epoch: float) -> float:
    """Returns the loss of a curve that falls towards its asymptote."""
    return asymptote + 0.2 / (1 + epoch)


def race(
    asymptotes: dict[str, float], finalists: list[str], points: tuple[float, ...]
) -> tuple[str | None, dict[str, float]]:
    """Lets finalists go on from the search's last rung; returns the winner, and how far each was trained."""
    losses = {name: {rung: ends_at(value, rung) for rung in RUNGS} for name, value in asymptotes.items()}
    trained: dict[str, float] = {}

    def train(trial: str, milestone: float) -> Reached:
        assert milestone > trained.get(trial, RUNGS[-1])
        trained[trial] = milestone
        return Reached(ends_at(asymptotes[trial], milestone))

    return winner_of(finalists, losses, points, train, lambda _: None), trained


def test_the_best_goes_on_to_the_end_and_the_hopeless_do_not() -> None:
    asymptotes = {f"T{number}": 0.3 + 0.02 * number for number in range(8)}
    points = milestones(RUNGS, 16, 1)
    winner, trained = race(asymptotes, ["T1", "T0", "T7"], points)
    assert winner == "T0"
    assert trained["T0"] == points[-1] == 16
    assert trained.get("T7", 4) < 16


@given(st.permutations(["T0", "T1", "T2"]), st.lists(st.floats(0.1, 0.5), min_size=5, max_size=5))
def test_one_wins_whatever_the_curves(finalists: list[str], asymptotes: list[float]) -> None:
    points = milestones(RUNGS, 16, 1)
    curves = {f"T{number}": value for number, value in enumerate(asymptotes)}
    winner, trained = race(curves, finalists, points)
    assert winner in finalists
    assert trained[winner] == points[-1]


def test_what_final_runs_have_trained_is_not_asked_for_again() -> None:
    points = milestones(RUNGS, 16, 1)
    losses = {f"T{number}": {point: ends_at(0.3 + 0.02 * number, point) for point in points} for number in range(4)}

    def train(trial: str, milestone: float) -> Reached:
        raise AssertionError

    assert winner_of(["T2", "T1"], losses, points, train, lambda _: None) == "T1"


def test_an_unfit_one_does_not_win() -> None:
    points = milestones(RUNGS, 8, 1)
    losses = {name: {rung: ends_at(0.3, rung) for rung in RUNGS} for name in ("T0", "T1", "T2")}
    said: list[str] = []
    winner = winner_of(
        ["T0", "T1"],
        losses,
        points,
        lambda trial, at: Reached(ends_at(0.3, at) - (trial == "T0") * 0.1, trial == "T0"),
        said.append,
    )
    assert winner == "T1"
    assert all(line.startswith(("T0 ", "T1 ")) for line in said)


def test_an_interruption_is_no_winner() -> None:
    losses = {name: {rung: ends_at(0.3, rung) for rung in RUNGS} for name in ("T0", "T1")}
    assert winner_of(["T0", "T1"], losses, milestones(RUNGS, 16, 1), lambda *_: None, lambda _: None) is None


@pytest.mark.parametrize(("end", "reports", "last"), [(16.0, 1, 16.0), (2.4, 2, 2.0), (2.5, 2, 2.5), (6.4, 4, 6.25)])
def test_the_last_milestone_is_a_report_within_the_trunk(end: float, reports: int, last: float) -> None:
    points = milestones((1.0,), end, reports)
    assert points[-1] == last and all(math.isfinite(point) for point in points)
