"""How long a trial trains, in which unit, where it reports, and where trials are compared."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salt_tune.space.schedule import Schedule
from salt_tune.space.search_space import SpaceError
from salt_tune.space.space_file import load_space
from tests.salt_tune.made_trials import make_space
from tests.salt_tune.space_files import content, refusal, write


@pytest.mark.parametrize(
    ("entries", "rungs"),
    [
        ({"epochs": 3, "first_rung": 1}, [1, 3]),
        ({"epochs": 10, "first_rung": 1}, [1, 3, 9, 10]),
        ({"epochs": 8, "first_rung": 2, "reduction_factor": 2}, [2, 4, 8]),
        ({"epochs": 3, "first_rung": 3}, [3]),
        ({"epochs": 3, "reports": 12}, [0.25, 0.75, 2.25, 3]),
        ({"epochs": 3, "reports": 1}, [3]),
        ({"epochs": 10, "first_rung": 1, "scheduler": "none"}, [10]),
        ({"epochs": 3, "rungs": [0.5, 1, 2]}, [0.5, 1, 2, 3]),
        ({"epochs": 3, "rungs": [0.5, 1, 3]}, [0.5, 1, 3]),
        ({"tflops": 900, "first_rung": 50}, [50, 150, 450, 900]),
        ({"seconds": 60, "reports": 6, "scheduler": "hyperband"}, [10, 30, 60]),
        ({"epochs": 8, "first_rung": 1, "scheduler": "freeze_thaw"}, [1, 2, 3, 4, 6, 8]),
        ({"epochs": 3, "reports": 6, "scheduler": "freeze_thaw"}, [0.5, 1, 1.5, 2, 3]),
    ],
)
def test_rungs_are_where_trials_are_compared(entries: dict[str, Any], rungs: list[float]) -> None:
    assert Schedule.model_validate({"scheduler": "asha", **entries}).rung_points() == pytest.approx(tuple(rungs))


@pytest.mark.parametrize(
    ("entries", "points"),
    [
        ({"epochs": 3, "first_rung": 1, "reports": 6}, [0.5, 1, 1.5, 2, 2.5, 3]),
        ({"epochs": 3, "first_rung": 1, "reports": 2}, [1, 1.5, 3]),
        ({"epochs": 3, "rungs": [1.2], "reports": 3}, [1, 1.2, 2, 3]),
        ({"seconds": 10, "scheduler": "none", "reports": 4}, [2.5, 5, 7.5, 10]),
    ],
)
def test_reports_come_evenly_and_at_rungs(entries: dict[str, Any], points: list[float]) -> None:
    assert Schedule.model_validate({"scheduler": "asha", **entries}).report_points() == pytest.approx(tuple(points))


@pytest.mark.parametrize(
    ("entries", "points"),
    [
        ({"epochs": 3, "reports": 6}, [1, 3]),
        ({"epochs": 3, "first_rung": 0.25, "reports": 12}, [0.25, 1, 3]),
        ({"epochs": 3, "reports": 6, "reduction_factor": 2}, [0.5, 1.5, 3]),
        ({"epochs": 9, "first_rung": 1, "scheduler": "asha"}, [1, 3, 9]),
        ({"epochs": 10, "first_rung": 1, "scheduler": "asha"}, [1, 3, 10]),
        ({"tflops": 900, "first_rung": 100, "scheduler": "asha"}, [100, 300, 900]),
        ({"epochs": 3, "scheduler": "none"}, [3]),
    ],
)
def test_features_are_probed_at_rungs_that_lie_apart(entries: dict[str, Any], points: list[float]) -> None:
    schedule = Schedule.model_validate(entries)
    assert schedule.probe_points() == pytest.approx(tuple(points))
    assert set(schedule.probe_points()) <= set(schedule.rung_points())


def test_features_are_probed_at_every_rung_where_that_decides() -> None:
    for objective, every in (("val_loss", False), ("probe_top1", True), ({"val_loss": 1, "knn_top1": 1}, True)):
        space = make_space(objective=objective)
        assert (space.probe_points() == space.schedule.rung_points()) == every


def test_points_that_are_almost_one_are_the_rung() -> None:
    schedule = Schedule(epochs=3, rungs=(1 + 1e-12, 3 - 1e-12), reports=3)
    assert schedule.rung_points() == (1 + 1e-12, 3)
    assert schedule.report_points() == (1 + 1e-12, 2, 3)


def test_the_unit() -> None:
    assert (Schedule().resource, Schedule().full) == ("epoch", 3)
    assert (Schedule(tflops=500).resource, Schedule(tflops=500).full) == ("tflop", 500)
    assert (Schedule(seconds=0.5).resource, Schedule(seconds=0.5).full) == ("second", 0.5)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Any schedule that is not refused."""
    unit, full = draw(st.sampled_from(["epochs", "tflops", "seconds"])), draw(st.floats(1e-6, 1e12))
    within = st.floats(1e-6, 1, exclude_min=True).map(lambda share: share * full)
    entries: dict[str, Any] = {
        unit: full,
        "scheduler": draw(st.sampled_from(["freeze_thaw", "asha", "asha_stop", "median", "hyperband", "none"])),
        "reduction_factor": draw(st.floats(2, 8)),
        "reports": draw(st.integers(1, 60)),
    }
    match draw(st.sampled_from(["first_rung", "rungs", "neither"])):
        case "first_rung":
            entries["first_rung"] = draw(within)
        case "rungs":
            entries["rungs"] = sorted(draw(st.sets(within, min_size=1, max_size=8)))
    return Schedule.model_validate(entries)


