"""From names to objects, and from a run directory to the controller of its search; knows nothing of Ray."""

from collections.abc import Mapping
from typing import Any

from analysis.run_directory.paths import RunDirectory
from salt_tune.callbacks.base import Callback
from salt_tune.controller.controller import Controller
from salt_tune.controller.settings import Settings
from salt_tune.registry import CALLBACKS, SCHEDULERS, SEARCHERS
from salt_tune.runs.journal import Journal
from salt_tune.runs.warm_start import remembered_trials
from salt_tune.schedulers.base import Scheduler
from salt_tune.searchers.base import Searcher
from salt_tune.space.schedule import Schedule
from salt_tune.space.search_space import SearchSpace


def make_scheduler(schedule: Schedule, allowed: int, keep: int | None = None) -> Scheduler:
    """Returns the scheduler that a space names.

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
    """Returns the searcher that a space names.

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


def make_callbacks(run: RunDirectory, space: SearchSpace, wanted: Mapping[str, Mapping[str, Any]]) -> list[Callback]:
    """Returns what follows a search, by name with its settings; its study always does."""
    return [CALLBACKS[name](run, space, **settings) for name, settings in {"optuna_study": {}, **wanted}.items()]


def open_controller(run: RunDirectory, manifest: dict[str, Any], space: SearchSpace) -> Controller:
    """Returns the search as its journal left it; at its beginning where there is none.

    Args:
        run: the run directory; what workers left half written when they were killed is removed from it.
        manifest: its run.json.
        space: its space.yaml.

    Raises:
        RunError: the journal or the reports are damaged.
    """
    for pattern in ("checkpoints/.*.tmp", "clip_losses/*/.*.tmp", "answers/*/.*.tmp", "baselines/**/.*.tmp"):
        for left in run.path.glob(pattern):
            left.unlink(missing_ok=True)
    settings = Settings(**{name: manifest[name] for name in Settings.__dataclass_fields__})
    searcher = make_searcher(space, settings.seed)
    searcher.warm_start(remembered_trials(manifest))
    controller = Controller(
        space=space,
        settings=settings,
        scheduler=make_scheduler(space.schedule, space.trials, settings.keep_checkpoints),
        searcher=searcher,
        run=run,
        journal=Journal(run.decisions),
        reports=Journal(run.reports),
    )
    controller.resume()
    return controller
