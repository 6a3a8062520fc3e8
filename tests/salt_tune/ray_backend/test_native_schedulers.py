"""Ray's own schedulers behind our protocol decide as they do in Ray's loop, of which there are recordings."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from salt_tune.ray_backend.native_schedulers import AshaStop, HyperBand, MedianStop, NativeScheduler
from tests.salt_tune.driving import drive
from tests.salt_tune.ray_backend.ray_loop import FACTOR, FULL, TRIALS, score

RECORDED: dict[str, list[list[Any]]] = json.loads(Path(__file__).with_name("ray_loop.json").read_text())
SAME = {
    "asha_stop, 1, False": AshaStop,
    "asha_stop, 2, False": AshaStop,
    "asha_stop, 2, True": AshaStop,
    "median, 1, False": MedianStop,
    "median, 2, False": MedianStop,
    "hyperband, 1, True": HyperBand,
    "hyperband, 2, True": HyperBand,
}


def make(kind: type[NativeScheduler], trials: int = TRIALS) -> NativeScheduler:
    reports = [float(step) for step in range(1, FULL + 1)]
    return kind((1.0, 3.0, 9.0), trials, reduction_factor=FACTOR, reports=reports)


def started(scheduler: NativeScheduler, names: dict[int, str], trial: int) -> None:
    """A trial of the recording starts, or goes on after a pause: the next job must be of the same one."""
    job = scheduler.next_job()
    assert job is not None and job.trial == names.get(trial)
    names.setdefault(trial, f"T{trial}")
    scheduler.on_job(names[trial], job.milestone)


def decided(scheduler: NativeScheduler, trial: str) -> str | None:
    """The decision on a trial that has reported; one to go on is followed."""
    if trial in scheduler.prunable():
        scheduler.on_trial_prune(trial)
        return "STOP"
    job = scheduler.next_job()
    if job is not None and job.trial == trial:
        scheduler.on_job(trial, job.milestone)
        return "CONTINUE"
    return "PAUSE"


def follow(scheduler: NativeScheduler, events: list[list[Any]]) -> list[tuple[int, int, str | None, str]]:
    """Tells what was recorded; returns each trial and step with both decisions, ours and the recorded one."""
    names: dict[int, str] = {}
    decisions = []
    for event, trial, *rest in events:
        if event == "start":
            if names.get(trial) not in scheduler.running:
                started(scheduler, names, trial)
            continue
        step, loss, decision = rest
        assert loss == score(trial, step)
        scheduler.on_trial_result(names[trial], step, loss)
        if decision is not None:
            decisions.append((trial, step, decided(scheduler, names[trial]), decision))
    assert scheduler.over and len(names) == TRIALS
    return decisions


@pytest.mark.parametrize(("recorded", "kind"), SAME.items(), ids=SAME)
def test_decisions_are_those_of_rays_loop(recorded: str, kind: type[NativeScheduler]) -> None:
    decisions = follow(make(kind), RECORDED[recorded])
    assert {decision for *_, decision in decisions} >= {"CONTINUE", "STOP"}
    assert [entry for entry in decisions if entry[2] != entry[3]] == []


def test_in_rays_loop_median_pauses_for_trials_whose_workers_have_not_begun() -> None:
    """Recorded on a busy machine; whether a worker is late hangs on the machine."""
    decisions = follow(make(MedianStop), RECORDED["median, 2, a late worker"])
    other = {(ours, rays) for *_, ours, rays in decisions if ours != rays}
    assert other == {("CONTINUE", "PAUSE")}


def test_in_rays_loop_hyperband_stops_no_trial_of_those_that_come_one_by_one() -> None:
    for workers in (1, 2):
        events = RECORDED[f"hyperband, {workers}, False"]
        assert {decision for event, *_, decision in events if event == "result"} == {"CONTINUE", None}
    driven = drive(make(HyperBand), lambda trial, level: score(int(trial[1:]), level + 1))
    complete = [trial for trial, level in driven.finite.items() if level == FULL - 1]
    assert len(driven.pruned) == TRIALS - len(complete) > TRIALS / 2


@pytest.mark.parametrize("kind", [AshaStop, MedianStop, HyperBand])
def test_a_score_without_a_value_stops_no_search(kind: type[NativeScheduler]) -> None:
    """As of a probe before the first rung; and at the end."""
    losses = lambda trial, level: math.inf if level in (0, FULL - 1) else score(int(trial[1:]), level + 1)  # noqa: E731
    driven = drive(make(kind, trials=9), losses)
    assert len(driven.finite) == 9


def test_a_journal_of_another_scheduler_is_refused() -> None:
    scheduler = make(HyperBand, trials=1)
    scheduler.on_job("T0", 1.0)
    with pytest.raises(ValueError, match="would not have started T1"):
        scheduler.on_job("T1", 1.0)
