"""What the judge says of a training with an option, clip by clip."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.training_step.options import Option, options_for
from benchmarks.transfer.records import Record
from trainable.config import TrialConfig
from trainable.data.store.dataset import StoreDataset
from trainable.evaluate.answers import Answers
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.memory import limit_process
from trainable.train.training import Training

DIGITS = 7  # of a measurement
BASE = Option("without any")


def device() -> torch.device:
    """Returns where trainings run."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train_and_judge(store_path: Path, evaluation: dict[str, Any], base: TrialConfig, name: str) -> Record:
    """Trains to the end with an option, and judges what came out; on CPUs by one thread.

    Args:
        store_path: what is trained on.
        evaluation: what it is judged on.
        base: the training without the option.
        name: of the option, or of `BASE`.

    Returns:
        `option`, `seed`, `seconds` of training; and either `failed`, the first line of an error, or the `clip_losses`
        of the held-out clips, `right`, of each of the panel's clips the share of its answers that are right (None
        without labels), and `effective_rank`.
    """
    if not torch.cuda.is_available():
        limit_process(threads=1, gpu_share=1.0)
    store = StoreDataset.open(store_path).store
    options = (BASE, *options_for(device(), base.batch_size, len(store.train)))
    option = next(each for each in options if each.name == name)
    record: Record = {"option": name, "seed": base.seed}
    evaluator = Evaluator(store, EvaluationConfig(**evaluation), device=device())
    training = Training(base.replace(**option.changes), store, device=device())
    option.adapt(training)
    started = time.perf_counter()
    try:
        option.trained(training, training.total_steps)
        if training.status != "complete":
            return {**record, "failed": training.status}
        record["seconds"] = round(time.perf_counter() - started, 2)
        judged = evaluator.judge(training.outcome)
        answers = judged.value("probe_top1")
        rank = judged.value("effective_rank")
        assert isinstance(rank, float)
        return {
            **record,
            "clip_losses": [_rounded(loss) for loss in judged.clip_losses],
            "right": _right(answers) if isinstance(answers, Answers) else None,
            "effective_rank": _rounded(rank),
        }
    except RuntimeError as error:  # no such kernel, no compiler, not enough memory
        return {**record, "failed": str(error).strip().splitlines()[0]}
    finally:
        training.close()
        evaluator.close()


def _right(answers: Answers) -> list[float]:
    """Returns of each clip that is asked for, in the order of the panel, the share of right answers."""
    _, of_clip = np.unique(answers.clips, return_inverse=True)
    right = np.bincount(of_clip, answers.predicted == answers.labels) / np.bincount(of_clip)
    return [_rounded(share) for share in right]


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
