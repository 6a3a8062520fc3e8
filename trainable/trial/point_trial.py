"""A trial from point to point, for tasks with no needs of their own in training: each report is given exactly once."""

import math
from abc import ABC, abstractmethod
from typing import Any

from trainable.memory import free_memory, is_out_of_memory
from trainable.task import find_task
from trainable.train.checkpoint import load_checkpoint, read_note, save_checkpoint
from trainable.worker import Config, Report, RunSpec, TrialSpec


class PointTrial(ABC):
    """See `trainable.worker.TrialRun`. A subclass builds a model, trains it to a point, and gives its state.

    Args:
        run: what all trials share.
        trial: what is trained.

    Attributes:
        id: the trial's name in its run.
        known: the last resource point that the search has the report of.
        run: as given.
        config: the checked hyperparameters, from `build` on.
    """

    config: Config

    def __init__(self, run: RunSpec, trial: TrialSpec) -> None:
        self.id, self.known, self.run, self._values = trial.id, trial.known, run, trial.config
        self._file = run.checkpoint(trial.id)
        self._last: Report = {"resource": 0.0, "epoch": 0.0, "training_seconds": 0.0, "status": "running"}
        self._built = False

    @abstractmethod
    def build(self) -> None:
        """Builds the training at its beginning; it is seeded by `config["seed"]` alone.

        Raises:
            UserError: the hyperparameters do not fit.
        """

    @abstractmethod
    def train_to(self, point: float) -> Report:
        """Trains to a point of the budget and judges the model.

        Returns:
            `epoch`, `training_seconds` and the task's metrics; a `val_loss` that is not finite ends the trial.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns all that goes on from here needs: `tensors` by name, and `numbers` that are plain JSON."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave, into a training that was built with the same hyperparameters."""

    def close(self) -> None:  # noqa: B027
        """See `TrialRun`; a subclass that has threads or memory to give back does so here."""

    def next_report(self) -> Report:
        """See `TrialRun`."""
        try:
            self._last = self._reported()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._last = {**self._last, "status": "out_of_memory", "val_loss": math.nan}
        if self._last["status"] == "out_of_memory":  # whatever the error held on to is free now
            self.close()
            free_memory()
        self.known = max(self.known, self._last["resource"])
        return self._last

    def _reported(self) -> Report:
        if not self._built:
            self.config = find_task(self.run.task).config(self._values)
            self.build()
            self._built = True
            if self._file.exists():
                self._last = read_note(self._file)["report"]
                load_checkpoint(self._file, self)
        if self._last["resource"] > self.known or self._last["status"] != "running":
            return self._last
        point = self.run.budget.next_point(self.known)
        measured = self.train_to(point)
        status = "complete" if point == self.run.budget.points[-1] else "running"
        status = status if math.isfinite(measured["val_loss"]) else "diverged"
        report = {"resource": point, "status": status, **measured}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(self._file, self, {"report": report})
        return report
