"""A training from where its checkpoint left it to the end: for final runs and for teachers."""

import math
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import torch

from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.errors import UserError
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.final_trial import probe_epochs
from trainable.model.encoder import save_encoder
from trainable.model.flops import measure_model
from trainable.train.checkpoint import load_checkpoint, save_checkpoint
from trainable.train.training import Training
from trainable.trial.report import train_and_report
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
        self._training = Training(self._config, store)
        evaluation = EvaluationConfig(**spec.evaluation)
        device, baselines = self._training.device, spec.baselines or spec.folder / "baselines"
        self._evaluator = Evaluator(store, evaluation, device=device, baselines=baselines)

    def train(self, on_report: Callable[[Report], None], stop: Event) -> Report | None:
        """See `FinalRun`; `stop` is obeyed after each step."""
        spec, training = self._spec, self._training
        training.stop = stop
        last = run_to_end(training, self._evaluator, spec.checkpoint, spec.reports_per_epoch, on_report)
        if last is not None:
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


def run_to_end(
    training: Training,
    evaluator: Evaluator,
    checkpoint: Path,
    reports_per_epoch: int,
    on_report: Callable[[dict[str, Any]], None],
    *,
    probe: bool = True,
) -> dict[str, Any] | None:
    """Trains to the end, with a checkpoint after each report; goes on from the checkpoint where there is one.

    Args:
        training: the run; its `stop` is obeyed after each step, and a checkpoint written then.
        evaluator: what it is judged on.
        checkpoint: file of the checkpoint.
        reports_per_epoch: evaluations in each epoch.
        on_report: called with each report before its checkpoint is written.
        probe: whether features are probed, at the end and at `probe_epochs`.

    Returns:
        The last report; None where the run was stopped.

    Raises:
        CheckpointError: the checkpoint is damaged or of another run.
        UserError: the training diverged.
    """
    if checkpoint.exists():
        load_checkpoint(checkpoint, training)
    size = measure_model(training.config, training.store.view, training.target_dim)
    steps = report_steps(training.steps_per_epoch, training.total_steps, reports_per_epoch)
    at = probe_epochs(training.total_steps / training.steps_per_epoch)
    probe_steps = {*(round(epoch * training.steps_per_epoch) for epoch in at), training.total_steps}
    report: dict[str, Any] = {}
    # The last report is made again if the process died after it: its numbers are needed, and are the same.
    for step in [step for step in steps if step > training.step] or steps[-1:]:
        training.train_to(step)
        if training.step < step and training.status == "running":  # stopped; the sums of this report go on after it
            save_checkpoint(checkpoint, training)
            return None
        probed = probe and step in probe_steps
        report, _ = train_and_report(training, evaluator, step, size, probe=probed)
        if training.status == "diverged":
            raise UserError(f"the training diverged in epoch {training.epoch:.1f}; give it a lower learning rate")
        on_report(report)
        save_checkpoint(checkpoint, training)
    return report


def report_steps(steps_per_epoch: int, total_steps: int, reports_per_epoch: int) -> list[int]:
    """Returns the steps at which a run reports: evenly in each epoch, always at the end of the run, each step once."""
    parts = range(1, math.ceil(total_steps / steps_per_epoch * reports_per_epoch))
    return sorted({max(1, round(part * steps_per_epoch / reports_per_epoch)) for part in parts} | {total_steps})
