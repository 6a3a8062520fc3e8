"""Runs the trials of a search on Ray: the session, what each trial gets of the machine, the tuner, Ctrl-C."""

import logging
import math
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from analysis.run_directory.paths import RunDirectory
from salt_tune.controller.controller import Steering
from salt_tune.controller.factory import make_searcher
from salt_tune.ray_backend.environment import set_ray_environment
from salt_tune.ray_backend.temporary_folder import ray_folder
from salt_tune.resources.packing import measure_packing
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.errors import ConfigError, UserError
from trainable.model.size import ModelSize

if TYPE_CHECKING:
    from salt_tune.ray_backend.dispatcher import Dispatch

OBJECT_STORE_BYTES = 100 * 2**20  # trials share the clip store through the page cache, not through Ray
MOST_CONCURRENT_ON_CPU = 4
MOST_RESTARTS = 3  # of a trial whose worker died
PROBED = 6  # proposals that --concurrent auto measures
CHEAP_SECONDS = 30  # how long a first Ctrl-C waits for reports under way


@dataclass(frozen=True)
class Resources:
    """What each trial gets: `concurrent` of them at a time, with `cpus` threads and a share `gpus` of a GPU each."""

    concurrent: int
    cpus: int
    gpus: float


def share_out(concurrent: int | Literal["auto"] | None, gpus_per_trial: float | None) -> Resources:
    """What each trial gets of this machine, before anything is started.

    Args:
        concurrent: trials at a time; "auto": see `packed`, which begins with what None gives.
        gpus_per_trial: GPUs of each; None: all, shared evenly.

    Raises:
        UserError: so much is not there.
    """
    cores = len(os.sched_getaffinity(0))
    gpus = count_gpus() if gpus_per_trial != 0 else 0
    return _share(cores, gpus, None if concurrent == "auto" else concurrent, gpus_per_trial)


def count_gpus() -> int:
    """The GPUs that Ray will find: those of the machine that this process may see."""
    set_ray_environment()
    from ray._private.accelerators import get_accelerator_manager_for_resource

    manager = get_accelerator_manager_for_resource("GPU")
    visible = manager.get_current_process_visible_accelerator_ids()
    found = int(manager.get_current_node_num_accelerators())
    return found if visible is None else min(found, len(visible))


