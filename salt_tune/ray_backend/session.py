"""Ray for as long as a command needs it, and what is measured there before its first trial."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from salt_tune.controller.factory import make_searcher
from salt_tune.ray_backend.cluster import Cluster
from salt_tune.ray_backend.cluster_address import find_cluster
from salt_tune.ray_backend.daemons import only_daemons_in_use
from salt_tune.ray_backend.environment import set_ray_environment
from salt_tune.ray_backend.nodes import ALONE, Concurrent, Node, Nodes, Place
from salt_tune.ray_backend.temporary_folder import ray_folder
from salt_tune.resources.allocation import Resources, share_out
from salt_tune.resources.packing import Packing, measure_packing
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from trainable.errors import ConfigError, UserError
from trainable.model.size import ModelSize
from trainable.task import Size, Task
from trainable.worker import Config, Dataset

OBJECT_STORE_BYTES = 100 * 2**20  # trials share the clip store through the page cache, not through Ray
STARTS = 3  # of Ray, before the search gives up
PROBED = 6  # suggestions that --concurrent auto measures


def machine_share(concurrent: Concurrent, gpus_per_trial: float | None) -> Resources:
    """Shares this machine out among trials, before anything is started.

    Args:
        concurrent: trials at a time; "auto": see `pack`, which begins with what None gives.
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
            with only_daemons_in_use():
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


@dataclass(frozen=True)
class ThisMachine:
    """This machine, with a Ray of the search's own; see `salt_tune.ray_backend.nodes.Place`.

    Attributes:
        resources: what each trial gets.
    """

    resources: Resources

    @contextmanager
    def session(self, folder: Path, task: Task, data: Dataset) -> Iterator[Nodes]:  # noqa: ARG002
        """Starts Ray; see `Place`."""
        import ray

        with ray_session(self.resources):
            (row,) = ray.nodes()
            cores, gpus = len(os.sched_getaffinity(0)), count_gpus() if self.resources.gpus else 0
            yield Nodes([Node(row["NodeID"], ALONE, self.resources, cores, gpus, data.path)])


def choose_place(
    address: str | None, concurrent: Concurrent, gpus_per_trial: float | None, copies: Path | None
) -> Place:
    """Returns where a search runs, before anything is started.

    Args:
        address: of a cluster, HOST:PORT or "auto"; None: this machine.
        concurrent: trials at a time, of a cluster on each node.
        gpus_per_trial: GPUs of each; None: all, shared evenly.
        copies: see `Cluster`.

    Raises:
        UserError: so much is not there, or the cluster does not let us in.
    """
    if address is not None:
        return Cluster(find_cluster(address), concurrent, gpus_per_trial, copies)
    if copies is not None:
        raise UserError(f"--store-copy = {copies}: is for a cluster; give its --address, or leave it out")
    return ThisMachine(machine_share(concurrent, gpus_per_trial))


def first_unbuildable(nodes: Nodes, task: Task, configs: list[Config]) -> tuple[int, ConfigError] | None:
    """Returns which configuration's model cannot be built, and why; None where all can. See `Task.check_models`."""
    from trainable.trial_process import check_models

    return nodes.run(check_models, task.name, configs)


def measure_sizes(nodes: Nodes, task: Task, configs: list[Config], data: Dataset) -> list[Size | None]:
    """Measures what each configuration's model takes; None where it cannot be built, and would be a failed trial."""
    from trainable.trial_process import measure_models

    found = nodes.run(measure_models, task.name, configs, data.geometry)
    return [None if isinstance(size, ConfigError) else size for size in found]


def check_packing(task: Task, concurrent: Concurrent) -> None:
    """Refuses to measure what `pack` cannot.

    Raises:
        UserError: `--concurrent auto`, and a task that it is not made for.
    """
    if concurrent == "auto" and not task.measures_packing:
        raise UserError(f"--concurrent = auto: cannot measure trials of {task.name}; give a number, or leave it out")


def pack(nodes: Nodes, space: SearchSpace, data: Dataset, seed: int) -> None:
    """Shares nodes out by measuring on the first suggestions what pays; see `check_packing`.

    Nodes with as many cores and GPUs are taken to be alike: one of them is measured.
    """
    searcher = make_searcher(space, seed)
    first = [parameters for number in range(PROBED) if (parameters := searcher.suggest(f"T{number}")) is not None]
    suggested = [space.hyperparameters(parameters, seed) for parameters in first]
    fitting = [config for config in suggested if _fits(space.task, config, data)]
    sizes = dict(enumerate(measure_sizes(nodes, space.task, fitting, data)))
    known = {number: size for number, size in sizes.items() if isinstance(size, ModelSize)}
    if not known:
        console.print("--concurrent auto: none of the first suggestions can be trained, so nothing can be measured")
        return
    configs, measured = [fitting[number] for number in known], list(known.values())

    @cache
    def packing(cores: int, gpus: int) -> Resources:
        node = next(node for node in nodes if (node.cores, node.all_gpus) == (cores, gpus))
        told = (configs, measured, node.data, space.evaluation, cores, gpus, space.trials)
        found = _measure(*told) if node.name == ALONE else node.run(_measure, *told, gpus=gpus)
        console.print(f"node {node.name}: {found.why}" if node.name != ALONE else found.why)
        return Resources(found.concurrent, found.cpus, found.gpus)

    nodes.share(lambda node: packing(node.cores, node.all_gpus))


def _measure(
    configs: list[Config],
    sizes: list[ModelSize],
    store: Path,
    evaluation: dict[str, Any],
    cores: int,
    gpus: int,
    most: int,
) -> Packing:
    """See `measure_packing`; runs on the node that is measured."""
    return measure_packing(configs, sizes, store, evaluation=evaluation, cores=cores, gpus=gpus, most=most)


def _fits(task: Task, config: Config, data: Dataset) -> bool:
    try:
        task.check(task.config(config), data)
    except ConfigError:
        return False
    return True
