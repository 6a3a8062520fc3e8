"""Ray on this machine for as long as a command needs it, and what is measured there before its first trial."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from salt_tune.controller.factory import make_searcher
from salt_tune.ray_backend.environment import set_ray_environment
from salt_tune.ray_backend.temporary_folder import ray_folder
from salt_tune.resources.allocation import Resources, share_out
from salt_tune.resources.packing import measure_packing
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from trainable.errors import ConfigError, UserError
from trainable.model.size import ModelSize
from trainable.task import Size, Task
from trainable.worker import Config, Dataset

OBJECT_STORE_BYTES = 100 * 2**20  # trials share the clip store through the page cache, not through Ray
STARTS = 3  # of Ray, before the search gives up
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
    """Counts the GPUs that Ray will find: those of the machine that this process may see."""
    set_ray_environment()
    from ray._private.accelerators import get_accelerator_manager_for_resource

    manager = get_accelerator_manager_for_resource("GPU")
    visible = manager.get_current_process_visible_accelerator_ids()
    found = int(manager.get_current_node_num_accelerators())
    return found if visible is None else min(found, len(visible))


@contextmanager
def ray_session(resources: Resources) -> Iterator[Path]:
    """Starts Ray on this machine, for as long as a search or a final run takes; yields its folder, gone at the end.

    Raises:
        UserError: Ray cannot be started.
    """
    set_ray_environment()
    _heed_environment()
    import ray

    with ray_folder() as folder:
        _start(resources, folder)
        try:
            yield folder
        finally:
            ray.shutdown()


def _start(resources: Resources, folder: Path) -> None:
    """Starts Ray, again where another one that starts at the same moment has taken its port.

    Ray looks for a free port, leaves it, and takes it some time later. The other's token then does not fit.

    Raises:
        UserError: it does not start.
    """
    import ray

    for left in reversed(range(STARTS)):
        try:
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
        except (RuntimeError, ray.exceptions.RayError) as error:
            ray.shutdown()
            if not left:
                why = str(error).strip().splitlines()[0]
                raise UserError(f"Ray does not start: {why}") from error
        else:
            return


def _heed_environment() -> None:
    """Says what the environment asks of Ray that is not done, or is not safe."""
    if address := os.environ.pop("RAY_ADDRESS", None):
        console.print(f"RAY_ADDRESS = {address}: is ignored, as a search starts a Ray of its own")
    if (mode := os.environ.get("RAY_AUTH_MODE", "token")) != "token":
        console.warn(f"RAY_AUTH_MODE = {mode}: all that reach this machine's ports can run code as you")


def first_unbuildable(task: Task, configs: list[Config]) -> tuple[int, ConfigError] | None:
    """Returns which configuration's model cannot be built, and why; None where all can. See `Task.check_models`."""
    import ray

    from trainable.trial_process import check_models

    wrong: tuple[int, ConfigError] | None = ray.get(ray.remote(check_models).remote(task.name, configs))
    return wrong


def measure_sizes(task: Task, configs: list[Config], data: Dataset) -> list[Size | None]:
    """Measures what each configuration's model takes; None where it cannot be built, and would be a failed trial."""
    import ray

    from trainable.trial_process import measure_models

    found = ray.get(ray.remote(measure_models).remote(task.name, configs, data.geometry))
    return [None if isinstance(size, ConfigError) else size for size in found]


def check_packing(task: Task, concurrent: int | Literal["auto"] | None) -> None:
    """Refuses to measure what `packed` cannot.

    Raises:
        UserError: `--concurrent auto`, and a task that it is not made for.
    """
    if concurrent == "auto" and not task.measures_packing:
        raise UserError(f"--concurrent = auto: cannot measure trials of {task.name}; give a number, or leave it out")


def packed(resources: Resources, space: SearchSpace, data: Dataset, seed: int) -> Resources:
    """Returns what each trial gets, by measuring on the first suggestions what pays; see `check_packing`."""
    searcher = make_searcher(space, seed)
    first = [parameters for number in range(PROBED) if (parameters := searcher.suggest(f"T{number}")) is not None]
    suggested = [space.hyperparameters(parameters, seed) for parameters in first]
    fitting = [config for config in suggested if _fits(space.task, config, data)]
    sizes = dict(enumerate(measure_sizes(space.task, fitting, data)))
    known = {number: size for number, size in sizes.items() if isinstance(size, ModelSize)}
    if not known:
        console.print("--concurrent auto: none of the first suggestions can be trained, so nothing can be measured")
        return resources
    packing = measure_packing(
        [fitting[number] for number in known],
        list(known.values()),
        data.path,
        evaluation=space.evaluation,
        cores=len(os.sched_getaffinity(0)),
        gpus=resources.concurrent if resources.gpus else 0,
        most=space.trials,
    )
    console.print(packing.why)
    return Resources(packing.concurrent, packing.cpus, packing.gpus)


def _fits(task: Task, config: Config, data: Dataset) -> bool:
    try:
        task.check(task.config(config), data)
    except ConfigError:
        return False
    return True
