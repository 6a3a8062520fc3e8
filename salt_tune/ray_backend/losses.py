"""What the loss of a worker means: memory, its node, or a node that keeps killing workers."""

import time
from collections import defaultdict
from typing import Any, Final

from salt_tune.ray_backend.nodes import ALONE, Node
from salt_tune.resources.memory_kills import memory_kills
from salt_tune.ui.console import console

MOST_IN_A_ROW: Final = 3  # workers of different trials that die on a node without a report between them
RAYS_MEMORY_KILLER: Final = "low on memory"  # in what Ray says of a process that it killed itself
NODE_SECONDS: Final = 3.0  # in which the loss of a node is known, after that of a worker on it
ANSWER_SECONDS: Final = 10.0


class Losses:
    """Counts what kills workers, on each node."""

    def __init__(self) -> None:
        self._died: dict[str, list[str]] = defaultdict(list)  # trials in a row, by node
        self._kills: dict[str, int] = {}  # for memory, by node

    def begin(self, node: Node) -> None:
        """Begins to count on a node."""
        self._kills[node.id] = _memory_kills(node)

    def report(self, node: Node) -> None:
        """Is told that a worker of a node has reported: whatever died there before, others live."""
        self._died[node.id].clear()

    def is_for_memory(self, node: Node, error: Exception) -> bool:
        """Tells whether a worker of a node was killed because memory ran out."""
        before, self._kills[node.id] = self._kills[node.id], _memory_kills(node)
        return self._kills[node.id] > before or RAYS_MEMORY_KILLER in str(error)

    def leaves_out(self, node: Node, trial: str) -> bool:
        """Is told of a process that died on a node; tells, in a line too, where the node is to be left out for it."""
        died = self._died[node.id]
        died.append(trial)
        if len({*died}) < MOST_IN_A_ROW:
            return False
        console.print(
            f"node {node.name} is left out: {len(died)} workers in a row died there ({', '.join(dict.fromkeys(died))})"
        )
        return True


def is_dead(node: Node, error: Exception) -> bool:
    """Tells whether the node of a worker that was lost has died; a worker may be missed before its node is."""
    import ray
    from ray.exceptions import ActorUnschedulableError, NodeDiedError

    if node.name == ALONE:
        return False
    if isinstance(error, ActorUnschedulableError | NodeDiedError):
        return True
    until = time.monotonic() + NODE_SECONDS
    while time.monotonic() < until:
        if not any(row["Alive"] for row in ray.nodes() if row["NodeID"] == node.id):
            return True
        time.sleep(0.2)
    return False


def _memory_kills(node: Node) -> int:
    """Counts them on a node; 0 where it does not answer soon, as it is busy dying."""
    import ray

    if node.name == ALONE:
        return memory_kills()
    count: Any = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=node.here)(memory_kills)
    try:
        found: int = ray.get(count.remote(), timeout=ANSWER_SECONDS)
    except ray.exceptions.RayError:
        return 0
    return found
