"""From the names in a space to its scheduler and its searcher."""

from typing import Any

import pytest

from salt_tune.controller.factory import make_scheduler, make_searcher
from salt_tune.registry import SCHEDULERS, SEARCHERS
from salt_tune.schedulers.freeze_thaw import FreezeThaw
from salt_tune.space.schedule import Schedule
from tests.salt_tune.driving import drive
from tests.salt_tune.made_trials import make_space


def schedule(scheduler: str, **entries: Any) -> Schedule:
    return Schedule.model_validate({"scheduler": scheduler, "epochs": 9, "first_rung": 1, "reports": 18, **entries})


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_by_name(name: str) -> None:
    made = make_scheduler(schedule(name), 20)
    assert type(made) is SCHEDULERS[name]
    assert made.allowed == 20 and made.rungs[-1] == 9


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_searcher_by_name(name: str) -> None:
    assert type(make_searcher(make_space(searcher=name), seed=0)) is SEARCHERS[name]


def test_the_rungs_arrive() -> None:
    assert make_scheduler(schedule("asha", reduction_factor=3), 20).rungs == (1, 3, 9)
    assert make_scheduler(schedule("freeze_thaw"), 20).rungs == (1, 2, 3, 4, 6, 8, 9)
    assert make_scheduler(schedule("none"), 20).rungs == (9,)
    for native in ("asha_stop", "median", "hyperband"):
        assert make_scheduler(schedule(native), 20).rungs == schedule(native).report_points()


def test_the_factor_and_the_number_that_is_kept_arrive() -> None:
    table = [[float(number)] * 7 for number in range(12)]
    halving = drive(
        make_scheduler(schedule("asha", first_rung=None, rungs=[1], reduction_factor=2), 12), [row[:2] for row in table]
    )
    assert sum(milestone == 9 for _, milestone in halving.steps) == 6
    assert isinstance(thaw := make_scheduler(schedule("freeze_thaw"), 12, keep=2), FreezeThaw)
    assert len(drive(thaw, table).pruned) >= 9
