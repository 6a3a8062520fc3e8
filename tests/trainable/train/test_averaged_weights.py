"""Averaged weights are the average they are said to be, go on after a stop, and are what is judged and saved."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainable.conftest import MakeTraining
from tests.trainable.small import assert_equal_tensors, tensors_of
from trainable.data.store.clip_store import ClipStore
from trainable.errors import CheckpointError
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.model.flops import measure_model
from trainable.train.checkpoint import load_checkpoint, save_checkpoint
from trainable.train.training import Training
from trainable.trial.report import train_and_report

STEPS = 8


def averaged_of(training: Training) -> dict[str, torch.Tensor]:
    tensors = training.state_dict()["tensors"]
    return {name: tensor.clone() for name, tensor in tensors.items() if name.startswith("averaged.")}


@pytest.mark.parametrize("horizon", [1.0, 0.5, 0.1, 0.01])
def test_the_average_is_that_of_the_closed_form(make_training: MakeTraining, horizon: float) -> None:
    training = make_training(ema=horizon)
    history = []
    for step in range(1, STEPS + 1):
        training.train_to(step)
        history.append(training.model.predictor.project.weight.detach().double().numpy().copy())
    steps, power = np.arange(1, STEPS + 1), 1 / horizon
    shares = (steps**power - (steps - 1) ** power) / STEPS**power
    assert shares.sum() == pytest.approx(1)
    expected = np.einsum("s,sij->ij", shares, np.stack(history))
    assert training.averaged is not None
    np.testing.assert_allclose(training.averaged.model.predictor.project.weight.numpy(), expected, rtol=1e-4, atol=1e-7)


def test_keeping_them_changes_nothing_of_the_training(make_training: MakeTraining) -> None:
    plain, averaging = make_training(), make_training(ema=0.1)
    for training in (plain, averaging):
        training.train_to(STEPS)
    assert plain.averaged is None
    assert_equal_tensors(tensors_of(averaging), tensors_of(plain))


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_they_go_on_after_a_stop_bit_for_bit(make_training: MakeTraining, tmp_path: Path, stop: int) -> None:
    straight, first, second = (make_training(ema=0.3, lr_schedule="wsd") for _ in range(3))
    straight.train_to(STEPS)
    first.train_to(stop)
    save_checkpoint(tmp_path / "checkpoint", first)
    load_checkpoint(tmp_path / "checkpoint", second)
    second.train_to(STEPS)
    assert_equal_tensors(averaged_of(second), averaged_of(straight))
    assert_equal_tensors(tensors_of(second), tensors_of(straight))


def test_a_checkpoint_without_them_is_refused(make_training: MakeTraining, tmp_path: Path) -> None:
    training = make_training(ema=0.1)
    state = training.state_dict()
    del state["tensors"]["averaged.student.norm.weight"]
    with pytest.raises(CheckpointError, match=r"lacks something: 'averaged\.student\.norm\.weight'$"):
        make_training(ema=0.1).load_state_dict(state)


def test_a_checkpoint_with_them_takes_no_more_than_announced(make_training: MakeTraining, tmp_path: Path) -> None:
    training = make_training(ema=0.1)
    training.train_to(1)
    save_checkpoint(tmp_path / "checkpoint", training, {"report": {f"field {number}": 0.123 for number in range(50)}})
    size = measure_model(training.config, training.store.view, training.target_dim)
    assert 0.9 * size.checkpoint_bytes < (tmp_path / "checkpoint").stat().st_size <= size.checkpoint_bytes


@pytest.mark.parametrize("target", ["latents", "pixels"])
def test_they_are_judged_in_the_place_of_the_trained_ones(
    make_training: MakeTraining, store: ClipStore, target: Any
) -> None:
    training = make_training(ema=0.5, options={"target": target})
    evaluator = Evaluator(store, EvaluationConfig(clips=8), target=target)
    size = measure_model(training.config, store.view, training.target_dim)
    report, _ = train_and_report(training, evaluator, 4, size, probe=False)
    trained = evaluator.judge(training).clip_losses.mean()
    training.model.load_state_dict(training.outcome.model.state_dict())
    assert report["val_loss"] == evaluator.judge(training).clip_losses.mean() != trained
    evaluator.close()


def test_the_outcome_without_them_is_the_training(make_training: MakeTraining) -> None:
    training = make_training()
    assert training.outcome is training
