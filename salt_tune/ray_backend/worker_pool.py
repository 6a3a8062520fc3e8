"""Processes that train trials: Ray's actors, each of which starts once and takes one trial after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from salt_tune.ray_backend.signs_of_life import SignsOfLife
from salt_tune.resources.allocation import Resources
from salt_tune.resources.memory_kills import memory_kills
from trainable.trial_process import TrialProcess
from trainable.worker import Report, RunSpec, TrialSpec

if TYPE_CHECKING:
    from ray import ObjectRef

STARTING_SECONDS: Final = 300.0  # that the process of a worker may take to start
DIED: Final = "its process died"
RAYS_MEMORY_KILLER: Final = "low on memory"  # in what Ray says of a process that it killed itself


@dataclass(frozen=True)
class Lost:
    """What ended a worker before its report.

    Attributes:
        why: one line.
        traceback: of the error that it ended with; empty where its process died.
        memory: whether it was killed because memory ran out.
    """

    why: str
    traceback: str = ""
    memory: bool = False


@dataclass(eq=False)
class PooledWorker:
    """A worker of the pool.

    Attributes:
        slot: its number; one that takes its place after it was lost has the same.
        actor: Ray's handle.
        signs: of its life.
        holds: the trial that it trained last.
        patience: seconds that it may be silent.
        hung: seconds that it was silent for, where it was killed for that.
    """

    slot: int
    actor: Any
    signs: SignsOfLife
    holds: str | None = None
    patience: float = 0.0
    hung: float | None = None


class WorkerPool:
    """As many workers as there are trials at a time, each started as soon as there is a trial for it.

    Args:
        run: what the trials share.
        resources: of each worker, and how many there are.
        folder: of the workers' signs of life; it exists.
    """

    def __init__(self, run: RunSpec, resources: Resources, folder: Path) -> None:
        import ray

        self._run, self._size, self._folder = run, resources.concurrent, folder
        self._remote = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(TrialProcess)
        self._idle: list[PooledWorker] = []
        self._jobs: dict[ObjectRef[Report], tuple[PooledWorker, TrialSpec]] = {}
        self._memory_kills = memory_kills()

    @property
    def free(self) -> int:
        """How many more trials it can train at the moment."""
        return self._size - len(self._jobs)

    @property
    def busy(self) -> int:
        """How many trials it trains."""
        return len(self._jobs)

    def submit(self, trial: TrialSpec, patience: float) -> None:
        """Has a trial trained to its next report, by the worker that has it in memory where that is idle.

        Args:
            trial: the trial.
            patience: seconds without a sign of life after which the worker is killed.
        """
        worker = self._take(trial.id)
        worker.holds, worker.patience = trial.id, patience
        worker.signs.begin()
        self._jobs[worker.actor.next_report.remote(trial)] = worker, trial

    def wait(self, seconds: float) -> Iterator[tuple[TrialSpec, int, Report | Lost]]:
        """Yields what has come of trials, each with its slot, after at most so many seconds."""
        import ray

        done, _ = ray.wait([*self._jobs], timeout=seconds)
        for job in done:
            worker, trial = self._jobs.pop(job)
            try:
                came: Report | Lost = ray.get(job)
                self._idle.append(worker)
            except ray.exceptions.RayError as error:
                came = self._lost(worker, error)
                ray.kill(worker.actor)  # after an error, its process may be in any state
            yield trial, worker.slot, came
        for worker, _ in self._jobs.values():
            silent = worker.signs.silent()
            patience = worker.patience if worker.signs.any else max(worker.patience, STARTING_SECONDS)
            if worker.hung is None and silent > patience:
                worker.hung = silent
                if not worker.signs.kill():
                    ray.kill(worker.actor)

    def close(self) -> None:
        """Ends all workers; trials that they train keep their last checkpoints."""
        import ray

        for worker in (*self._idle, *(worker for worker, _ in self._jobs.values())):
            ray.kill(worker.actor)
        self._idle.clear()
        self._jobs.clear()

    def _take(self, trial: str) -> PooledWorker:
        """Returns an idle worker, or a new one where there is none."""
        if not self._idle:
            taken = {worker.slot for worker, _ in self._jobs.values()}
            slot = next(slot for slot in range(self._size) if slot not in taken)
            file = self._folder / f"worker-{slot}.json"
            file.unlink(missing_ok=True)  # of the worker before
            return PooledWorker(slot, self._remote.remote(self._run, file), SignsOfLife(file))
        worker = next((worker for worker in self._idle if worker.holds == trial), self._idle[0])
        self._idle.remove(worker)
        return worker

    def _lost(self, worker: PooledWorker, error: Exception) -> Lost:
        """Says what an error of Ray means for the worker whose report it stands for."""
        from ray.exceptions import RayTaskError

        before, self._memory_kills = self._memory_kills, memory_kills()
        if isinstance(error, RayTaskError):
            line = " ".join(str(error.cause).split()) or type(error.cause).__name__
            return Lost(line, str(error))
        if worker.hung is not None:
            return Lost(f"its process gave no sign of life for {worker.hung:.0f} s, and was killed")
        if self._memory_kills > before or RAYS_MEMORY_KILLER in str(error):
            return Lost("its process was killed because memory ran out", memory=True)
        return Lost(DIED)
