"""From the name in a space to Ray's own scheduler."""

from typing import Any

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandScheduler, MedianStoppingRule

from salt_tune.ray_backend.native_schedulers import make_ray_scheduler
from salt_tune.space.objective import Objective
from tests.salt_tune.controller.test_factory import schedule
from trainable.errors import UserError

VAL_LOSS = Objective.parse("val_loss")


@pytest.mark.parametrize("name", ["asha", "freeze_thaw", "none"])
def test_ours_are_none_of_rays(name: str) -> None:
    assert make_ray_scheduler(schedule(name), VAL_LOSS) is None
    assert make_ray_scheduler(schedule(name), Objective.parse({"val_loss": 0.8, "probe_top1": 0.2})) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [("asha_stop", AsyncHyperBandScheduler), ("median", MedianStoppingRule), ("hyperband", HyperBandScheduler)],
)
@pytest.mark.parametrize("metric", ["val_loss", "val_r2"])
@pytest.mark.parametrize("entries", [{}, {"first_rung": None, "reports": 36}, {"epochs": 0.5, "first_rung": 0.1}])
def test_rays_by_name(name: str, kind: type, metric: str, entries: dict[str, Any]) -> None:
    objective = Objective.parse(metric)
    made = make_ray_scheduler(schedule(name, **entries), objective)
    assert isinstance(made, kind)
    assert made.metric == metric  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["asha_stop", "median", "hyperband"])
def test_a_pair_of_metrics_is_refused_for_rays(name: str) -> None:
    with pytest.raises(UserError) as caught:
        make_ray_scheduler(schedule(name), Objective.parse({"val_loss": 0.8, "probe_top1": 0.2}))
    message = str(caught.value)
    assert message.startswith(f"schedule.scheduler = '{name}': ") and "\n" not in message
    assert "asha" in message and "freeze_thaw" in message
