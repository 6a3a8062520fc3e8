"""Runs the trials of a search in Ray's Tuner, until it is over, the disk is full, or a signal ends it."""

import signal
from dataclasses import asdict
from typing import Any

from analysis.run_directory.paths import RunDirectory
from salt_tune.controller.controller import Controller
from salt_tune.resources.allocation import Resources
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from salt_tune.ui.full_disk import RESUME, comes_from_full_disk, full_disk_line
from salt_tune.ui.signals import asked_to_stop
from trainable.budget import Budget
from trainable.errors import UserError
from trainable.worker import Dataset, RunSpec

MOST_RESTARTS = 3  # of a trial whose worker died
CHEAP_SECONDS = 30  # how long a first Ctrl-C waits for reports under way


def run_trials(run: RunDirectory, data: Dataset, controller: Controller, resources: Resources) -> bool:
    """Runs trials until the search is over or told to stop.

    Returns:
        Whether it came to its end.

    Raises:
        UserError: a disk was full; the search can be resumed.
        KeyboardInterrupt: Ctrl-C was pressed twice; it can be resumed too.
    """
    from ray import tune

    from salt_tune.ray_backend.dispatcher import Dispatch
    from salt_tune.ray_backend.loggers import onlookers
    from salt_tune.ray_backend.tune_adapters import Following, Pausing, Suggesting
    from trainable.ray_trainable import TaskTrainable

    space = controller.space
    dispatch = Dispatch(controller, resources.concurrent)
    tuner = tune.Tuner(
        tune.with_resources(TaskTrainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
        param_space={"run": asdict(_run_spec(run, space, data, resources))},
        tune_config=tune.TuneConfig(
            search_alg=Suggesting(dispatch),
            scheduler=Pausing(dispatch),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=f"session-{len(list(run.ray.glob('session-*')))}",
            storage_path=str(run.ray),
            callbacks=[Following(dispatch), *onlookers()],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=MOST_RESTARTS),
        ),
    )

    def drain() -> None:
        dispatch.drain(CHEAP_SECONDS)
        console.print(f"Stopping: waits up to {CHEAP_SECONDS} s for reports under way; Ctrl-C again leaves at once.")

    try:
        with asked_to_stop(drain, lambda: dispatch.stopping, gentle=(signal.SIGINT,)):
            tuner.fit()
    except Exception as error:  # on a full disk, Ray fails in many ways, and cannot read its own files after it
        if dispatch.failure is None and comes_from_full_disk(error, run.path):
            dispatch.failure = UserError(full_disk_line(run.path, RESUME))
        if dispatch.failure is None:
            raise
    if dispatch.failure is not None:
        raise dispatch.failure
    return not dispatch.stopping


def _run_spec(run: RunDirectory, space: SearchSpace, data: Dataset, resources: Resources) -> RunSpec:
    """Returns what all trials share."""
    schedule = space.schedule
    return RunSpec(
        task=space.task.name,
        data=str(data.path.absolute()),
        evaluation=space.evaluation,
        budget=Budget(schedule.resource, schedule.full, [*schedule.report_points()], [*space.probe_points()]),
        checkpoints=str(run.checkpoints),
        clip_losses=run.clip_losses_pattern,
        panel_answers=run.answers_pattern,
        baselines=str(run.baselines),
        threads=resources.cpus,
        device="cuda" if resources.gpus else "cpu",
        gpu_share=resources.gpus if 0 < resources.gpus < 1 else 1.0,
    )


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"]["id"])
