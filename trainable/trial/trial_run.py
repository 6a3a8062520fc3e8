"""One trial of a search, as a worker runs it: from resource point to resource point, each reported exactly once.

A point ends with a checkpoint that has the report in it, and only then is the report given away. So wherever a process
dies, the next one finds either the report, which it gives without training, or the checkpoint of the point before.
"""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError

from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.errors import UserError
from trainable.evaluate.answers import answers_of, write_answers
from trainable.evaluate.evaluator import Evaluator, measure
from trainable.evaluate.judged import Judged
from trainable.files import atomic_write
from trainable.memory import free_memory, is_out_of_memory
from trainable.model.flops import measure_model
from trainable.model.size import ModelSize
from trainable.train.checkpoint import load_checkpoint, read_note, save_checkpoint
from trainable.train.step_time import measure_step_seconds
from trainable.train.training import Training
from trainable.trial.report import report_out_of_memory, train_and_report
from trainable.trial.step_file import add_steps
from trainable.worker import RunSpec, TrialSpec


class SaltTrial:
    """Reports of one trial, one after the other; nothing is read or built before the first is asked for.

    What a step costs is settled once, when the trial starts, and kept in its checkpoint with the report. The number of
    steps never changes, and the schedules stretch over all of them.

    Args:
        trial: what is trained.
        run: what all trials share.
        store: the clip store.
        evaluator: gives the judge that all trials of this process share.

    Attributes:
        id: the trial's name in its run.
        known: the last resource point that the search has the report of; 0 where it has none.
    """

    def __init__(self, trial: TrialSpec, run: RunSpec, store: ClipStore, evaluator: Callable[[], Evaluator]) -> None:
        self.id, self.known = trial.id, trial.known
        self._values, self._run, self._budget = trial.config, run, run.budget
        self._checkpoint = run.checkpoint(trial.id)
        self._device = torch.device(run.device)
        self._store, self._evaluator = store, evaluator
        self._cost: float | None = None  # of a step, once the trial has started
        self._last: dict[str, Any] = {}  # the last report, also of a process before this one
        self._training: Training | None = None

    def next_report(self) -> dict[str, Any]:
        """Returns the report of the next resource point, after training to it where that is yet to be done.

        A trial that runs out of memory says so by a report of its own, at the point it had reached. It, and one that
        has finished or diverged, gives its last report again if asked.

        Raises:
            UserError: the disk is full or broken, the checkpoint is damaged, the hyperparameters do not fit, or the
                student cannot be built.
        """
        report = self._report_unless_out_of_memory()
        if report is None:  # whatever the error held on to is free now
            self.close()
            free_memory()
            report = report_out_of_memory(self._last, self._device, self._size)
            report["resource"] = self._last.get("resource", self.known)
        self._last = report
        self.known = max(self.known, report["resource"])
        return report

    def close(self) -> None:
        """Ends the threads and gives the memory back; the checkpoint stays."""
        if self._training is not None:
            self._training.close()
            self._training = None
            free_memory()

    def _report_unless_out_of_memory(self) -> dict[str, Any] | None:
        try:
            if self._cost is None and self._checkpoint.exists():
                note = read_note(self._checkpoint)
                self._cost, self._last = note["cost"], note["report"]
                if self._last["resource"] > self.known:
                    return self._last
            if self._last.get("status", "running") != "running":
                return self._last
            return self._train_on()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _train_on(self) -> dict[str, Any]:
        """Trains to the next point, judges, and leaves a checkpoint with the report before it returns that."""
        if self._cost is None:
            self._cost = self._measure_cost()
        if self._training is None:
            self._training = self._start(self._cost)
        point = self._budget.next_point(max(self.known, self._last.get("resource", 0.0)))
        step, probe = self._budget.step(point, self._cost), point in self._budget.probe_points
        if self._last.get("step") == step:
            report = self._report_again(self._training, point, probe)
        else:
            report, judged = train_and_report(self._training, self._evaluator(), step, self._size, probe=probe)
            self._add_steps(self._training)
            if judged is not None:
                self._write_clip_losses(point, judged)
                if probe:
                    self._write_answers(point, judged)
        report = {"resource": point, **report}
        if report["status"] != "diverged":
            report["status"] = "complete" if point == self._budget.points[-1] else "running"
        with _disk_errors(self._checkpoint):
            self._checkpoint.parent.mkdir(parents=True, exist_ok=True)
            save_checkpoint(self._checkpoint, self._training, {"cost": self._cost, "report": report})
        return report

    @cached_property
    def _config(self) -> TrialConfig:
        return TrialConfig.from_dict(self._values)

    @cached_property
    def _size(self) -> ModelSize:
        return measure_model(self._config, self._store.view, self._store.teacher.dim)

    def _measure_cost(self) -> float:
        """Measures what a step costs in the unit of the budget."""
        if self._budget.kind == "tflop":
            return self._size.tflop_per_step
        if self._budget.kind == "epoch":
            return 1 / self._steps_per_epoch
        seconds = measure_step_seconds(self._config, self._store, self._device)
        free_memory()
        return seconds

    @property
    def _steps_per_epoch(self) -> int:
        self._config.check_data(self._store.view, len(self._store.train))
        return len(self._store.train) // self._config.batch_size

    def _start(self, cost: float) -> Training:
        """Starts the training, of as many epochs as the budget pays for, from where its checkpoint left it.

        It never cools down: a trial is the trunk that its final run goes on from.
        """
        epochs = self._budget.total_steps(cost) / self._steps_per_epoch
        training = Training(self._config.replace(epochs=epochs, cooldown=0.0), self._store, device=self._device)
        if self._last:
            try:
                load_checkpoint(self._checkpoint, training)
            except BaseException:
                training.close()
                raise
        return training

    def _report_again(self, training: Training, point: float, probe: bool) -> dict[str, Any]:
        """Gives the last report for another point on the same step."""
        report = {name: value for name, value in self._last.items() if name != "resource"}
        if probe:
            judged = self._evaluator().judge(training.outcome)
            report |= measure(judged, "probe")
            self._write_answers(point, judged)
        before, path = (self._run.losses(self.id, resource) for resource in (self._last["resource"], point))
        if path != before:
            with _disk_errors(path), atomic_write(path) as temporary:
                shutil.copyfile(before, temporary)
        return report

    def _add_steps(self, training: Training) -> None:
        path = self._run.steps_of(self.id)
        if path is not None:
            with _disk_errors(path):
                add_steps(path, training)

    def _write_answers(self, point: float, judged: Judged) -> None:
        path = self._run.answers(self.id, point)
        if path is not None:
            with _disk_errors(path):
                write_answers(path, answers_of(judged.values), judged.on.panel.ids)

    def _write_clip_losses(self, point: float, judged: Judged) -> None:
        path = self._run.losses(self.id, point)
        classes = self._store.val.labels[judged.on.chosen]
        columns = {
            "clip": self._evaluator().clip_ids,
            "label": [self._store.labels[label] for label in classes],
            "loss": pa.array(judged.clip_losses, pa.float32()),
            "time_slot_losses": pa.array([*judged.time_slot_losses], pa.list_(pa.float32())),
        }
        with _disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                pq.write_table(pa.table(columns), temporary, use_dictionary=["label"])  # all else differs in each row


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Says in one line which file could not be written, and why."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = "; free some space, then resume the search" if getattr(error, "errno", None) == errno.ENOSPC else ""
        raise UserError(f"{path}: {' '.join(reason.split())}{hint}") from error