@contextmanager
def ray_session(resources: Resources) -> Iterator[None]:
    """Starts Ray on this machine, for as long as the search takes.

    Raises:
        UserError: Ray cannot be started.
    """
    set_ray_environment()
    import ray

    # A trial that fails gets a line of ours; its traceback lies in ray/.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    with ray_folder() as folder:
        ray.init(
            address="local",  # whatever RAY_ADDRESS says
            num_cpus=max(len(os.sched_getaffinity(0)), resources.concurrent),
            num_gpus=count_gpus(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            configure_logging=True,
            object_store_memory=OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
        )
        try:
            yield
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


def first_unbuildable(hyperparameters: list[dict[str, Any]]) -> tuple[int, ConfigError] | None:
    """Which configuration's student timm cannot build, and why; None where it builds all."""
    import ray

    from trainable.ray_trainable import check_students

    wrong: tuple[int, ConfigError] | None = ray.get(ray.remote(check_students).remote(hyperparameters))
    return wrong


def measure_sizes(hyperparameters: list[dict[str, Any]], store: ClipStore) -> list[ModelSize | None]:
    """What each configuration costs; None where it cannot be built, and would be a failed trial."""
    import ray

    from trainable.ray_trainable import measure_models

    found = ray.get(ray.remote(measure_models).remote(hyperparameters, store.view, store.teacher.dim))
    return [None if isinstance(size, ConfigError) else size for size in found]


def packed(resources: Resources, space: SearchSpace, store: ClipStore, seed: int) -> Resources:
    """What each trial gets, by measuring on the first proposals what pays."""
    searcher = make_searcher(space, seed)
    first = [parameters for number in range(PROBED) if (parameters := searcher.suggest(f"T{number}")) is not None]
    proposed = [space.hyperparameters(parameters, seed) for parameters in first]
    fitting = [values for values in proposed if _fits(values, store)]
    sizes = dict(enumerate(measure_sizes(fitting, store)))
    known = {number: size for number, size in sizes.items() if size is not None}
    if not known:
        console.print("--concurrent auto: none of the first proposals can be trained, so nothing can be measured")
        return resources
    packing = measure_packing(
        [fitting[number] for number in known],
        list(known.values()),
        store.path,
        evaluation=space.evaluation.model_dump(),
        cores=len(os.sched_getaffinity(0)),
        gpus=resources.concurrent if resources.gpus else 0,
        most=space.trials,
    )
    console.print(packing.why)
    return Resources(packing.concurrent, packing.cpus, packing.gpus)


def _fits(hyperparameters: dict[str, Any], store: ClipStore) -> bool:
    try:
        TrialConfig.from_dict(hyperparameters).check_data(store.view, len(store.train))
    except ConfigError:
        return False
    return True


def run_trials(run: RunDirectory, store: ClipStore, steering: Steering, resources: Resources) -> bool:
    """Runs trials until the search is over or told to stop.

    Returns:
        Whether it came to its end.

    Raises:
        UserError: a disk was full; the search can be resumed.
        KeyboardInterrupt: Ctrl-C was pressed twice; it can be resumed too.
    """
    from ray import tune

    from salt_tune.ray_backend.dispatcher import Dispatch, Following, Pausing, Proposer
    from salt_tune.ray_backend.loggers import onlookers
    from trainable.ray_trainable import VJepaTrainable

    space = steering.space
    dispatch = Dispatch(steering, resources.concurrent)
    tuner = tune.Tuner(
        tune.with_resources(VJepaTrainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
        param_space={"task": _task(run, space, store, resources)},
        tune_config=tune.TuneConfig(
            search_alg=Proposer(dispatch),
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
    try:
        with _interruptible(dispatch):
            tuner.fit()
    except Exception as error:  # on a full disk, Ray fails in many ways, and cannot read its own files after it
        dispatch.failure = dispatch.failure or _full_disk(error, run)
        if dispatch.failure is None:
            raise
    if dispatch.failure is not None:
        raise dispatch.failure
    return not dispatch.stopping


def _full_disk(error: BaseException, run: RunDirectory) -> UserError | None:
    """The error in words, where it comes from a full disk."""
    from salt_tune.ray_backend.dispatcher import FREE_SOME, FULL_DISK

    text = "".join(traceback.format_exception(error))
    return UserError(f"{run.path}: {FULL_DISK}{FREE_SOME}") if FULL_DISK in text else None


def _task(run: RunDirectory, space: SearchSpace, store: ClipStore, resources: Resources) -> dict[str, Any]:
    """What all trials share; see `trainable.ray_trainable`."""
    schedule = space.schedule
    points = schedule.report_points()
    # The probe is a pass over all clips: where it decides, at every rung; elsewhere at whole epochs and at the end.
    if space.objective.needs_probe:
        probed: tuple[float, ...] = schedule.rung_points()
    else:
        probed = tuple(p for p in points if p == points[-1] or (schedule.resource == "epoch" and p.is_integer()))
    return {
        "store": str(store.path.absolute()),
        "evaluation": space.evaluation.model_dump(),
        "resource": {
            "kind": schedule.resource,
            "full": schedule.full,
            "points": list(points),
            "probe_points": list(probed),
        },
        "checkpoints": str(run.checkpoints),
        "clip_losses": run.clip_losses_pattern,
        "threads": resources.cpus,
        "device": "cuda" if resources.gpus else "cpu",
        "gpu_share": resources.gpus if 0 < resources.gpus < 1 else 1.0,
    }


@contextmanager
def _interruptible(dispatch: "Dispatch") -> Iterator[None]:
    """Ctrl-C once lets reports under way come in; a second one leaves at once, as SIGTERM does."""

    def interrupted(*_: Any) -> None:
        if dispatch.stopping:
            raise KeyboardInterrupt
        dispatch.drain(CHEAP_SECONDS)
        console.print(f"Stopping: waits up to {CHEAP_SECONDS} s for reports under way; Ctrl-C again leaves at once.")

    def terminated(*_: Any) -> None:
        raise KeyboardInterrupt

    handlers = {signal.SIGINT: interrupted, signal.SIGTERM: terminated}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"]["id"])
