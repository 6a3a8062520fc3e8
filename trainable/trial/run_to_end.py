"""A training from where its checkpoints left it to the end: for final runs and for teachers."""

import math
from collections.abc import Callable
from typing import Any

from trainable.errors import UserError
from trainable.evaluate.evaluator import Evaluator
from trainable.final_trial import probe_epochs
from trainable.model.flops import measure_model
from trainable.train.checkpoints import Checkpoints
from trainable.train.training import CHECK_EVERY, Training
from trainable.trial.report import train_and_report

MOST_SKIPPED = 10  # batches of a run; with more of them, the data or the learning rate is at fault

Tell = Callable[[str], None]


def run_to_end(
    training: Training,
    evaluator: Evaluator,
    checkpoints: Checkpoints,
    reports_per_epoch: int,
    on_report: Callable[[dict[str, Any]], None],
    *,
    probe: bool = True,
    tell: Tell = lambda _: None,
) -> dict[str, Any] | None:
    """Trains to the end, with a checkpoint after each report and each few minutes; goes on from the last one.

    A batch whose loss or gradient is not finite, or whose loss is a spike, is left out. The training goes back to its
    last checkpoint, and comes by without it.

    Args:
        training: the run; its `stop` is obeyed after each step, and a checkpoint written then.
        evaluator: what it is judged on.
        checkpoints: of the run.
        reports_per_epoch: evaluations in each epoch.
        on_report: called with each report before its checkpoint is written.
        probe: whether features are probed, at the end and at `probe_epochs`.
        tell: called with what people should know.

    Returns:
        The last report, {} on another rank than 0; None where the run was stopped.

    Raises:
        CheckpointError: the checkpoints are damaged or of another run.
        UserError: the training diverged.
    """
    if (damage := checkpoints.load(training)) is not None:
        tell(f"{damage}; goes on from the checkpoint before, of epoch {training.epoch:.2f}")
    size = measure_model(training.config, training.store.view, training.target_dim)
    steps = report_steps(training.steps_per_epoch, training.total_steps, reports_per_epoch)
    at = probe_epochs(training.total_steps / training.steps_per_epoch)
    probe_steps = {*(round(epoch * training.steps_per_epoch) for epoch in at), training.total_steps}
    report: dict[str, Any] = {}
    first = training.ranks.rank == 0
    if first and not checkpoints.last.exists():  # there is one to go back to, and a full disk shows now
        checkpoints.save(training)
    # The last report is made again if the process died after it: its numbers are needed, and are the same.
    for step in [step for step in steps if step > training.step] or steps[-1:]:
        _advance(training, step, checkpoints, tell)
        if training.step < step:  # stopped; the sums of this report go on after it
            if first:
                checkpoints.save(training)
            return None
        if first:
            report, _ = train_and_report(training, evaluator, step, size, probe=probe and step in probe_steps)
            if training.status != "diverged":
                on_report(report)
                checkpoints.save(training, report)
        else:
            training.collect()  # the sums of the next report begin here too
        if training.ranks.any(training.status == "diverged"):
            raise _diverged(training)
    return report


def _advance(training: Training, step: int, checkpoints: Checkpoints, tell: Tell) -> None:
    """Trains to `step`, or until it is stopped."""
    first = training.ranks.rank == 0
    while (before := training.step) < step:
        until = min(step, before + (CHECK_EVERY if before >= training.careful_to else 1))
        if before < training.trunk_steps < training.total_steps:
            until = min(until, training.trunk_steps)
        training.train_to(until)
        if training.status == "diverged" or training.spiked:
            _go_back(training, checkpoints, tell)
        elif len(training.skipped) > MOST_SKIPPED:
            raise _diverged(training)
        elif training.step < until:
            return
        elif first and training.step == training.trunk_steps < training.total_steps:
            checkpoints.save_trunk(training, training.epoch)
        elif first and checkpoints.due and training.step < step:  # at `step`, its report comes first
            checkpoints.save(training)


def _go_back(training: Training, checkpoints: Checkpoints, tell: Tell) -> None:
    """Goes back to the last checkpoint, from where each step is looked at before it is taken."""
    met, what = training.step, "a loss that is not finite" if training.status == "diverged" else "a spike of the loss"
    if met <= training.careful_to:  # it has been looked at, and is of no single batch
        raise _diverged(training)
    checkpoints.load(training)
    training.careful_to = met
    tell(
        f"epoch {met / training.steps_per_epoch:.2f}: {what}; goes back to epoch {training.epoch:.2f} "
        "and leaves that batch out"
    )


def _diverged(training: Training) -> UserError:
    left_out = f", with {len(training.skipped)} batches left out" if training.skipped else ""
    return UserError(f"the training diverged in epoch {training.epoch:.1f}{left_out}; give it a lower learning rate")


def report_steps(steps_per_epoch: int, total_steps: int, reports_per_epoch: int) -> list[int]:
    """Returns the steps at which a run reports: evenly in each epoch, always at the end of the run, each step once."""
    parts = range(1, math.ceil(total_steps / steps_per_epoch * reports_per_epoch))
    return sorted({max(1, round(part * steps_per_epoch / reports_per_epoch)) for part in parts} | {total_steps})
