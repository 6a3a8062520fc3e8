"""Processes that train trials: Ray's actors, each of which starts once and takes one trial after the other."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from salt_tune.resources.allocation import Resources
from trainable.trial_process import TrialProcess
from trainable.worker import Report, RunSpec, TrialSpec

if TYPE_CHECKING:
    from ray import ObjectRef


@dataclass(frozen=True)
class Lost:
    """What ended a worker before its report.

    Attributes:
        why: one line.
        traceback: of the error that it ended with; empty where its process died.
    """

    why: str
    traceback: str = ""


@dataclass(eq=False)
class PooledWorker:
    """A worker of the pool.

    Attributes:
        slot: its number; one that takes its place after it was lost has the same.
        actor: Ray's handle.
        holds: the trial that it trained last.
    """

    slot: int
    actor: Any
    holds: str | None = field(default=None)


class WorkerPool:
    """As many workers as there are trials at a time, each started as soon as there is a trial for it.

    Args:
        run: what the trials share.
        resources: of each worker, and how many there are.
    """

    def __init__(self, run: RunSpec, resources: Resources) -> None:
        import ray

        self._run, self._size = run, resources.concurrent
        self._remote = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(TrialProcess)
        self._idle: list[PooledWorker] = []
        self._jobs: dict[ObjectRef[Report], tuple[PooledWorker, TrialSpec]] = {}

    @property
    def free(self) -> int:
        """How many more trials it can train at the moment."""
        return self._size - len(self._jobs)

    @property
    def busy(self) -> int:
        """How many trials it trains."""
        return len(self._jobs)

    def submit(self, trial: TrialSpec) -> None:
        """Has a trial trained to its next report, by the worker that has it in memory where that is idle."""
        worker = self._take(trial.id)
        worker.holds = trial.id
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
                came = _lost(error)
                ray.kill(worker.actor)  # after an error, its process may be in any state
            yield trial, worker.slot, came

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
            return PooledWorker(slot, self._remote.remote(self._run))
        worker = next((worker for worker in self._idle if worker.holds == trial), self._idle[0])
        self._idle.remove(worker)
        return worker


def _lost(error: Exception) -> Lost:
    from ray.exceptions import RayTaskError

    if not isinstance(error, RayTaskError):
        return Lost("its process died")
    cause = error.cause
    line = " ".join(str(cause).split()) or type(cause).__name__
    return Lost(line, str(error))
