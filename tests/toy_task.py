"""A task whose losses are a formula, for tests of all that is not training: `task: tests.toy_task:ToyTask` in a space.

It loads no torch, its worker is there at once, and any folder is its dataset; a file `mark` in it makes it another
one. It reports what this package's method reports. Hyperparameters say what becomes of a trial:

    fate      what happens on its way to the first point from `at` on: "diverged" and "out_of_memory" are reported,
              "failed" is an error that the user could put right, "crash" one that is tried again, "killed" the end of
              its process, the first time, "hungry" that it takes memory until its process is killed, the first time;
              "" lets it train to its end
    at        resource
    seconds   that a full trial takes; none by default
    verdict   what is reported beside an untrained encoder, at probe points; "" reports none
"""

import json
import math
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainable.errors import StoreError, UserError
from trainable.files import atomic_write, write_json
from trainable.metrics import METRICS
from trainable.task import Size, Task
from trainable.worker import Config, Report, RunSpec, TrialSpec

TOY: Final = "tests.toy_task:ToyTask"
CLIPS: Final = 24  # held out

# A space of six trials over `lr` and `depth`; rungs at 1 and 3 epochs.
SPACE: Final[dict[str, Any]] = {
    "name": "toy",
    "task": TOY,
    "parameters": {
        "lr": {"type": "log_uniform", "low": 1e-4, "high": 1e-2},
        "depth": {"type": "int", "low": 1, "high": 8},
    },
    "searcher": "random",
    "schedule": {"epochs": 3, "first_rung": 1, "reports": 6},
    "trials": 6,
}


class ToyData:
    """A folder, in which nothing is read; see `trainable.worker.Dataset`."""

    train_size = 96
    geometry = None

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise StoreError(f"{path}: no such folder")
        self.path = path
        self.held_out = [f"clip-{number}" for number in range(CLIPS)]
        mark = path / "mark"
        self._mark = mark.read_text(encoding="utf-8") if mark.exists() else ""

    def facts(self) -> dict[str, Any]:
        """See `Dataset`."""
        return {"path": str(self.path.absolute()), "train_clips": self.train_size, "val_clips": CLIPS,
                "mark": self._mark}  # fmt: skip


class ToyTask(Task):
    """See the module."""

    defaults = {"lr": 1e-3, "depth": 4, "batch_size": 8, "fate": "", "at": 0.0, "seconds": 0.0, "verdict": "",
                "epochs": 1.0, "seed": 0}  # fmt: skip
    resources = ("epoch", "tflop", "second")
    metrics = METRICS
    evaluation_defaults = {"clips": CLIPS}
    baseline_labels = {"training_mean": "training mean"}
    sized_by = ("depth",)
    same_data = ("train_clips", "val_clips")

    def open_data(self, path: Path) -> ToyData:
        """See `Task`."""
        return ToyData(path)

    def damage(self, path: Path) -> str:
        """See `Task`."""
        return "it is damaged" if (path / "damaged").exists() else ""

    def judged_clips(self, evaluation: dict[str, Any], data: Any) -> int:
        """See `Task`."""
        return min(len(data.held_out), int(evaluation["clips"]))

    def baselines(self, evaluation: dict[str, Any], data: Any) -> dict[str, float]:
        """See `Task`."""
        return {"training_mean": 1.0, "position_mean": 0.9, "nearest_visible": 1.1}

    def size(self, config: Config, geometry: Any) -> Size:
        """See `Task`."""
        return Size(4096 * int(config["depth"]))

    def open_worker(self, run: RunSpec) -> "ToyWorker":
        """See `Task`."""
        return ToyWorker(run)


class ToyWorker:
    """See `trainable.worker.Worker`."""

    def __init__(self, run: RunSpec) -> None:
        self._run = run
        ToyData(Path(run.data))

    def start(self, trial: TrialSpec) -> "ToyTrial":
        """See `Worker`."""
        return ToyTrial(trial, self._run)

    def close(self) -> None:
        """See `Worker`."""


