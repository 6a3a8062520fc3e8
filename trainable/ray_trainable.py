"""The adapter between the training loop and Ray Tune: the one module of this room that knows Ray.

The driver imports it too, to name the class, so torch is imported inside the actor only.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune import Trainable

from trainable.config import TrialConfig
from trainable.data.video.view import View
from trainable.errors import ConfigError, UserError
from trainable.files import write_json
from trainable.metrics import objectives
from trainable.model.size import ModelSize

if TYPE_CHECKING:
    from trainable.evaluate.evaluator import Evaluator
    from trainable.trial.trial_run import Trial

MARKER = "marker.json"


class VJepaTrainable(Trainable):
    """One trial: a step of Tune's trains to the next resource point and judges the result; see `trial.trial_run`.

    Its configuration, as Tune hands it over:
        trial: `id`, the trial's name in this run; `hyperparameters`, the fields of `TrialConfig` (`epochs` follows from
            the resource); `known`, the last resource point that the driver has the report of, 0.0 where it has none.
        task: what all trials share: `store`, `evaluation`, `resource` (the fields of `trainable.trial.budget.Budget`),
            `checkpoints` (folder), `clip_losses` (pattern of a path with `trial` and `resource`), `threads`, `device`,
            and `gpu_share`, where several trials share a GPU.

    A result holds `trial`, `status`, `resource`, `epoch` and the objectives for the scheduler, and under `report`
    everything that is logged. A trial that cannot go on has the status "failed", and `error`, a line that says why; all
    other errors are Ray's to deal with, which tries again in a new process. An actor is reused for the next trial: the
    store stays open and the held-out clips chosen. The trial keeps its own checkpoint; Tune's holds nothing but how far
    the driver has been told.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Opens the store; the first trial is set up when it is asked for a report."""
        import torch

        from trainable.data.store.clip_store import ClipStore

        torch.set_num_threads(config["task"]["threads"])
        share = config["task"].get("gpu_share", 1.0)
        if 0 < share < 1:  # a trial that wants more than its share must not take its neighbours down
            torch.cuda.set_per_process_memory_fraction(share)
        self._store = ClipStore.open(config["task"]["store"])
        self._judge: Evaluator | None = None
        self._trial = self._next_trial(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Makes room and takes the next trial into this actor."""
        self._trial.close()
        self._trial = self._next_trial(new_config)
        return True

    def _next_trial(self, config: dict[str, Any]) -> "Trial":
        from trainable.trial.trial_run import Trial

        self._task = config["task"]
        return Trial(config["trial"], self._task, self._store, self._evaluator)

    def _evaluator(self) -> "Evaluator":
        """Made with the first report: memory that runs out then is a matter of that trial's, not of the actor's."""
        from trainable.evaluate.config import EvaluationConfig
        from trainable.evaluate.evaluator import Evaluator

        if self._judge is None:
            judged_on = EvaluationConfig(**self._task["evaluation"])
            self._judge = Evaluator(self._store, judged_on, device=self._task["device"])
        return self._judge

    def step(self) -> dict[str, Any]:
        """The next report; see the class for the result."""
        report = {"trial": self._trial.id, **self._next_report()}
        scores = {name: report[name] for name in objectives() if report.get(name) is not None}
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
        if self._judge is not None:
            self._judge.close()


def measure_models(hyperparameters: list[dict[str, Any]], view: View, target_dim: int) -> list[ModelSize | ConfigError]:
    """What each configuration costs, or why it cannot be built; runs in a worker, since it needs torch and timm."""
    from trainable.model.flops import measure_model

    def measure(values: dict[str, Any]) -> ModelSize | ConfigError:
        try:
            return measure_model(TrialConfig.from_dict(values), view, target_dim)
        except ConfigError as error:
            return error

    return [measure(values) for values in hyperparameters]


def check_students(hyperparameters: list[dict[str, Any]]) -> tuple[int, ConfigError] | None:
    """The first configuration whose student cannot be built, and why; runs in a worker, as `measure_models` does."""
    from trainable.model.student import check_student

    for number, values in enumerate(hyperparameters):
        try:
            check_student(TrialConfig.from_dict(values))
        except ConfigError as error:
            return number, error
    return None
