"""One report of a training: train to a step, judge, and put everything that is logged into one flat dictionary."""

import math
import resource
import sys
import time
from datetime import UTC, datetime
from typing import Any

import torch

from trainable.evaluation import Evaluation, Evaluator
from trainable.loop import Training


def train_and_report(training: Training, evaluator: Evaluator, step: int) -> tuple[dict[str, Any], Evaluation | None]:
    """Trains to `step` and judges the result.

    The features are probed at whole epochs only: that takes a pass over the clips without masks.

    Returns:
        The report (fields: docs/run-directory.md) and the evaluation with its per-clip losses; None where the training
        diverged, whose `val_loss` is then NaN.
    """
    training.train_to(step)
    collected = training.collect()
    started = time.perf_counter()
    evaluation, features = None, {}
    if training.status != "diverged":
        evaluation = evaluator.evaluate(training)
        if not math.isfinite(evaluation.val_loss):
            training.status = "diverged"
            evaluation = None
        elif training.step % training.steps_per_epoch == 0:
            features = evaluator.features(training)
    evaluating = time.perf_counter() - started
    training_seconds, waiting = collected.pop("training"), collected.pop("waiting")
    whole = training_seconds + evaluating or 1.0
    report = {
        "epoch": training.epoch,
        "step": training.step,
        "status": training.status,
        "val_loss": evaluation.val_loss if evaluation else math.nan,
        "val_loss_se": evaluation.val_loss_se if evaluation else math.nan,
        "val_r2": evaluation.val_r2 if evaluation else math.nan,
        **features,
        **collected,
        "waiting_share": waiting / whole,
        "computing_share": (training_seconds - waiting) / whole,
        "evaluating_share": evaluating / whole,
        "training_seconds": training.seconds,
        **memory(training.device),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return report, evaluation


def memory(device: torch.device) -> dict[str, float]:
    """Peak memory of this process in GB: `peak_rss_gb`, and `peak_gpu_gb` on CUDA."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in kilobytes on Linux
    peaks = {"peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
    if device.type == "cuda":
        peaks["peak_gpu_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    return peaks