class ToyTrial:
    """See `trainable.worker.TrialRun`; its checkpoint is its last report."""

    def __init__(self, trial: TrialSpec, run: RunSpec) -> None:
        self.id, self.known, self._values, self._run = trial.id, trial.known, trial.config, run
        self._checkpoint = run.checkpoint(trial.id)

    def next_report(self) -> Report:
        """See `TrialRun`."""
        config = ToyTask(TOY).config(self._values)
        last: Report = json.loads(self._checkpoint.read_text()) if self._checkpoint.exists() else {"resource": 0.0}
        if last["resource"] <= self.known and last.get("status", "running") == "running":
            last = self._train(config, self._run.budget.next_point(self.known))
        self.known = max(self.known, last["resource"])
        return last

    def close(self) -> None:
        """See `TrialRun`."""

    def _train(self, config: Config, point: float) -> Report:
        budget = self._run.budget
        time.sleep(config["seconds"] * (point - self.known) / budget.full)
        status = "complete" if point == budget.points[-1] else "running"
        if config["fate"] and point >= config["at"]:
            self._meet(config["fate"])
            status = config["fate"] if config["fate"] in ("diverged", "out_of_memory") else status
        if status == "out_of_memory":
            return report_of(config, self.known, budget.full, status)
        report = report_of(config, point, budget.full, status) | {"time": datetime.now(UTC).isoformat()}
        if point in budget.probe_points and status != "diverged":
            report |= {"probe_top1": 1 / (1 + report["val_loss"]), "effective_rank": 8.0 + config["depth"]}
            report |= {"verdict": config["verdict"]} if config["verdict"] else {}
        if status != "diverged":
            self._write_losses(point, report["val_loss"])
        self._checkpoint.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._checkpoint, report)
        return report

    def _meet(self, fate: str) -> None:
        met = self._checkpoint.with_suffix(".met")
        if fate == "failed":
            raise UserError("fate = 'failed': take another one")
        if fate == "crash":
            raise RuntimeError("it crashed")
        if fate in ("killed", "hungry") and not met.exists():
            met.parent.mkdir(parents=True, exist_ok=True)
            met.touch()
            eaten = []
            while fate == "hungry":
                eaten.append(b"x" * 2**26)
            os.kill(os.getpid(), signal.SIGKILL)

    def _write_losses(self, point: float, mean: float) -> None:
        """Clips that are as hard for one trial as for another."""
        hard = np.random.default_rng(0).gamma(9.0, 1 / 9.0, CLIPS)
        own = np.random.default_rng([*self.id.encode()]).normal(0, 0.01, CLIPS)
        losses = pa.array(mean * hard / hard.mean() + own - own.mean(), pa.float32())
        path = self._run.losses(self.id, point)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            pq.write_table(pa.table({"clip": [f"clip-{number}" for number in range(CLIPS)], "loss": losses}), temporary)


def report_of(config: Config, point: float, full: float, status: str) -> Report:
    """A report that follows from the configuration alone."""
    lost = status in ("diverged", "out_of_memory")
    quality = abs(math.log10(config["lr"]) + 3) / 10 + config["depth"] / 100 + config["seed"] % 7 / 1000
    loss = math.nan if lost else 0.4 + quality + 0.2 / (1 + point)
    epoch = point / full * config["epochs"]
    return {
        "resource": point,
        "epoch": epoch,
        "step": round(12 * epoch),
        "status": status,
        "val_loss": loss,
        "val_loss_se": math.nan if lost else 0.01,
        "val_r2": 1 - loss,
        "train_loss": loss,
        "lr": config["lr"],
        "training_seconds": 4 * epoch,
        "step_seconds": 0.25,
        "clips_per_second": 32.0,
        "tflop": 10 * epoch,
        "student_parameters": 1000 * config["depth"],
        "predictor_parameters": 500,
    }