@given(schedule=schedules())
@settings(max_examples=60, deadline=None)
def test_points_of_any_schedule_ascend_to_the_full_trial(schedule: Schedule) -> None:
    rungs, reports = schedule.rung_points(), schedule.report_points()
    for points in (rungs, reports):
        assert points[-1] == schedule.full
        assert points[0] > 0
        assert all(earlier < later for earlier, later in itertools.pairwise(points))
    assert set(rungs) <= set(reports)
    for number in range(1, schedule.reports + 1):
        even = number * schedule.full / schedule.reports
        assert any(abs(point - even) <= 1.1e-9 * schedule.full for point in reports)
    assert len(reports) <= len(rungs) + schedule.reports
    assert Schedule.model_validate(schedule.model_dump(mode="json")) == schedule


MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "misspelt scheduler": ({"scheduler": "ahsa"}, ["schedule.scheduler = 'ahsa'", "did you mean 'asha'?"]),
    "a scheduler like no other": (
        {"scheduler": "pbt"},
        ["scheduler = 'pbt'", "known are freeze_thaw, asha, asha_stop"],
    ),
    "a unit like no other": ({"hours": 3}, ["schedule.hours", "known are", "tflops, seconds"]),
    "two units": (
        {"epochs": 3, "tflops": 500},
        ["schedule.tflops = 500", "epochs = 3", "set schedule.tflops instead of schedule.epochs", "null"],
    ),
    "a first rung of nothing": (
        {"epochs": 3, "first_rung": 1e-9},
        ["schedule.first_rung = 1e-09", "at least a millionth of epochs = 3"],
    ),
    "no epochs": ({"epochs": 0}, ["schedule.epochs = 0"]),
    "endless": ({"seconds": float("inf")}, ["schedule.seconds = inf"]),
    "first rung beyond the end": ({"tflops": 10, "first_rung": 11}, ["schedule.first_rung = 11", "tflops = 10"]),
    "first rung at 0": ({"first_rung": 0}, ["schedule.first_rung = 0: must be above 0"]),
    "reduction below 2": ({"reduction_factor": 1.9}, ["schedule.reduction_factor = 1.9", "2"]),
    "rungs beyond the end": ({"epochs": 2, "rungs": [1, 3]}, ["schedule.rungs = [1, 3]", "must not exceed epochs = 2"]),
    "rungs out of order": ({"rungs": [2, 1]}, ["schedule.rungs = [2, 1]", "ascending"]),
    "a rung twice": ({"rungs": [1, 1]}, ["schedule.rungs = [1, 1]", "ascending"]),
    "a rung at 0": ({"rungs": [0, 1]}, ["schedule.rungs.0 = 0: must be above 0"]),
    "a rung that is no list": ({"rungs": 0.5}, ["schedule.rungs = 0.5: must be a list, such as [0.5]"]),
    "no rungs": ({"rungs": []}, ["schedule.rungs = []", "at least one"]),
    "rungs and a first one": ({"first_rung": 1, "rungs": [1, 3]}, ["schedule.rungs = [1, 3]", "first_rung = 1"]),
    "no reports": ({"reports": 0}, ["schedule.reports = 0"]),
}


@pytest.mark.parametrize(("entries", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_one_line(tmp_path: Path, entries: dict[str, Any], words: list[str]) -> None:
    message = refusal(write(tmp_path, {**content(), "schedule": entries}), "schedule.")
    for word in words:
        assert word in message


def test_epochs_asked_of_a_file_in_another_unit_say_which_entry_to_set(tmp_path: Path) -> None:
    path = str(write(tmp_path, {**content(), "schedule": {"tflops": 500}}))
    with pytest.raises(
        SpaceError, match=r"schedule\.tflops = 500: stands beside epochs = 5.*set schedule\.tflops inst"
    ):
        load_space(path, {"schedule.epochs": 5})
    assert load_space(path, {"schedule.epochs": 5, "schedule.tflops": None}).schedule.full == 5
    assert load_space(path, {"schedule.tflops": 50}).schedule.full == 50
