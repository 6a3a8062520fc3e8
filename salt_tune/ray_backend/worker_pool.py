"""Processes that train trials: Ray's actors, each of which starts once and takes one trial after the other."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from salt_tune.ray_backend.losses import Losses
from salt_tune.ray_backend.nodes import Node, Nodes, killed_on
from salt_tune.ray_backend.signs_of_life import SignsOfLife
from trainable.trial_process import TrialProcess
from trainable.worker import Report, RunSpec, TrialSpec

if TYPE_CHECKING:
    from ray import ObjectRef

STARTING_SECONDS: Final = 300.0  # that the process of a worker may take to start
DIED: Final = "its process died"


@dataclass(frozen=True)
class Lost:
    """What ended a worker before its report.

    Attributes:
        why: one line.
        traceback: of the error that it ended with; empty where its process died.
        memory: whether it was killed because memory ran out.
        with_node: whether its node died; the trial had no part in it.
    """

    why: str
    traceback: str = ""
    memory: bool = False
    with_node: bool = False


@dataclass(frozen=True)
class Slot:
    """Where one worker at a time trains.

    Attributes:
        number: from 0; a worker that takes the place of a lost one has its number.
        node: name of its node; `ALONE` on this machine.
    """

    number: int
    node: str


@dataclass(eq=False)
class PooledWorker:
    """A worker of the pool.

    Attributes:
        slot: its place.
        node: that it runs on.
        actor: Ray's handle.
        signs: of its life.
        holds: the trial that it trained last.
        patience: seconds that it may be silent.
        hung: seconds that it was silent for, where it was killed for that.
    """

    slot: Slot
    node: Node
    actor: Any
    signs: SignsOfLife
    holds: str | None = None
    patience: float = 0.0
    hung: float | None = None


class WorkerPool:
    """As many workers as there are trials at a time, each started as soon as there is a trial for it.

    Args:
        nodes: on which workers run.
        run: what the trials share on a node.
        folder: of the workers' signs of life; it exists, and all nodes see it.
    """

    def __init__(self, nodes: Nodes, run: Callable[[Node], RunSpec], folder: Path) -> None:
        self._nodes, self._run, self._folder = nodes, run, folder
        self._losses = Losses()
        self._slots: dict[Slot, Node] = {}
        for node in nodes:
            self._add(node)
        self._idle: list[PooledWorker] = []
        self._jobs: dict[ObjectRef[Report], tuple[PooledWorker, TrialSpec]] = {}

    @property
    def free(self) -> int:
        """How many more trials it can train at the moment."""
        taken = {worker.slot for worker, _ in self._jobs.values()}
        return len(self._slots.keys() - taken)

    @property
    def busy(self) -> int:
        """How many trials it trains."""
        return len(self._jobs)

    @property
    def size(self) -> int:
        """How many trials it can train at a time; 0 where no node is left."""
        return len(self._slots)

    def has(self, slot: Slot) -> bool:
        """Tells whether a slot is still there: its node has neither died nor been left out."""
        return slot in self._slots

    def submit(self, trial: TrialSpec, patience: float, avoid: Slot | None = None) -> Slot:
        """Has a trial trained to its next report, by the worker that has it in memory where that is idle.

        Args:
            trial: the trial.
            patience: seconds without a sign of life after which the worker is killed.
            avoid: where its last worker was lost; another node is better, if one has a slot.

        Returns:
            Where.
        """
        worker = self._take(trial.id, avoid.node if avoid else None)
        worker.holds, worker.patience = trial.id, patience
        worker.signs.begin()
        self._jobs[worker.actor.next_report.remote(trial)] = worker, trial
        return worker.slot

    def wait(self, seconds: float) -> Iterator[tuple[TrialSpec, Slot, Report | Lost]]:
        """Yields what has come of trials, each with its slot, after at most so many seconds."""
        import ray

        for node in self._nodes.joined():
            self._add(node)
        done, _ = ray.wait([*self._jobs], timeout=seconds) if self._jobs else ([], [])
        for job in done:
            worker, trial = self._jobs.pop(job)
            try:
                came: Report | Lost = ray.get(job)
                self._losses.report(worker.node)
                if worker.slot in self._slots:
                    self._idle.append(worker)
                else:  # its node has been left out
                    ray.kill(worker.actor)
            except ray.exceptions.RayError as error:
                came = self._lost(worker, error)
                ray.kill(worker.actor)  # after an error, its process may be in any state
                self._judge(worker.node, trial.id, came)
            yield trial, worker.slot, came
        for worker, _ in self._jobs.values():
            silent = worker.signs.silent()
            patience = worker.patience if worker.signs.any else max(worker.patience, STARTING_SECONDS)
            if worker.hung is None and silent > patience:
                worker.hung = silent
                if pid := worker.signs.pid:
                    killed_on(worker.node.id, pid)
                else:
                    ray.kill(worker.actor)

    def close(self) -> None:
        """Ends all workers; trials that they train keep their last checkpoints."""
        import ray

        for worker in (*self._idle, *(worker for worker, _ in self._jobs.values())):
            ray.kill(worker.actor)
        self._idle.clear()
        self._jobs.clear()

    # --- where workers run

    def _add(self, node: Node) -> None:
        self._losses.begin(node)
        first = max((slot.number for slot in self._slots), default=-1) + 1
        for number in range(first, first + node.resources.concurrent):
            self._slots[Slot(number, node.name)] = node

    def _drop(self, node: Node) -> None:
        """Takes the slots of a node away; what trains there now may still report."""
        import ray

        self._slots = {slot: other for slot, other in self._slots.items() if other is not node}
        for worker in [worker for worker in self._idle if worker.node is node]:
            self._idle.remove(worker)
            ray.kill(worker.actor)

    def _judge(self, node: Node, trial: str, lost: Lost) -> None:
        """Drops a node that has died; or one that keeps killing workers, where others are left."""
        others = {*self._slots.values()} - {node}
        if lost.with_node or (others and not lost.traceback and self._losses.leaves_out(node, trial)):
            self._drop(node)

    def _take(self, trial: str, avoid: str | None) -> PooledWorker:
        """Returns the idle worker that holds the trial, or a worker where the least is done, rather idle than new."""
        taken = {worker.slot for worker, _ in self._jobs.values()} & self._slots.keys()
        load: Counter[Node] = Counter()
        for slot in taken:
            load[self._slots[slot]] += 1
        idle = {worker.slot: worker for worker in self._idle}

        def rank(slot: Slot) -> tuple[bool, bool, float, bool, int]:
            node, worker = self._slots[slot], idle.get(slot)
            holds = worker is not None and worker.holds == trial
            return not holds, node.name == avoid, load[node] / node.resources.concurrent, worker is None, slot.number

        slot = min(self._slots.keys() - taken, key=rank)
        worker = idle.get(slot) or self._start(slot)
        if worker in self._idle:
            self._idle.remove(worker)
        return worker

    def _start(self, slot: Slot) -> PooledWorker:
        import ray

        node = self._slots[slot]
        file = self._folder / f"worker-{slot.number}.json"
        file.unlink(missing_ok=True)  # of the worker before
        remote = ray.remote(
            num_cpus=node.resources.cpus, num_gpus=node.resources.gpus, scheduling_strategy=node.here
        )(TrialProcess)  # fmt: skip
        return PooledWorker(slot, node, remote.remote(self._run(node), file), SignsOfLife(file))

    def _lost(self, worker: PooledWorker, error: Exception) -> Lost:
        """Says what an error of Ray means for the worker whose report it stands for."""
        from ray.exceptions import RayTaskError

        if isinstance(error, RayTaskError):
            line = " ".join(str(error.cause).split()) or type(error.cause).__name__
            return Lost(line, str(error))
        cause = self._losses.explain(worker.node, error) if worker.slot in self._slots else "node"
        if cause == "node":
            return Lost(f"node {worker.node.name} died", with_node=True)
        if worker.hung is not None:
            return Lost(f"its process gave no sign of life for {worker.hung:.0f} s, and was killed")
        if cause == "memory":
            return Lost("its process was killed because memory ran out", memory=True)
        return Lost(DIED)
