"""What a process does that trains the trials of a search; it needs no Ray, and torch only where a task does."""

import gc
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainable import heartbeat
from trainable.errors import ConfigError, UserError
from trainable.task import Size, find_task
from trainable.worker import Config, Report, RunSpec, TrialRun, TrialSpec, Worker


class TrialProcess:
    """Gives the next report of whichever trial is asked for, on a dataset that stays open.

    The trial that was asked for last stays in memory, and goes on from there. Another one, or one that another process
    has trained on since, is read from its checkpoint.

    Args:
        run: what the trials share.
        signs: file of its signs of life, see `trainable.heartbeat`; None: it gives none.
    """

    def __init__(self, run: RunSpec, signs: Path | None = None) -> None:
        if signs is not None:
            heartbeat.begin(signs)
        self._run = run
        self._worker: Worker | None = None
        self._trial: TrialRun | None = None

    def next_report(self, trial: TrialSpec) -> Report:
        """Trains a trial to the next point of the budget.

        Args:
            trial: the trial, and the last point that the search knows of.

        Returns:
            See `trainable.worker.TrialRun.next_report`. A trial that cannot go on in any process has the status
            "failed", and `error`, a line that says why. `began` is when this process took the trial up for it.
        """
        heartbeat.beat()
        began = datetime.now(UTC).isoformat()
        try:
            report = self._find(trial).next_report()
        except UserError as error:
            report = {"status": "failed", "resource": trial.known, "error": str(error)}
        if report["status"] != "running":
            self._forget()
        return {**report, "began": began}

    def close(self) -> None:
        """Gives the memory back and ends the threads."""
        self._forget()
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _find(self, trial: TrialSpec) -> TrialRun:
        if self._worker is None:
            self._worker = find_task(self._run.task).open_worker(self._run)
            gc.collect()
            gc.freeze()  # what is loaded by now stays: going through it after each trial takes a quarter of a second
        if self._trial is None or (self._trial.id, self._trial.known) != (trial.id, trial.known):
            self._forget()
            self._trial = self._worker.start(trial)
        return self._trial

    def _forget(self) -> None:
        if self._trial is not None:
            self._trial.close()
            self._trial = None


def measure_models(task: str, configs: list[Config], geometry: Any) -> list[Size | ConfigError]:
    """Returns what each configuration's model takes, or why it cannot be built; it may need torch."""

    def measure(config: Config) -> Size | ConfigError:
        try:
            return find_task(task).size(config, geometry)
        except ConfigError as error:
            return error

    return [measure(config) for config in configs]


def check_models(task: str, configs: Sequence[Config]) -> tuple[int, ConfigError] | None:
    """See `Task.check_models`; it may need torch."""
    return find_task(task).check_models(configs)
