"""ASHA with promotions, whatever the scores and whoever answers first; and a search that was worked out by hand."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salt_tune.schedulers.asha import Asha
from salt_tune.schedulers.base import Job
from tests.salt_tune.driving import Driven, Table, choices, drive, first

INF, NAN = math.inf, math.nan
SCORES = [*map(float, range(-2, 10)), 1e30, NAN, INF, -INF]


@dataclass(frozen=True)
class Search:
    """A search to be driven."""

    rungs: tuple[float, ...]
    eta: float
    table: Table
    workers: int
    order: list[int]

    def drive(self, **more: Any) -> Driven:
        """Runs it."""
        options = {"workers": self.workers, "choose": choices(self.order), **more}
        return drive(Asha(self.rungs, len(self.table), reduction_factor=self.eta), self.table, **options)


@st.composite
def searches(draw: st.DrawFn, workers: int = 5) -> Search:
    """Any search: scores with ties, lost ones and all orders of arrival; rungs may be fractions."""
    rungs = draw(st.sampled_from([(3.0,), (0.5, 1.0), (0.25, 1 / 3, 7.0), (1.0, 2.5, 7.0), (0.1, 0.5, 2.0, 100.0)]))
    count = draw(st.integers(1, 24))
    scores = [SCORES[byte % 16] for byte in draw(st.binary(min_size=count * len(rungs), max_size=count * len(rungs)))]
    return Search(
        rungs,
        draw(st.sampled_from([2.0, 2.5, 3.0, 4.0])),
        [scores[number::count] for number in range(count)],
        draw(st.integers(1, workers)),
        list(draw(st.binary(min_size=1, max_size=24))),
    )


class Rung:
    """What is known of a rung, told again in the plainest way."""

    def __init__(self) -> None:
        self.arrived: list[tuple[float, int]] = []
        self.promoted: set[int] = set()

    def promotable(self, eta: float) -> list[int]:
        """Trials among the best 1/eta that have a score and were not promoted, best first."""
        best = sorted(self.arrived)[: math.floor(len(self.arrived) / eta)]
        return [trial for score, trial in best if score < INF and trial not in self.promoted]

    def waiting(self) -> list[int]:
        """All that could go on at all, best first."""
        return [trial for score, trial in sorted(self.arrived) if score < INF and trial not in self.promoted]


@given(search=searches())
@settings(max_examples=100, deadline=None)
def test_every_decision_is_that_of_the_paper(search: Search) -> None:
    driven, eta, levels = search.drive(), search.eta, len(search.rungs)
    rungs = [Rung() for _ in range(levels)]
    started, running = 0, 0
    for event, name, level, score in driven.events:
        trial = int(name[1:])
        if event == "job":
            promotable = [(rung, rungs[rung].promotable(eta)) for rung in range(levels - 2, -1, -1)]
            deepest = next(((rung, best[0]) for rung, best in promotable if best), None)
            if level == 0:
                assert deepest is None and trial == started < len(search.table)
                started += 1
            elif deepest is not None:
                assert (level - 1, trial) == deepest
            else:  # the one that is trained to the end because no other was
                assert started == len(search.table) and not running
                assert all(score == INF for score, _ in rungs[-1].arrived)
                deep = max(rung for rung in range(levels - 1) if rungs[rung].waiting())
                assert (level - 1, trial) == (deep, rungs[deep].waiting()[0])
            if level:
                rungs[level - 1].promoted.add(trial)
            running += 1
        elif event == "result":
            rungs[level].arrived.append((score, trial))
            running -= 1
    assert started == len(search.table)


@given(search=searches(workers=1))
@settings(max_examples=25, deadline=None)
def test_with_one_worker_and_one_order_of_quality_no_more_than_a_share_goes_on(search: Search) -> None:
    table = [[float(number)] * len(search.rungs) for number in range(len(search.table))]  # the first is the best
    driven = drive(Asha(search.rungs, len(table), reduction_factor=search.eta), table)
    arrived = [sum(rung == level for level in driven.finite.values()) for rung in range(len(search.rungs))]
    reached = [sum(arrived[rung:]) for rung in range(len(search.rungs))]
    for below, above in itertools.pairwise(reached):
        assert above <= max(1, math.floor(below / search.eta))
    assert driven.finite["T0"] == len(search.rungs) - 1


@given(search=searches())
@settings(max_examples=100, deadline=None)
def test_a_search_ends_with_a_finished_trial_if_any_can_finish(search: Search) -> None:
    driven, end = search.drive(), len(search.rungs) - 1
    if any(all(math.isfinite(score) for score in curve) for curve in search.table):
        assert end in driven.finite.values()


@given(search=searches())
@settings(max_examples=100, deadline=None)
def test_dropping_changes_no_decision(search: Search) -> None:
    driven = search.drive()
    assert driven.jobs == search.drive(prune=False).jobs
    assert len(set(driven.pruned)) == len(driven.pruned)
    gone: set[str] = set()
    for event, trial, _, _ in driven.events:
        assert trial not in gone
        gone |= {trial} if event == "prune" else set()


@given(search=searches())
@settings(max_examples=40, deadline=None)
def test_a_trial_that_ends_is_as_one_that_has_lost(search: Search) -> None:
    lost = {f"T{number}": number % len(search.rungs) for number in range(0, len(search.table), 2)}
    table = [list(curve) for curve in search.table]
    for trial, level in lost.items():
        table[int(trial[1:])][level] = INF
    again = Search(search.rungs, search.eta, table, search.workers, search.order)
    assert search.drive(fails=lost).jobs == again.drive().jobs


LOSSES: Table = [[9, 9, 9], [5, 6, 4], [7, 9, 9], [6, 3, 3], [NAN, 0, 0], [4, 2, 5], [INF, 0, 0], [5, 9, 9], [8, 9, 9]]
BY_HAND = [
    ("T0", 0.5, "nothing to promote"),
    ("T1", 0.5, "nothing to promote"),
    ("T2", 0.5, "nothing to promote"),
    ("T1", 1.5, "1 of 3 at rung 0.5"),
    ("T3", 0.5, "nothing to promote"),
    ("T4", 0.5, "nothing to promote"),
    ("T5", 0.5, "nothing to promote"),
    ("T5", 1.5, "1 of 6 at rung 0.5"),  # 4, and T1 with 5 is there already
    ("T6", 0.5, "nothing to promote"),
    ("T7", 0.5, "nothing to promote"),
    ("T8", 0.5, "nothing to promote"),
    ("T7", 1.5, "3 of 9 at rung 0.5"),  # 5 again, but T1 was there first
    ("T5", 4.5, "1 of 3 at rung 1.5"),
]


def test_a_search_by_hand() -> None:
    driven = drive(Asha((0.5, 1.5, 4.5), 9), LOSSES)
    assert driven.jobs == BY_HAND
    assert driven.pruned == ["T3", "T2", "T8", "T0", "T1", "T7"]


def test_a_small_search_finishes_its_best_all_the_same() -> None:
    driven = drive(Asha((1, 3, 9), 2), [[2, 1, 1], [1, 2, 2]])
    assert driven.jobs[2:] == [("T1", 3, "best of rung 1, at the end"), ("T1", 9, "best of rung 3, at the end")]


def test_where_the_favourites_are_lost_the_others_have_their_turn() -> None:
    driven = drive(Asha((1, 3), 4), [[1, INF], [2, NAN], [3, INF], [4, 7]])
    assert driven.steps[3:] == [("T0", 3), ("T3", 1), ("T1", 3), ("T2", 3), ("T3", 3)]
    assert driven.finite["T3"] == 1 and not driven.pruned


def test_equal_scores_are_settled_by_who_started_first() -> None:
    scheduler = Asha((1, 3), 6)
    for trial in ("T0", "T1", "T2"):
        scheduler.on_job(trial, 1)
    for trial in ("T2", "T1", "T0"):
        scheduler.on_trial_result(trial, 1, 0.5)
    assert scheduler.next_job() == Job("T0", 3, "1 of 3 at rung 1")


def test_one_rung_trains_all_to_the_end() -> None:
    driven = drive(Asha((3.0,), 4), [[4], [NAN], [2], [1]], workers=2)
    assert driven.steps == [(f"T{number}", 3.0) for number in range(4)]
    assert not driven.pruned


@pytest.mark.parametrize("eta", [2.0, 3.0, 4.0])
def test_late_trials_of_a_falling_search_are_all_promoted_and_none_is_dropped_before(eta: float) -> None:
    # Each new trial is better than all before it, and so is among the best of its rung as it comes.
    table = [[-float(number), float(number)] for number in range(12)]
    driven = drive(Asha((1, 3), 12, reduction_factor=eta), table)
    assert driven.jobs == drive(Asha((1, 3), 12, reduction_factor=eta), table, prune=False, choose=first).jobs
    assert sum(to == 3 for _, to in driven.steps) == 12 - eta + 1
