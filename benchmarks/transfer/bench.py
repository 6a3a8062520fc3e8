"""A process that trains the runs of the experiment, one after the other, and measures them."""

import math
import time
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.transfer.plan import Plan, Point, Run
from benchmarks.transfer.records import Key, Record, Records
from benchmarks.transfer.signals import GUARDS
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.dataset import StoreDataset
from trainable.data.store.draw import draw_clips
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator, measure
from trainable.evaluate.judged import Judgeable
from trainable.evaluate.panel_baselines import ARCHITECTURE, measure_baselines, summed_up
from trainable.masking.masks import Masks
from trainable.memory import limit_process
from trainable.train.training import Training

DIGITS = 7  # of a measurement


class Bench:
    """Trains and measures on one thread of the CPU, with the evaluation that a search has by default.

    Args:
        store: folder of the clip store.

    Raises:
        StoreError: no store there, or one without latents.
    """

    def __init__(self, store: Path) -> None:
        limit_process(threads=1, gpu_share=1.0)
        self.store = StoreDataset.open(store).store
        evaluation = EvaluationConfig()
        self._evaluator = Evaluator(self.store, evaluation, device="cpu")
        self._position_mean = position_mean_losses(self.store, evaluation)

    def train(self, run: Run, plan: Plan, records: Records, known: Collection[Key]) -> None:
        """Trains a run to its end and adds what is not known of it yet."""
        training = Training(plan.config(run, len(self.store.train)), self.store, device="cpu")
        try:
            for point in plan.points(run.kind):
                training.train_to(max(1, round(point.epoch * training.steps_per_epoch)))
                if (run.config, run.seed, run.kind, point.epoch) not in known:
                    records.append(self._measured(run, point, training))
        finally:
            training.close()

    def close(self) -> None:
        """Ends the threads."""
        self._evaluator.close()

    def _measured(self, run: Run, point: Point, training: Training) -> Record:
        started, diverged = time.perf_counter(), training.status == "diverged"
        record: Record = {"config": run.config, "seed": run.seed, "run": run.kind, "epoch": point.epoch}
        record |= {"step": training.step, "status": training.status}
        averaged = training.averaged
        # Where there are averaged weights, the panel is theirs alone: it takes most of the time.
        record["trained"] = {} if diverged else self._judge(training, point.panel and averaged is None)
        if averaged is not None:
            record["averaged"] = {} if diverged else self._judge(averaged, point.panel)
        record["training_seconds"] = round(training.seconds, 2)
        record["judging_seconds"] = round(time.perf_counter() - started, 2)
        return record

    def _judge(self, model: Judgeable, panel: bool) -> dict[str, Any]:
        judged = self._evaluator.judge(model)
        metrics: dict[str, Any] = {**measure(judged, "report"), **(measure(judged, "probe") if panel else {})}
        metrics["over_position_mean"] = float((judged.clip_losses / self._position_mean).mean())
        return {name: _plain(value) for name, value in metrics.items()}


def untrained_panel(store: ClipStore, plan: Plan) -> dict[str, float]:
    """Measures the metrics of `GUARDS` of untrained students; empty where several architectures are searched."""
    configs = [TrialConfig.from_dict(config) for config in plan.configs]
    if len({tuple(getattr(config, name) for name in ARCHITECTURE) for config in configs}) > 1:
        return {}
    evaluator = Evaluator(store, EvaluationConfig(), device="cpu")
    values = measure_baselines(evaluator.on, configs[0], torch.device("cpu"), nullcontext)
    evaluator.close()
    fields = summed_up(values).fields["untrained"]
    return {name: value for name in GUARDS if (value := fields.get(name)) is not None}


def position_mean_losses(store: ClipStore, evaluation: EvaluationConfig) -> NDArray[np.float64]:
    """Computes each judged clip's error of predicting the mean of the training latents at each position: (clips,)."""
    chosen = draw_clips(store.val, evaluation.clips, evaluation.seed)
    masks = Masks(store.view, evaluation.masking, evaluation.mask_ratio, evaluation.seed)
    masked = masks.draw(0, store.val.keys[chosen]).masked.reshape(len(chosen), -1)
    errors = (
        store.latents(store.val, int(clip))[tokens] - store.position_mean[tokens]
        for clip, tokens in zip(chosen, masked, strict=True)
    )
    return np.array([np.square(error, dtype=np.float64).mean() for error in errors])


def _plain(value: Any) -> Any:
    """Returns a value as JSON can say it: rounded, and null for what is not finite."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


_bench: Bench | None = None


def open_bench(store: Path) -> None:
    """Opens the bench of this process, for `train_in_process`."""
    global _bench
    _bench = Bench(store)


def train_in_process(run: Run, plan: Plan, records: Records, known: Collection[Key]) -> Run:
    """Trains a run on the bench of this process; see `Bench.train`."""
    assert _bench is not None
    _bench.train(run, plan, records, known)
    return run
