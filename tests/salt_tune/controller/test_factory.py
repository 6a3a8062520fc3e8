"""From the name in a space to our scheduler."""

from typing import Any

import pytest

from salt_tune.controller.factory import make_scheduler
from salt_tune.schedulers.asha import Promotions
from salt_tune.schedulers.freeze_thaw import FreezeThaw
from salt_tune.space.schedule import Schedule
from tests.salt_tune.driving import drive


def schedule(scheduler: str, **entries: Any) -> Schedule:
    return Schedule.model_validate({"scheduler": scheduler, "epochs": 9, "first_rung": 1, "reports": 18, **entries})


def test_ours_by_name() -> None:
    asha = make_scheduler(schedule("asha", reduction_factor=3), 20)
    assert isinstance(asha, Promotions) and (asha.rungs, asha.trials) == ((1, 3, 9), 20)
    thaw = make_scheduler(schedule("freeze_thaw"), 20, keep=5)
    assert isinstance(thaw, FreezeThaw) and (thaw.rungs, thaw.trials) == ((1, 2, 3, 4, 6, 8, 9), 20)


def test_the_factor_and_the_number_that_is_kept_arrive() -> None:
    table = [[float(number)] * 7 for number in range(12)]
    halving = drive(
        make_scheduler(schedule("asha", first_rung=None, rungs=[1], reduction_factor=2), 12), [row[:2] for row in table]
    )
    assert sum(to == 9 for _, to in halving.steps) == 6
    kept = drive(make_scheduler(schedule("freeze_thaw"), 12, keep=2), table)
    assert len(kept.dropped) >= 9


@pytest.mark.parametrize("name", ["none", "asha_stop", "median", "hyperband"])
def test_the_others_go_to_the_end_where_nobody_stops_them(name: str) -> None:
    driven = drive(make_scheduler(schedule(name), 4), [[4.0], [3.0], [2.0], [1.0]])
    assert driven.steps == [(f"T{number}", 9) for number in range(4)]
