"""A report says how the training goes, and where its time went."""

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import torch

from tests.trainable.conftest import MakeTraining
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.evaluate.held_out_loss import val_loss, val_loss_se, val_r2
from trainable.evaluate.judged import Judged
from trainable.model.size import ModelSize
from trainable.train.training import Training
from trainable.trial.report import memory, report_out_of_memory, train_and_report

SIZE = ModelSize(student_parameters=300, predictor_parameters=20, tflop_per_step=0.25, checkpoint_bytes=5000)


@pytest.fixture
def evaluator(store: ClipStore) -> Iterator[Evaluator]:
    made = Evaluator(store, EvaluationConfig())
    yield made
    made.close()


def report_at(
    training: Training, evaluator: Evaluator, step: int, *, probe: bool = False
) -> tuple[dict[str, Any], Judged | None]:
    return train_and_report(training, evaluator, step, SIZE, probe=probe)


def test_a_report_holds_the_objective_and_the_training(make_training: MakeTraining, evaluator: Evaluator) -> None:
    training, plain = make_training(), make_training()
    report, evaluation = report_at(training, evaluator, 4)
    plain.train_to(4)
    assert evaluation is not None
    assert (report["epoch"], report["step"], report["status"]) == (1.0, 4, "running")
    assert report["val_loss"] == val_loss(evaluation) == val_loss(evaluator.judge(plain))
    assert (report["val_r2"], report["val_loss_se"]) == (val_r2(evaluation), val_loss_se(evaluation))
    assert report["train_loss"] == plain.collect()["train_loss"]
    assert report["training_seconds"] == training.seconds
    assert datetime.fromisoformat(report["time"]).tzinfo is not None
    assert all(isinstance(value, int | float | str) for value in report.values())


def test_the_shares_of_the_time_add_up(make_training: MakeTraining, evaluator: Evaluator) -> None:
    training = make_training()
    for step in (3, 8):
        report, _ = report_at(training, evaluator, step)
        shares = [report[f"{name}_share"] for name in ("waiting", "computing", "evaluating")]
        assert all(share > 0 for share in shares)
        assert sum(shares) == pytest.approx(1)
        assert report["clips_per_second"] > 0


def test_a_report_says_what_it_cost(make_training: MakeTraining, evaluator: Evaluator) -> None:
    training = make_training()
    assert math.isnan(training.step_seconds)
    report, _ = report_at(training, evaluator, 6)
    assert report["tflop"] == 6 * 0.25
    assert report["step_seconds"] == training.step_seconds == pytest.approx(training.seconds / 6)
    assert (report["student_parameters"], report["predictor_parameters"]) == (300, 20)


def test_features_are_probed_where_asked_for(make_training: MakeTraining, evaluator: Evaluator) -> None:
    training = make_training()
    reports = [report_at(training, evaluator, step, probe=step == 5)[0] for step in (2, 4, 5, 8)]
    assert [report["step"] for report in reports if "probe_top1" in report] == [5]
    assert [report["step"] for report in reports if "effective_rank" in report] == [5]


def test_a_trial_without_memory_got_no_further_than_its_last_report(
    make_training: MakeTraining, evaluator: Evaluator
) -> None:
    last, _ = report_at(make_training(), evaluator, 3)
    for before, expected in ((last, last), ({}, {"epoch": 0, "step": 0, "tflop": 0, "training_seconds": 0})):
        report = report_out_of_memory(before, torch.device("cpu"), SIZE)
        assert report.keys() < last.keys()
        assert report["status"] == "out_of_memory"
        assert all(report[name] == expected[name] for name in ("epoch", "step", "tflop", "training_seconds"))
        assert math.isnan(report["val_loss"]) and math.isnan(report["val_r2"])


def test_a_diverged_training_is_not_judged(make_training: MakeTraining, evaluator: Evaluator) -> None:
    training = make_training(lr=1e30, warmup=0, grad_clip=None)
    report, evaluation = report_at(training, evaluator, 8)
    assert evaluation is None
    assert report["status"] == "diverged"
    assert math.isnan(report["val_loss"])
    assert math.isnan(report["val_r2"])


def test_weights_that_the_last_step_destroyed_are_a_divergence(
    make_training: MakeTraining, evaluator: Evaluator
) -> None:
    training = make_training()
    training.train_to(4)
    with torch.no_grad():
        training.model.predictor.project.bias.fill_(torch.inf)
    report, evaluation = report_at(training, evaluator, 4)
    assert evaluation is None
    assert report["status"] == training.status == "diverged"
    assert math.isnan(report["val_loss"])


def test_a_report_without_a_step_has_no_training_loss(make_training: MakeTraining, evaluator: Evaluator) -> None:
    report, evaluation = report_at(make_training(), evaluator, 0)
    assert evaluation is not None
    assert math.isnan(report["train_loss"])
    assert report["val_loss"] == val_loss(evaluation)


def test_peak_memory_is_in_gigabytes() -> None:
    before = memory(torch.device("cpu"))["peak_rss_gb"]
    taken = torch.ones(50_000_000)  # 0.2 GB above what is in use now
    after = memory(torch.device("cpu"))["peak_rss_gb"]
    assert taken.sum() > 0
    assert 0.1 < after < 100
    assert after >= before
    assert "peak_gpu_gb" not in memory(torch.device("cpu"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_peak_memory_of_the_gpu_is_reported(make_training: MakeTraining, store: ClipStore) -> None:
    evaluator = Evaluator(store, EvaluationConfig(), device="cuda")
    torch.cuda.reset_peak_memory_stats()
    report, _ = report_at(make_training(options={"device": "cuda"}), evaluator, 2)
    assert report["peak_gpu_gb"] == torch.cuda.max_memory_allocated() / 1e9 > 0
    evaluator.close()
