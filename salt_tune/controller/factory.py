"""From the names in a space to the objects that decide for it; knows nothing of Ray."""

from salt_tune.registry import SCHEDULERS, SEARCHERS
from salt_tune.schedulers.base import Scheduler
from salt_tune.searchers.base import Searcher
from salt_tune.space.schedule import Schedule
from salt_tune.space.search_space import SearchSpace


def make_scheduler(schedule: Schedule, allowed: int, keep: int | None = None) -> Scheduler:
    """The scheduler that a space names.

    Args:
        schedule: names it, and has its rungs.
        allowed: how many trials may be started.
        keep: paused trials that may keep a checkpoint; None: all.
    """
    return SCHEDULERS[schedule.scheduler](
        schedule.rung_points(),
        allowed,
        reduction_factor=schedule.reduction_factor,
        keep=keep,
        reports=schedule.report_points(),
    )


def make_searcher(space: SearchSpace, seed: int) -> Searcher:
    """The searcher that a space names.

    Args:
        space: names it, and has what is searched.
        seed: of its draws.
    """
    return SEARCHERS[space.searcher](
        space.conditions,
        seed=seed,
        start_from=space.start_from,
        trials=space.trials,
        objectives=2 if space.against else 1,
    )
