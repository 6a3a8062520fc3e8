"""The final training of a promoted trial."""

from collections.abc import Callable
from threading import Event

import torch

from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.model.encoder import load_encoder, save_encoder
from trainable.train.checkpoints import Checkpoints
from trainable.train.ranks import Group
from trainable.train.training import Training
from trainable.trial.run_to_end import Tell, run_to_end
from trainable.trial.step_file import add_steps
from trainable.worker import FinalSpec, Report


class SaltFinal:
    """The final training of a promoted trial, which ends with its encoder; see `trainable.worker.FinalRun`.

    Args:
        spec: how it is trained.
        store: the clip store.
    """

    def __init__(self, spec: FinalSpec, store: ClipStore) -> None:
        torch.set_num_threads(spec.threads)
        self._spec, self._config = spec, TrialConfig.from_dict(spec.config)
        self._training = _training(spec, store)
        evaluation = EvaluationConfig(**spec.evaluation)
        device, baselines = self._training.device, spec.baselines or spec.folder / "baselines"
        self._evaluator = Evaluator(store, evaluation, device=device, baselines=baselines)

    def train(self, on_report: Callable[[Report], None], stop: Event, tell: Tell) -> Report | None:
        """See `FinalRun`; `stop` is obeyed after each step."""
        spec, training = self._spec, self._training
        training.stop = stop
        checkpoints = Checkpoints(spec.folder, spec.checkpoint_minutes)

        def keep_steps(report: Report) -> None:
            add_steps(spec.steps, training)
            on_report(report)

        last = run_to_end(training, self._evaluator, checkpoints, spec.reports_per_epoch, keep_steps, tell=tell)
        if last:
            store = training.store
            provenance = {
                **spec.provenance,
                "view_hash": store.view.hash,
                "teacher": {"name": store.teacher.name, "sha256": store.teacher.sha256},
                "val_loss": last["val_loss"],
                "val_r2": last["val_r2"],
            }
            save_encoder(spec.folder, training.outcome.model.student, self._config, store.view, provenance)
        return last

    def close(self) -> None:
        """See `FinalRun`."""
        self._training.close()
        self._evaluator.close()


def _training(spec: FinalSpec, store: ClipStore) -> Training:
    """Returns the training, or this process's part of one that all of torch.distributed's default group share."""
    config, init = TrialConfig.from_dict(spec.config), load_encoder(spec.init) if spec.init else None
    if spec.workers == 1:
        return Training(config, store, init=init)
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    return Training(config, store, device=device, loader_threads=spec.threads, ranks=Group(device), init=init)
