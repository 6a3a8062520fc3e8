"""What every scheduler does, ours, Ray's and any that is registered: a search ends, and one told again is the same."""

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salt_tune.controller.factory import make_scheduler
from salt_tune.ray_backend.native_schedulers import NativeScheduler
from salt_tune.registry import SCHEDULERS
from salt_tune.schedulers.base import Scheduler
from salt_tune.space.schedule import Schedule
from tests.salt_tune.driving import Driven, Table, choices, drive, prune_all

INF, NAN = math.inf, math.nan
SCORES = [*(0.1 * number for number in range(11)), 1e30, -1e30, NAN, INF, -INF]
SCHEDULES: list[dict[str, Any]] = [
    {"epochs": 3, "reports": 1},
    {"epochs": 4, "reports": 4, "first_rung": 1, "reduction_factor": 2},
    {"seconds": 7, "rungs": (0.5, 2), "reports": 5},
]

each = pytest.mark.parametrize("name", SCHEDULERS)


@dataclass(frozen=True)
class Search:
    """A search to be driven."""

    schedule: dict[str, Any]
    table: Table
    workers: int = 1
    order: list[int] = field(default_factory=lambda: [0])

    def scheduler(self, name: str, trials: int | None = None) -> Scheduler:
        """The scheduler of that name, at its beginning."""
        schedule = Schedule.model_validate({**self.schedule, "scheduler": name})
        return make_scheduler(schedule, len(self.table) if trials is None else trials)

    def drive(self, scheduler: Scheduler, **more: Any) -> Driven:
        """Runs it."""
        return drive(scheduler, self.table, workers=self.workers, choose=choices(self.order), **more)


@st.composite
def searches(draw: st.DrawFn, workers: int = 4, least: int = 0, most: int = 15) -> Search:
    """Scores with ties, wild and lost ones up to those of number `most`; workers that answer in any order."""
    count, points = draw(st.integers(1, 10)), 9
    drawn = draw(st.binary(min_size=count * points, max_size=count * points))
    scores = [SCORES[least + byte % (most + 1 - least)] for byte in drawn]
    return Search(
        draw(st.sampled_from(SCHEDULES)),
        [scores[number::count] for number in range(count)],
        draw(st.integers(1, workers)),
        list(draw(st.binary(min_size=1, max_size=20))),
    )


def tell(scheduler: Scheduler, driven: Driven) -> None:
    """Tells a scheduler what happened, as a journal does: without a question."""
    for event, trial, level, score in driven.events:
        if event == "job":
            scheduler.on_job(trial, scheduler.rungs[level])
        elif event == "result":
            scheduler.on_trial_result(trial, scheduler.rungs[level], score)
        else:
            assert trial in scheduler.prunable()
            scheduler.on_trial_prune(trial)


@each
def test_its_class_says_what_a_space_and_a_disk_budget_need_to_know(name: str) -> None:
    scheduler = SCHEDULERS[name]
    assert issubclass(scheduler, Scheduler)
    for fact in ("pauses", "compares_early", "ranks_by_cost", "limits_checkpoints"):
        assert getattr(scheduler, fact) in (True, False)
    assert not scheduler.limits_checkpoints or scheduler.pauses


@each
@given(first=st.floats(1e-3, 1), full=st.floats(1, 100), factor=st.floats(2, 8))
@settings(max_examples=25, deadline=None)
def test_the_rungs_that_it_names_ascend_below_a_full_trial(name: str, first: float, full: float, factor: float) -> None:
    points = (0.0, *SCHEDULERS[name].rung_points(first, full, factor), full)
    assert all(earlier < later for earlier, later in itertools.pairwise(points))


@each
@given(search=searches())
@settings(max_examples=25, deadline=None)
def test_whatever_the_scores_a_search_starts_all_trials_and_ends(name: str, search: Search) -> None:
    driven = search.drive(search.scheduler(name))  # that asking changes nothing is looked at in `drive`
    assert driven.check_order().keys() == {f"T{number}" for number in range(len(search.table))}


OWN = [name for name, kind in SCHEDULERS.items() if kind.pauses and not issubclass(kind, NativeScheduler)]


@pytest.mark.parametrize("name", OWN)
@given(search=searches(most=10), behind=st.sets(st.integers(0, 9)))
@settings(max_examples=50, deadline=None)
def test_a_trial_that_stands_behind_is_complete_only_where_no_other_is_left(
    name: str, search: Search, behind: set[int]
) -> None:
    scheduler = search.scheduler(name)
    last = {f"T{number}" for number in behind}
    driven = search.drive(scheduler, behind=last)
    complete = {
        trial for event, trial, level, _ in driven.events if (event, level) == ("result", len(scheduler.rungs) - 1)
    }
    others = {f"T{number}" for number in range(len(search.table))} - last
    assert complete
    assert not others or complete & others
    if search.workers == 1 and name != "asha":  # else a trial may have gone on before the others were known
        assert not others or len(scheduler.rungs) == 1 or not complete & last


