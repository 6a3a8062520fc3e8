"""Ray's own schedulers, which a space can name for comparison."""

from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandScheduler, MedianStoppingRule, TrialScheduler

from analysis.run_directory.trials import TrialState
from salt_tune.controller.controller import Controller
from salt_tune.space.objective import Objective
from salt_tune.space.schedule import Schedule
from trainable.errors import UserError

OURS = ("freeze_thaw", "asha", "none")  # the rest is Ray's


def make_ray_scheduler(schedule: Schedule, objective: Objective) -> TrialScheduler | None:
    """Ray's own scheduler of that name; None where the name is one of ours.

    Raises:
        UserError: a pair of metrics, of which Ray knows nothing.
    """
    if schedule.scheduler in OURS:
        return None
    if objective.is_pair:
        raise UserError(
            f"schedule.scheduler = {schedule.scheduler!r}: takes one metric, no pair; set {', '.join(OURS)}"
        )
    shared: dict[str, Any] = {"metric": objective.metrics[0], "mode": objective.mode}
    first, factor = schedule.rung_points()[0], schedule.reduction_factor
    if schedule.scheduler == "asha_stop":
        return AsyncHyperBandScheduler(
            time_attr="resource", max_t=schedule.full, grace_period=first, reduction_factor=factor, **shared
        )
    if schedule.scheduler == "median":
        return MedianStoppingRule(time_attr="resource", grace_period=first, **shared)
    # HyperBand counts in whole numbers.
    reports = len(schedule.report_points())
    return HyperBandScheduler(time_attr="training_iteration", max_t=reports, reduction_factor=factor, **shared)


def remind(scheduler: Any, search: Controller) -> None:
    """Tells one of Ray's schedulers what it had seen before the search was taken up again; it keeps nothing itself.

    Raises:
        UserError: it is HyperBand, which cannot be told.
    """
    idle = [trial for trial in search.trials.values() if trial.state is not TrialState.RUNNING]
    if not search.trials:
        return
    if isinstance(scheduler, HyperBandScheduler):
        raise UserError(
            "schedule.scheduler = 'hyperband': Ray keeps its brackets in memory, so this run cannot be resumed"
        )
    objective = search.space.objective
    sign = 1 if objective.mode == "min" else -1
    controller = SimpleNamespace(get_live_trials=list)
    for known in idle:
        trial = SimpleNamespace(trial_id=known.id)
        scheduler.on_trial_add(controller, trial)
        for point, score in sorted(known.scores.items()):
            scheduler.on_trial_result(controller, trial, {"resource": point, objective.metrics[0]: sign * score})
