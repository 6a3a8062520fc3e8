"""A process that trains one trial after the other on a clip store that stays open."""

from pathlib import Path

from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.memory import limit_process
from trainable.trial.trial_run import SaltTrial
from trainable.worker import RunSpec, TrialSpec


class SaltWorker:
    """See `trainable.worker.Worker`; the held-out clips are chosen once for all trials.

    Args:
        run: what the trials share.
        store: the open clip store.
    """

    def __init__(self, run: RunSpec, store: ClipStore) -> None:
        limit_process(run.threads, run.gpu_share)
        self._run, self._store = run, store
        self._judge: Evaluator | None = None

    def start(self, trial: TrialSpec) -> SaltTrial:
        """See `Worker`."""
        return SaltTrial(trial, self._run, self._store, self._evaluator)

    def _evaluator(self) -> Evaluator:
        """Makes it with the first report: memory that runs out then is that trial's matter, not the worker's."""
        if self._judge is None:
            config = EvaluationConfig(**self._run.evaluation)
            baselines = Path(self._run.baselines) if self._run.baselines else None
            self._judge = Evaluator(self._store, config, device=self._run.device, baselines=baselines)
        return self._judge

    def close(self) -> None:
        """See `Worker`."""
        if self._judge is not None:
            self._judge.close()
