"""Freeze-thaw: whatever the scores, the search ends well; and on curves that a model can read, it reads them."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salt_tune.schedulers.freeze_thaw import FreezeThaw
from tests.salt_tune.driving import Driven, choices, drive

INF, NAN = math.inf, math.nan
RUNGS = (0.25, 0.5, 1.0, 2.0, 3.0)
SCORES = [*(0.1 * number for number in range(11)), 1e30, -1e30, NAN, INF, -INF]


def decaying(trials: int, rungs: tuple[float, ...] = RUNGS, seed: int = 0) -> list[list[float]]:
    """Power laws with different ends, and a little noise."""
    draw = np.random.default_rng(seed)
    ends, heights = draw.normal(0.5, 0.1, (trials, 1)), draw.uniform(0.2, 0.4, (trials, 1))
    noise = draw.normal(0, 0.002, (trials, len(rungs)))
    return [[float(score) for score in curve] for curve in ends + heights * np.array(rungs) ** -0.7 + noise]


def search(table: list[list[float]], rungs: tuple[float, ...] = RUNGS, keep: int | None = None, **more: Any) -> Driven:
    return drive(FreezeThaw(rungs, len(table), keep=keep), table, **more)


@st.composite
def searches(draw: st.DrawFn) -> tuple[list[list[float]], tuple[float, ...], dict[str, Any]]:
    """Scores with ties, wild and lost ones; rungs; workers who answer in any order."""
    rungs = draw(st.sampled_from([(3.0,), (0.5, 1.0), (0.1, 0.4, 7.0), RUNGS]))
    count = draw(st.integers(1, 10))
    scores = [SCORES[byte % 16] for byte in draw(st.binary(min_size=count * len(rungs), max_size=count * len(rungs)))]
    workers = {"workers": draw(st.integers(1, 4)), "choose": choices(list(draw(st.binary(min_size=1, max_size=20))))}
    return [scores[number::count] for number in range(count)], rungs, workers


@given(drawn=searches())
@settings(max_examples=40, deadline=None)
def test_whatever_the_scores(drawn: tuple[list[list[float]], tuple[float, ...], dict[str, Any]]) -> None:
    table, rungs, workers = drawn
    driven = search(table, rungs, **workers)
    assert driven.steps[: len(table)] == [(f"T{number}", rungs[0]) for number in range(len(table))]
    driven.check_order(lost_end=True)
    if any(all(math.isfinite(score) for score in curve) for curve in table):
        assert len(rungs) - 1 in driven.finite.values()


@pytest.mark.parametrize("workers", [1, 4])
def test_the_clearly_best_is_finished_and_most_are_not(workers: int) -> None:
    table = decaying(20, seed=1)
    table[13] = [score - 0.4 for score in table[13]]
    driven = search(table, workers=workers)
    assert driven.finite["T13"] == len(RUNGS) - 1
    assert sum(level == len(RUNGS) - 1 for level in driven.finite.values()) <= 4


def test_a_free_worker_waits_where_nobody_else_has_a_chance() -> None:
    table = decaying(20, seed=1)
    table[13] = [score - 0.4 for score in table[13]]
    alone, together = search(table), search(table, workers=8)
    assert together.finite["T13"] == len(RUNGS) - 1
    assert len(together.jobs) <= len(alone.jobs) + 2 * 8  # those that were under way when it became clear


def test_curves_without_a_pattern_take_more_training_than_straight_ones() -> None:
    straight = [[1.0 + 0.1 * number - 0.05 * step for step in range(5)] for number in range(12)]
    noisy = [list(curve) for curve in np.random.default_rng(3).normal(1, 0.3, (12, 5))]
    assert len(search(straight).jobs) < len(search(noisy).jobs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("scale", "offset"), [(1000.0, 0.0), (1e-4, 0.0), (1.0, -7.0), (30.0, 400.0)])
def test_scale_and_offset_of_the_scores_do_not_matter(seed: int, scale: float, offset: float) -> None:
    table = decaying(10, seed=seed)
    table[4][2] = INF
    other = [[scale * score + offset for score in curve] for curve in table]
    driven, moved = search(table), search(other)
    assert driven.steps == moved.steps
    assert driven.pruned == moved.pruned


def test_wild_scores_are_bad_ones() -> None:
    table = decaying(12, seed=2)
    best = min(range(12), key=lambda number: table[number][-1])
    wild = [list(curve) for curve in table]
    worst = max(range(12), key=lambda number: table[number][-1])
    wild[worst] = [1e30] * 5
    assert search(wild).finite[f"T{best}"] == 4
    assert search(wild).finite[f"T{worst}"] == 0
    for other in (1e9, 50.0):  # how bad it is does not matter
        wild[worst] = [other] * 5
        assert search(wild).jobs == search([*wild[:worst], [1e30] * 5, *wild[worst + 1 :]]).jobs


def test_lost_ones_do_not_go_on() -> None:
    table = decaying(9)
    best = min(range(9), key=lambda number: table[number][-1])
    table[best] = [NAN] * 5
    driven = search(table, fails={"T3": 0, "T4": 1})
    assert {(f"T{best}", RUNGS[1]), ("T3", RUNGS[1]), ("T4", RUNGS[2])}.isdisjoint(driven.steps)
    assert 4 in driven.finite.values()


@pytest.mark.parametrize("keep", [1, 3])
def test_no_more_than_so_many_keep_their_checkpoints(keep: int) -> None:
    table, paused = decaying(15), set[str]()
    driven = search(table, keep=keep, workers=2)
    dropping = False
    for event, trial, level, _ in driven.events:
        if dropping and event != "prune":
            assert len(paused) <= keep
        dropping = event in ("result", "prune")
        if event == "result" and level < len(RUNGS) - 1:
            paused.add(trial)
        elif event != "result":
            paused.discard(trial)
    assert len(driven.pruned) >= 10
    assert 4 in driven.finite.values()


def test_nobody_is_dropped_before_all_were_started() -> None:
    driven = search(decaying(15))
    kinds = [event for event, *_ in driven.events]
    assert "prune" not in kinds[: 2 * 15]
    assert "prune" in kinds


def test_more_trials_after_the_end() -> None:
    table = decaying(8)
    scheduler = FreezeThaw(RUNGS, 8)
    driven = drive(scheduler, table)
    count = len(driven.jobs)
    scheduler.allowed = 11
    assert not scheduler.over
    best = [[score - 0.5 for score in curve] for curve in decaying(3, seed=9)]
    drive(scheduler, [*table, *best], past=driven)
    assert driven.steps[count : count + 3] == [(f"T{number}", RUNGS[0]) for number in (8, 9, 10)]
    assert {driven.finite[f"T{number}"] for number in (8, 9, 10)} >= {4}


@pytest.mark.parametrize("score", [0.0, 0.7])
def test_equal_scores_end_with_a_finished_trial(score: float) -> None:
    assert 4 in search([[score] * 5] * 6).finite.values()


def test_one_trial_and_one_rung() -> None:
    assert search([[5.0, 4.0, 3.0, 2.0, 1.0]]).steps == [("T0", rung) for rung in RUNGS]
    assert search([[2.0], [NAN], [1.0]], (3.0,), workers=2).steps == [("T0", 3.0), ("T1", 3.0), ("T2", 3.0)]


def test_the_reason_says_what_is_expected() -> None:
    driven = search(decaying(6))
    assert driven.jobs[0][2] == "not all trials have been started"
    assert "at the end," in driven.jobs[-1][2] and "% to be the best" in driven.jobs[-1][2]


def test_a_decision_follows_from_what_is_predicted() -> None:
    scheduler, table = FreezeThaw(RUNGS, 8), decaying(8, seed=5)
    for number in range(8):
        for level in range(3):
            scheduler.on_job(f"T{number}", RUNGS[level])
            scheduler.on_trial_result(f"T{number}", RUNGS[level], table[number][level])
    predictions = {f"T{number}": scheduler.prediction(f"T{number}") for number in range(8)}
    job = scheduler.next_job()
    assert job is not None and job.trial is not None and job.reason == str(predictions[job.trial])
    best = min(prediction.predicted for prediction in predictions.values() if prediction)
    for number, prediction in enumerate(predictions.values()):
        assert prediction is not None and abs(prediction.predicted - table[number][-1]) < 0.1
        lead = (best - prediction.predicted) / prediction.predicted_sd
        assert prediction.chance == pytest.approx(NormalDist().cdf(lead))
