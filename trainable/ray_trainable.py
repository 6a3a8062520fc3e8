"""A task as a `ray.tune.Trainable`, for those that run Ray's own Tuner; a search of ours does without.

It is the one module of this room that knows Ray. `examples/ray_tuner` has a search with it.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.tune import Trainable

from trainable.errors import UserError
from trainable.files import write_json
from trainable.metrics import objectives
from trainable.task import find_task
from trainable.trial_process import TrialProcess
from trainable.worker import RunSpec, TrialSpec

MARKER = "marker.json"


class TaskTrainable(Trainable):
    """One trial: a step of Tune's trains to the next resource point and judges the result.

    Its configuration, as Tune hands it over:
        run: the fields of `trainable.worker.RunSpec`, with those of its budget as a mapping.
        trial: hyperparameters of the task by name; the task's defaults stand for the rest.

    A result holds `trial` (Tune's id), `status`, `resource`, `epoch` and the objectives for a scheduler, and under
    `report` all that is logged. A trial that cannot go on raises `UserError`. An actor can be reused for another trial:
    the dataset stays open. The trial keeps its own checkpoint where `run` says; Tune's holds how far the trial is.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Takes a trial; nothing is read before it is asked for a report."""
        run = RunSpec.from_dict(config["run"])
        self._objectives = (*objectives(find_task(run.task).metrics),)
        self._process = TrialProcess(run)
        self._trial = TrialSpec(str(self.trial_id), config["trial"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next trial of the same run into this actor."""
        self._trial = TrialSpec(str(self.trial_id), new_config["trial"])
        return True

    def step(self) -> dict[str, Any]:
        """Returns the next report; see the class for the result.

        Raises:
            UserError: the trial cannot go on, in no process.
        """
        report = {"trial": self._trial.id, **self._process.next_report(self._trial)}
        if report["status"] == "failed":
            raise UserError(report["error"])
        self._trial = replace(self._trial, known=max(self._trial.known, report["resource"]))
        scores = {name: report[name] for name in self._objectives if report.get(name) is not None}
        told = {name: report[name] for name in ("trial", "status", "resource", "epoch")}
        return told | {"done": report["status"] != "running", **scores, "report": report}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes how far Tune has been told; it asks for this after it has dealt with the last result."""
        write_json(Path(checkpoint_dir) / MARKER, {"trial": self._trial.id, "known": self._trial.known})

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Reads what `save_checkpoint` wrote.

        Raises:
            UserError: it is another trial's, as with population-based training, which copies weights.
        """
        marker = json.loads((Path(checkpoint) / MARKER).read_text(encoding="utf-8"))
        if marker["trial"] != self._trial.id:
            raise UserError(f"trial {self._trial.id} cannot go on from the checkpoint of {marker['trial']}")
        self._trial = replace(self._trial, known=marker["known"])

    def cleanup(self) -> None:
        """Ends the threads of the actor."""
        self._process.close()
