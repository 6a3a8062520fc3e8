"""Keeps the records of a search as its results come in: a callback of Tune's."""

from pathlib import Path
from typing import Any

from ray.tune import Callback

from salt_tune.records import Listener, TrialRecord, append_report, last_line

ENDED = {"diverged", "out_of_memory"}  # states that a trial reports of itself


class Recorder(Callback):
    """Keeps the records, appends each report to reports.jsonl, and tells the listeners.

    Args:
        records: one a trial, by id.
        reports: the file to append to.
        epochs: epochs of a full trial.
        listeners: whom to tell.
    """

    def __init__(self, records: dict[str, TrialRecord], reports: Path, epochs: int, listeners: list[Listener]) -> None:
        self.records, self.reports, self.epochs, self.listeners = records, reports, epochs, listeners

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its callbacks with the experiment; the live table and wandb are of this process alone."""
        return {**self.__dict__, "listeners": []}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """See `ray.tune.Callback`."""
        record = self.records[trial.config["trial"]["id"]]
        if record.state != "running":
            record.state = "running"
            for listener in self.listeners:
                listener.on_start(record)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """See `ray.tune.Callback`."""
        record, report = self.records[result["trial"]], result["report"]
        if report["epoch"] <= record.epochs and report["status"] == "running":  # made again, since its process had died
            return
        record.add(report)
        append_report(self.reports, report)
        for listener in self.listeners:
            listener.on_report(record, report)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """See `ray.tune.Callback`."""
        record = self.records[trial.config["trial"]["id"]]
        status = record.last.get("status")
        self._end(record, status if status in ENDED else "finished" if record.epochs >= self.epochs else "pruned")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """See `ray.tune.Callback`."""
        record = self.records[trial.config["trial"]["id"]]
        record.error = last_line(
            Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else "its process died"
        )
        self._end(record, "failed")

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """See `ray.tune.Callback`."""
        for record in self.records.values():
            if record.state in ("waiting", "running"):
                self._end(record, "interrupted")

    def _end(self, record: TrialRecord, state: str) -> None:
        record.state = state
        for listener in self.listeners:
            listener.on_end(record)
