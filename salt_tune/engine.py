"""Runs the trials of a search on Ray: the session, what each trial gets of the machine, the scheduler, the tuner."""

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from salt_tune.records import TrialRecord
from salt_tune.run import RunDirectory
from salt_tune.searcher import Proposal
from salt_tune.space import METRIC_MODES, SearchSpace
from trainable.data.store import ClipStore
from trainable.errors import UserError

if TYPE_CHECKING:
    from salt_tune.recorder import Recorder

OBJECT_STORE_BYTES = 100 * 2**20  # trials share the clip store through the page cache, not through Ray
MOST_CONCURRENT_ON_CPU = 4

RAY_ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean the same in a trial as on the command line
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # probe_top1 comes at whole epochs only
    "TUNE_WARN_THRESHOLD_S": "60",
}


@dataclass(frozen=True)
class Resources:
    """What each trial gets: `concurrent` of them at a time, with `cpus` threads and a share `gpus` of a GPU each."""

    concurrent: int
    cpus: int
    gpus: float


@contextmanager
def ray_session(concurrent: int | None, gpus_per_trial: float | None) -> Iterator[Resources]:
    """Starts Ray on this machine, for as long as the search takes."""
    os.environ.update({name: value for name, value in RAY_ENVIRONMENT.items() if name not in os.environ})
    import ray

    # A trial that fails gets a line of ours; its traceback lies in ray/.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    cores = len(os.sched_getaffinity(0))
    ray.init(
        num_cpus=max(cores, concurrent or 1),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        configure_logging=True,
        object_store_memory=OBJECT_STORE_BYTES,
        _node_ip_address="127.0.0.1",
    )
    try:
        yield _share(cores, int(ray.cluster_resources().get("GPU", 0)), concurrent, gpus_per_trial)
    finally:
        ray.shutdown()


def _share(cores: int, gpus: int, concurrent: int | None, gpus_per_trial: float | None) -> Resources:
    if gpus_per_trial and gpus_per_trial > gpus:
        found = f"has {gpus}" if gpus else "has none"
        raise UserError(
            f"--gpus-per-trial = {gpus_per_trial:g}: this machine {found}; leave it out to use what is there"
        )
    if gpus_per_trial and gpus_per_trial > 1 and not gpus_per_trial.is_integer():
        raise UserError(f"--gpus-per-trial = {gpus_per_trial:g}: must be a whole number, or below 1")
    if gpus and gpus_per_trial != 0:
        concurrent = concurrent or (math.floor(gpus / gpus_per_trial) if gpus_per_trial else gpus)
        share = gpus_per_trial or (gpus // concurrent if concurrent <= gpus else 1 / math.ceil(concurrent / gpus))
        if share * concurrent > gpus:
            raise UserError(
                f"--concurrent = {concurrent}: with --gpus-per-trial {share:g} at most {math.floor(gpus / share)} fit"
            )
    else:
        concurrent, share = concurrent or min(cores, MOST_CONCURRENT_ON_CPU), 0.0
    return Resources(concurrent, max(1, cores // concurrent), share)


def count_all_parameters(proposals: list[Proposal], store: ClipStore) -> dict[str, TrialRecord]:
    """The records of all trials, after timm has agreed to build each of them."""
    import ray

    from trainable.ray_trainable import count_parameters

    configs = [proposal.config.to_dict() for proposal in proposals]
    counts = ray.get(ray.remote(count_parameters).remote(configs, store.view, store.teacher.dim))
    if isinstance(counts, UserError):
        raise counts
    return {proposal.id: TrialRecord(proposal, *count) for proposal, count in zip(proposals, counts, strict=True)}


def run_trials(
    run: RunDirectory,
    space: SearchSpace,
    store: ClipStore,
    trials: list[TrialRecord],
    resources: Resources,
    recorder: "Recorder",
) -> None:
    """Runs all trials to the end of the search, or to Ctrl-C; what comes of them is told to `recorder`."""
    from ray import tune
    from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler

    from trainable.ray_trainable import VJepaTrainable

    schedule = space.schedule
    task = {
        "store": str(store.path.absolute()),
        "evaluation": space.evaluation.model_dump(),
        "reports_per_epoch": schedule.reports_per_epoch,
        "clip_losses": run.clip_losses_pattern,
        "threads": resources.cpus,
        "device": "cuda" if resources.gpus else "cpu",
    }
    points = [{"id": record.id, "hyperparameters": record.proposal.config.to_dict()} for record in trials]
    scheduler: Any = FIFOScheduler()
    if schedule.scheduler == "asha":
        scheduler = AsyncHyperBandScheduler(
            time_attr="epoch",
            max_t=schedule.epochs,
            grace_period=schedule.grace_epochs,
            reduction_factor=schedule.reduction_factor,
        )
    tuner = tune.Tuner(
        tune.with_resources(VJepaTrainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
        param_space={"task": task, "trial": tune.grid_search(points)},
        tune_config=tune.TuneConfig(
            metric=space.objective,
            mode=METRIC_MODES[space.objective],
            scheduler=scheduler,
            max_concurrent_trials=resources.concurrent,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=run.ray.name,
            storage_path=str(run.path),
            callbacks=[recorder],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_frequency=schedule.reports_per_epoch),
        ),
    )
    tuner.fit()


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"]["id"])
