"""From the name in a space to who decides which trial goes on; knows nothing of Ray."""

from salt_tune.schedulers.asha import Promotions, Scheduler
from salt_tune.schedulers.freeze_thaw import FreezeThaw
from salt_tune.space.schedule import Schedule


def make_scheduler(schedule: Schedule, trials: int, keep: int | None = None) -> Scheduler:
    """The scheduler that a space names; for one of Ray's, the one that lets all trials go to the end.

    Args:
        schedule: names it, and has its rungs.
        trials: how many trials may be started.
        keep: paused trials that may keep a checkpoint, for freeze_thaw.
    """
    if schedule.scheduler == "freeze_thaw":
        return FreezeThaw(schedule.rung_points(), trials, keep)
    if schedule.scheduler == "asha":
        return Promotions(schedule.rung_points(), trials, schedule.reduction_factor)
    return Promotions((schedule.full,), trials, schedule.reduction_factor)
