"""What the loss of a worker means: memory, its node, or a node that keeps killing workers."""

from collections import defaultdict
from typing import Final, Literal

from salt_tune.ray_backend.nodes import ALONE, Node, remote_on
from salt_tune.resources.memory_kills import memory_kills
from salt_tune.ui.console import console

MOST_IN_A_ROW: Final = 3  # workers of different trials that die on a node without a report between them
RAYS_MEMORY_KILLER: Final = "low on memory"  # in what Ray says of a process that it killed itself
ANSWER_SECONDS: Final = 10.0  # that a node has, which lives

Cause = Literal["node", "memory", "unknown"]


class Losses:
    """Counts what kills workers, on each node."""

    def __init__(self) -> None:
        self._died: dict[str, list[str]] = defaultdict(list)  # trials in a row, by node
        self._kills: dict[str, int] = {}  # for memory, by node

    def begin(self, node: Node) -> None:
        """Begins to count on a node."""
        self._kills[node.id] = _memory_kills(node) or 0

    def report(self, node: Node) -> None:
        """Is told that a worker of a node has reported: whatever died there before, others live."""
        self._died[node.id].clear()

    def explain(self, node: Node, error: Exception) -> Cause:
        """Says what ended the process of a worker, from what Ray says of it and what the node answers."""
        from ray.exceptions import ActorUnschedulableError, NodeDiedError

        gone = isinstance(error, ActorUnschedulableError | NodeDiedError) or _is_missed(node)
        kills = None if gone else _memory_kills(node)
        if kills is None:  # a worker may be missed before its node is
            return "node"
        before, self._kills[node.id] = self._kills[node.id], kills
        return "memory" if kills > before or RAYS_MEMORY_KILLER in str(error) else "unknown"

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


def _is_missed(node: Node) -> bool:
    """Tells whether the cluster takes a node for dead."""
    import ray

    return node.name != ALONE and not any(row["Alive"] for row in ray.nodes() if row["NodeID"] == node.id)


def _memory_kills(node: Node) -> int | None:
    """Counts them on a node; None where it does not answer."""
    import ray

    if node.name == ALONE:
        return memory_kills()
    asked = remote_on(node.id, memory_kills).remote()
    try:
        found: int = ray.get(asked, timeout=ANSWER_SECONDS)
    except ray.exceptions.RayError:
        return None
    return found
