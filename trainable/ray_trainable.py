"""The adapter between a task and Ray Tune: the one module of this room that knows Ray.

It knows no masking, store or teacher: what is trained is a `trainable.task.Task`, which it makes by its name. The
driver imports this module too, to name its class; what loads torch is imported by the task, in the actor only.
"""

import json
from pathlib import Path
from typing import Any

from ray.tune import Trainable

from trainable.errors import ConfigError, UserError
from trainable.files import write_json
from trainable.metrics import objectives
from trainable.task import Size, find_task
from trainable.worker import Config, RunSpec, TrialRun, TrialSpec

MARKER = "marker.json"


class TaskTrainable(Trainable):
    """One trial: a step of Tune's trains to the next resource point and judges the result.

    Its configuration, as Tune hands it over:
        trial: the fields of `trainable.worker.TrialSpec`.
        run: the fields of `trainable.worker.RunSpec`, with those of its budget as a mapping.

    A result holds `trial`, `status`, `resource`, `epoch` and the objectives for the scheduler, and under `report`
    everything that is logged. A trial that cannot go on has the status "failed", and `error`, a line that says why. All
    other errors are Ray's to deal with, which tries again in a new process. An actor is reused for the next trial: its
    worker stays open. The trial keeps its own checkpoint; Tune's holds nothing but how far the driver has been told.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Opens the worker; the first trial is set up when it is asked for a report."""
        run = RunSpec.from_dict(config["run"])
        task = find_task(run.task)
        self._objectives = (*objectives(task.metrics),)
        self._worker = task.open_worker(run)
        self._trial = self._next_trial(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Makes room and takes the next trial into this actor."""
        self._trial.close()
        self._trial = self._next_trial(new_config)
        return True

    def _next_trial(self, config: dict[str, Any]) -> TrialRun:
        return self._worker.start(TrialSpec(**config["trial"]))

    def step(self) -> dict[str, Any]:
        """Returns the next report; see the class for the result."""
        report = {"trial": self._trial.id, **self._next_report()}
        scores = {name: report[name] for name in self._objectives if report.get(name) is not None}
        told: dict[str, Any] = {
            name: report[name] for name in ("trial", "status", "resource", "epoch") if name in report
        }
        return told | {"done": report["status"] != "running", **scores, "report": report}

    def _next_report(self) -> dict[str, Any]:
        try:
            return self._trial.next_report()
        except UserError as error:  # another process would come to the same
            self._trial.close()
            return {"status": "failed", "resource": self._trial.known, "error": str(error)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes how far the driver has been told; it asks for this after it has dealt with the last result."""
        write_json(Path(checkpoint_dir) / MARKER, {"trial": self._trial.id, "known": self._trial.known})

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Reads what `save_checkpoint` wrote."""
        marker = json.loads((Path(checkpoint) / MARKER).read_text(encoding="utf-8"))
        self._trial.known = max(self._trial.known, marker["known"])

    def cleanup(self) -> None:
        """Ends the threads of the actor."""
        self._trial.close()
        self._worker.close()


def measure_models(task: str, configs: list[Config], geometry: Any) -> list[Size | ConfigError]:
    """Returns what each configuration's model takes, or why it cannot be built; runs in a worker: it may need torch."""

    def measure(config: Config) -> Size | ConfigError:
        try:
            return find_task(task).size(config, geometry)
        except ConfigError as error:
            return error

    return [measure(config) for config in configs]


def check_models(task: str, configs: list[Config]) -> tuple[int, ConfigError] | None:
    """See `Task.check_models`; runs in a worker, as `measure_models` does."""
    return find_task(task).check_models(configs)
