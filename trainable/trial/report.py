"""One report of a training: train to a step, judge, and put everything that is logged into one flat dictionary."""

import math
import resource
import sys
import time
from datetime import UTC, datetime
from typing import Any

import torch

from trainable.evaluate.evaluator import Evaluator, measure
from trainable.evaluate.judged import Judged
from trainable.metrics import computed
from trainable.model.size import ModelSize
from trainable.train.training import Training


def train_and_report(
    training: Training, evaluator: Evaluator, step: int, size: ModelSize, *, probe: bool
) -> tuple[dict[str, Any], Judged | None]:
    """Trains to `step` and judges the result.

    Args:
        training: the run.
        evaluator: what it is judged on.
        step: where to report.
        size: of the model.
        probe: whether its features are probed too, which takes a pass over the clips without masks.

    Returns:
        The report (fields: docs/run-directory.md) and what was judged, with its losses of each clip; None where the
        training diverged, whose metrics are then NaN.
    """
    training.train_to(step)
    collected = training.collect()
    started = time.perf_counter()
    judged: Judged | None = None
    metrics: dict[str, float | str | None] = {**_lost()}
    if training.status != "diverged":
        judged = evaluator.judge(training.outcome)
        if not judged.finite(features=probe):
            training.status = "diverged"
            judged = None
        else:
            metrics = measure(judged, "report") | (measure(judged, "probe") if probe else {})
    evaluating = time.perf_counter() - started
    training_seconds, waiting = collected.pop("training"), collected.pop("waiting")
    whole = training_seconds + evaluating or 1.0
    report = {
        "epoch": training.epoch,
        "step": training.step,
        "status": training.status,
        **metrics,
        **collected,
        "waiting_share": waiting / whole,
        "computing_share": (training_seconds - waiting) / whole,
        "evaluating_share": evaluating / whole,
        "training_seconds": training.seconds,
        "step_seconds": training.step_seconds,
        "tflop": training.step * size.tflop_per_step,
        **({"micro_batch": training.gradients.micro_batch} if training.config.auto_batch else {}),
        **_now(training.device, size),
    }
    return report, judged


def report_out_of_memory(last: dict[str, Any], device: torch.device, size: ModelSize) -> dict[str, Any]:
    """Reports that a trial ran out of memory: it got no further than its `last` report, {} before the first."""
    start = {"epoch": 0.0, "step": 0, "training_seconds": 0.0, "step_seconds": math.nan, "tflop": 0.0}
    reached = {name: last.get(name, value) for name, value in start.items()}
    return {**reached, "status": "out_of_memory", **_lost(), **_now(device, size)}


def _lost() -> dict[str, float]:
    """Returns the metrics of a model that cannot be judged."""
    return dict.fromkeys(computed("report"), math.nan)


def _now(device: torch.device, size: ModelSize) -> dict[str, Any]:
    return {
        "student_parameters": size.student_parameters,
        "predictor_parameters": size.predictor_parameters,
        **memory(device),
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def memory(device: torch.device) -> dict[str, float]:
    """Measures the peak memory of this process in GB: `peak_rss_gb`, and `peak_gpu_gb` on CUDA."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in kilobytes on Linux
    peaks = {"peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
    if device.type == "cuda":
        peaks["peak_gpu_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    return peaks
