"""The nodes that a search may use: this machine, or those of a cluster; and calls that run on one of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

from salt_tune.ray_backend import node_probe
from salt_tune.resources.allocation import Resources
from trainable.task import Task
from trainable.worker import Dataset

if TYPE_CHECKING:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Result = TypeVar("Result")
Concurrent = int | Literal["auto"] | None

ALONE: Final = ""  # name of the only node of a search on this machine


@dataclass(frozen=True)
class Node:
    """A node that trains trials.

    Attributes:
        id: Ray's, in hexadecimal digits.
        name: for people; `ALONE` where there are no others.
        resources: of each trial on it, and how many there are at a time.
        cores: of its CPU that are free for trials.
        all_gpus: that are free for trials.
        data: where the dataset lies for it.
    """

    id: str
    name: str
    resources: Resources
    cores: int
    all_gpus: int
    data: Path

    @property
    def here(self) -> "NodeAffinitySchedulingStrategy":
        """What has Ray start something on this node, and on no other."""
        return only_on(self.id)

    def run(self, function: Callable[..., Result], *arguments: Any, gpus: int = 0) -> Result:
        """Returns what a function returns that runs on this node, and may see so many GPUs."""
        import ray

        result: Result = ray.get(remote_on(self.id, function, cpus=1, gpus=gpus).remote(*arguments))
        return result

    def with_resources(self, resources: Resources) -> "Node":
        """Returns the node with other shares of it for trials."""
        return replace(self, resources=resources)


class Nodes:
    """The nodes of a search.

    Args:
        nodes: those that can train, at least one.
        look: returns those that have come since the last look.
        check: does nothing as long as their cluster is there, and raises a `UserError` from then on.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        look: Callable[[], list[Node]] = list,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._nodes, self._look, self.check = [*nodes], look, check

    def __iter__(self) -> Iterator[Node]:
        """Yields them."""
        return iter(self._nodes)

    @property
    def concurrent(self) -> int:
        """Trials at a time on all of them."""
        return sum(node.resources.concurrent for node in self._nodes)

    def joined(self) -> list[Node]:
        """Returns nodes that have come since it was asked last; they are among the nodes from now on.

        Raises:
            UserError: their cluster is gone.
        """
        self.check()
        new = self._look()
        self._nodes += new
        return new

    def share(self, shares: Callable[[Node], Resources]) -> None:
        """Shares each node out anew."""
        self._nodes = [node.with_resources(shares(node)) for node in self._nodes]

    def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Returns what a function returns that runs on one of the nodes; on another one where that dies meanwhile."""
        from ray.exceptions import NodeDiedError, TaskUnschedulableError, WorkerCrashedError

        *others, last = self._nodes
        for node in others:
            with suppress(NodeDiedError, TaskUnschedulableError, WorkerCrashedError):
                return node.run(function, *arguments)
        return last.run(function, *arguments)

    def facts(self) -> dict[str, Any]:
        """Returns what run.json remembers of them."""
        first = self._nodes[0].resources
        named = [{"name": node.name, **asdict(node.resources)} for node in self._nodes if node.name != ALONE]
        return {**asdict(replace(first, concurrent=self.concurrent)), **({"nodes": named} if named else {})}


class Place(Protocol):
    """Where a search runs."""

    def session(self, folder: Path, task: Task, data: Dataset) -> AbstractContextManager[Nodes]:
        """Opens it: a context with its `Nodes`.

        Args:
            folder: of runs, which nodes must see.
            task: what is trained.
            data: on what.

        Raises:
            UserError: it cannot be used.
        """
        ...


def only_on(node: str) -> "NodeAffinitySchedulingStrategy":
    """Returns what has Ray start something on the node of this id, and on no other."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def remote_on(node: str, function: Callable[..., Any], *, cpus: int = 0, gpus: int = 0) -> Any:
    """Returns the function as Ray's, whose calls run on the node of this id, once; they take so much of it."""
    import ray

    return ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, scheduling_strategy=only_on(node))(function)


def killed_on(node: str, pid: int) -> None:
    """Has a process on the node of this id killed, also one that is stopped and hears nothing else.

    Does not wait for it.
    """
    import ray

    if node == ray.get_runtime_context().get_node_id():
        node_probe.kill(pid)
        return
    remote_on(node, node_probe.kill).remote(pid)


@contextmanager
def sent_as_code(module: Any) -> Iterator[None]:
    """Has functions of a module go to other processes as code: they need not have the module."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)
