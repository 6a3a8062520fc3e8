"""The adapter between the training loop and Ray Tune: the one module of this room that knows Ray.

The driver imports it too, to name the class, so torch is imported inside the actor only.
"""

import gc
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from ray.tune import Trainable

from trainable.config import TrialConfig
from trainable.data.view import View
from trainable.errors import ConfigError
from trainable.files import atomic_write

if TYPE_CHECKING:
    from trainable.evaluation import Evaluation

CHECKPOINT = "checkpoint.safetensors"


class VJepaTrainable(Trainable):
    """One trial: a step of Tune's trains to the next report point and judges the result.

    Its configuration, as Tune hands it over:
        trial: `id`, the trial's name in this run, and `hyperparameters`, the fields of `TrialConfig`.
        task: what all trials share: `store`, `evaluation`, `reports_per_epoch`, `clip_losses` (pattern of a path),
            `threads`, `device`.

    A result holds `trial`, `status`, the objectives and `epoch` for the scheduler, and under `report` everything that
    is logged. An actor is reused for the next trial: the store stays open and the held-out clips chosen.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Opens the store and sets up the first trial."""
        import torch

        from trainable.data.store import ClipStore
        from trainable.evaluation import Evaluator
        from trainable.objective import EvaluationConfig

        task = config["task"]
        torch.set_num_threads(task["threads"])
        self._device = task["device"]
        self._store = ClipStore.open(task["store"])
        self._evaluator = Evaluator(self._store, EvaluationConfig(**task["evaluation"]), device=self._device)
        self._training: Any = None
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Sets up the next trial in this actor."""
        self._release()
        self._start(new_config)
        return True

    def _start(self, config: dict[str, Any]) -> None:
        from trainable.loop import Training, report_steps

        self._trial, self._task = config["trial"]["id"], config["task"]
        hyperparameters = TrialConfig.from_dict(config["trial"]["hyperparameters"])
        self._training = Training(hyperparameters, self._store, device=self._device)
        self._report_steps = report_steps(
            self._training.steps_per_epoch, hyperparameters.epochs, self._task["reports_per_epoch"]
        )

    def step(self) -> dict[str, Any]:
        """Trains to the next report point; see the class for the result."""
        import torch

        from trainable.reports import train_and_report

        training = self._training
        target = next(step for step in self._report_steps if step > training.step)
        try:
            report, evaluation = train_and_report(training, self._evaluator, target)
        except torch.OutOfMemoryError:
            report = {
                "epoch": training.epoch,
                "step": training.step,
                "status": "out_of_memory",
                "val_loss": math.nan,
                "val_r2": math.nan,
                "training_seconds": training.seconds,
            }
            evaluation = None
        if evaluation is not None:
            self._write_clip_losses(training.epoch, evaluation)
        scores = {name: report[name] for name in ("val_loss", "val_r2", "probe_top1") if report.get(name) is not None}
        done = report["status"] != "running"
        return {
            "trial": self._trial,
            "status": report["status"],
            "epoch": report["epoch"],
            "done": done,
            **scores,
            "report": {"trial": self._trial, **report},
        }

    def _write_clip_losses(self, epoch: float, evaluation: "Evaluation") -> None:
        path = Path(self._task["clip_losses"].format(trial=self._trial, epoch=epoch))
        path.parent.mkdir(parents=True, exist_ok=True)
        losses = pa.array(evaluation.clip_losses, pa.float32())
        with atomic_write(path) as temporary:
            pq.write_table(pa.table({"clip": self._evaluator.clip_ids, "loss": losses}), temporary)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes the trial's state into the folder that Tune names."""
        from trainable.checkpoint import save_checkpoint

        save_checkpoint(Path(checkpoint_dir) / CHECKPOINT, self._training)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Reads the trial's state from the folder that Tune names."""
        from trainable.checkpoint import load_checkpoint

        load_checkpoint(Path(checkpoint) / CHECKPOINT, self._training)

    def cleanup(self) -> None:
        """Ends the threads of the actor."""
        self._release()
        self._evaluator.close()

    def _release(self) -> None:
        """Gives the last trial's memory back before the next one asks for its own."""
        import torch

        if self._training is not None:
            self._training.close()
            self._training = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def count_parameters(
    hyperparameters: list[dict[str, Any]], view: View, target_dim: int
) -> list[tuple[int, int]] | ConfigError:
    """Parameters of student and predictor for each configuration; runs in a worker, since it needs timm.

    Returns:
        A pair for each, or the error of the first one that cannot be built.
    """
    import torch

    from trainable.predictor import VJepa

    counts = []
    for values in hyperparameters:
        try:
            with torch.device("meta"):
                model = VJepa(TrialConfig.from_dict(values), view, target_dim)
        except ConfigError as error:
            return error
        student, predictor = (sum(p.numel() for p in part.parameters()) for part in (model.student, model.predictor))
        counts.append((student, predictor))
    return counts
