"""Ray on this machine for as long as a search takes, and what is measured there before its first trial."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from salt_tune.controller.factory import make_searcher
from salt_tune.ray_backend.environment import set_ray_environment
from salt_tune.ray_backend.temporary_folder import ray_folder
from salt_tune.resources.allocation import Resources, share_out
from salt_tune.resources.packing import measure_packing
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.errors import ConfigError
from trainable.model.size import ModelSize

OBJECT_STORE_BYTES = 100 * 2**20  # trials share the clip store through the page cache, not through Ray
PROBED = 6  # suggestions that --concurrent auto measures


def machine_share(concurrent: int | Literal["auto"] | None, gpus_per_trial: float | None) -> Resources:
    """Shares this machine out among trials, before anything is started.

    Args:
        concurrent: trials at a time; "auto": see `packed`, which begins with what None gives.
        gpus_per_trial: GPUs of each; None: all, shared evenly.

    Raises:
        UserError: so much is not there.
    """
    cores = len(os.sched_getaffinity(0))
    gpus = count_gpus() if gpus_per_trial != 0 else 0
    return share_out(cores, gpus, None if concurrent == "auto" else concurrent, gpus_per_trial)


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
    """What each trial gets, by measuring on the first suggestions what pays."""
    searcher = make_searcher(space, seed)
    first = [parameters for number in range(PROBED) if (parameters := searcher.suggest(f"T{number}")) is not None]
    suggested = [space.hyperparameters(parameters, seed) for parameters in first]
    fitting = [values for values in suggested if _fits(values, store)]
    sizes = dict(enumerate(measure_sizes(fitting, store)))
    known = {number: size for number, size in sizes.items() if size is not None}
    if not known:
        console.print("--concurrent auto: none of the first suggestions can be trained, so nothing can be measured")
        return resources
    packing = measure_packing(
        [fitting[number] for number in known],
        list(known.values()),
        store.path,
        evaluation=space.evaluation.to_dict(),
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
