"""A process that trains one trial after the other on a clip store that stays open."""

from collections.abc import Callable

from trainable.data.store.clip_store import ClipStore
from trainable.data.store.dataset import StoreDataset
from trainable.memory import limit_process
from trainable.worker import RunSpec, TrialRun, TrialSpec


class StoreWorker:
    """See `trainable.worker.Worker`.

    Args:
        run: what the trials share.
        make: makes a trial of the run on the store.
    """

    def __init__(self, run: RunSpec, make: Callable[[RunSpec, TrialSpec, ClipStore], TrialRun]) -> None:
        limit_process(run.threads, run.gpu_share)
        self._run, self._make = run, make
        self._store = StoreDataset.open(run.data).store

    def start(self, trial: TrialSpec) -> TrialRun:
        """See `Worker`."""
        return self._make(self._run, trial, self._store)

    def close(self) -> None:
        """See `Worker`."""