@each
@given(search=searches(most=10))
@settings(max_examples=25, deadline=None)
def test_where_nothing_is_lost_a_trial_is_trained_to_the_end(name: str, search: Search) -> None:
    scheduler = search.scheduler(name)
    assert len(scheduler.rungs) - 1 in search.drive(scheduler).finite.values()


@each
@given(search=searches())
@settings(max_examples=15, deadline=None)
def test_a_search_that_is_told_again_stands_where_it_stood(name: str, search: Search) -> None:
    driven = search.drive(search.scheduler(name))
    again = search.scheduler(name)
    tell(again, driven)
    assert again.over and not again.prunable()
    assert again.started == len(search.table)


@each
@given(search=searches(workers=1), after=st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_a_search_that_dies_anywhere_goes_on_as_it_would_have(name: str, search: Search, after: int) -> None:
    whole = search.drive(search.scheduler(name))
    results = [place for place, (event, *_) in enumerate(whole.events) if event == "job"]
    if after >= len(results):
        return
    again, begun = search.scheduler(name), Driven(whole.jobs[:after], whole.events[: results[after]])
    tell(again, begun)
    assert search.drive(again, past=begun).jobs == whole.jobs


@each
@given(search=searches())
@settings(max_examples=15, deadline=None)
def test_a_trial_that_ends_does_not_go_on(name: str, search: Search) -> None:
    lost = {f"T{number}": 0 for number in range(0, len(search.table), 2)}
    driven = search.drive(search.scheduler(name), fails=lost)
    assert all(trial not in lost or level == 0 for event, trial, level, _ in driven.events if event == "job")
    assert len({trial for trial, *_ in driven.jobs}) == len(search.table)


@each
@given(search=searches(most=10), more=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_more_trials_after_the_end(name: str, search: Search, more: int) -> None:
    scheduler = search.scheduler(name, max(1, len(search.table) - more))
    driven = search.drive(scheduler)
    scheduler.allowed = len(search.table)
    search.drive(scheduler, past=driven)
    assert scheduler.started == len(search.table) and scheduler.over
    again = search.scheduler(name, max(1, len(search.table) - more))
    again.allowed = len(search.table)
    assert again.started == 0 and not again.over


@each
def test_fewer_trials_where_the_space_ends(name: str) -> None:
    search = Search(SCHEDULES[1], [[float(number)] * 9 for number in range(8)])
    scheduler = search.scheduler(name)
    for trial in ("T0", "T1"):
        job = scheduler.next_job()
        assert job is not None and (job.trial is None or job.trial == "T0")
        trial = job.trial or trial
        scheduler.on_job(trial, job.milestone)
        scheduler.on_trial_result(trial, job.milestone, 1.0)
        prune_all(scheduler)
    started = scheduler.started
    scheduler.allowed = started
    driven = Driven([(f"T{number}", 0.0, "") for number in range(started)])
    search.drive(scheduler, past=driven)
    assert scheduler.started == started and scheduler.over


@each
def test_only_the_point_that_a_trial_is_on_its_way_to_counts(name: str) -> None:
    scheduler = Search(SCHEDULES[1], [[1.0] * 9]).scheduler(name)
    scheduler.on_job("T0", scheduler.rungs[0])
    scheduler.on_trial_result("T0", scheduler.rungs[0] / 2, 7)
    assert "T0" in scheduler.running and not scheduler.over
    scheduler.on_trial_result("T0", scheduler.rungs[0], 7)
    scheduler.on_trial_result("T0", scheduler.rungs[0], 6)  # again, or late
    scheduler.on_trial_result("T9", scheduler.rungs[0], 5)  # never heard of
    scheduler.on_trial_end("T9")
    assert (scheduler.running, scheduler.started) == ((), 1)


@each
@given(search=searches(), after=st.integers(0, 40))
@settings(max_examples=15, deadline=None)
def test_what_it_predicts_is_of_paused_trials_and_asking_changes_nothing(name: str, search: Search, after: int) -> None:
    scheduler, whole = search.scheduler(name), search.drive(search.scheduler(name))
    tell(scheduler, Driven(events=whole.events[:after]))
    job, prunable = scheduler.next_job(), scheduler.prunable()
    known = {f"T{number}": scheduler.prediction(f"T{number}") for number in range(len(search.table))}
    assert all(known[trial] is None for trial in scheduler.running) and scheduler.prediction("T99") is None
    for prediction in filter(None, known.values()):
        assert 0 <= prediction.chance <= 1 and prediction.predicted_sd >= 0
    assert (scheduler.next_job(), scheduler.prunable()) == (job, prunable)
