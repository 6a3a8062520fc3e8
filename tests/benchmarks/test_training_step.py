"""The step's benchmark compares like with like, and its figures are what they say."""

import time
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks.training_step.options import Option, options_for
from benchmarks.training_step.plain import PlainTraining
from benchmarks.training_step.rounds import alternate, ratio
from benchmarks.training_step.shares import PARTS, MarkedTraining, attention_kernels, matrix_rate, shares_of_a_step
from tests.trainable.small import SMALL
from trainable.data.store.clip_store import ClipStore
from trainable.train.training import Training

CPU = torch.device("cpu")


def test_the_plain_loop_trains_the_same_model_on_the_same_batches(store: ClipStore) -> None:
    config = SMALL.replace(student_depth=2, predictor_depth=2)
    ours = Training(config, store, device="cpu")
    plain = PlainTraining(ours)
    for step in range(1, ours.total_steps + 1):
        ours.train_to(step)
        plain.train(1)
        assert float(plain.losses[-1]) == pytest.approx(ours.collect()["train_loss"], rel=1e-4)
    ours.close()


def test_a_batch_may_stay_on_the_device(store: ClipStore) -> None:
    ours = Training(SMALL, store, device="cpu")
    read, kept = PlainTraining(ours), PlainTraining(ours, free_data=True)
    for training in (read, kept):
        training.train(3)
    assert kept.losses[0] == read.losses[0]
    assert kept.losses[2] != read.losses[2]
    ours.close()


def test_shares_of_a_step_are_those_of_its_parts(store: ClipStore) -> None:
    """A student that sleeps takes most of the step; watching changes no result."""
    watched, other = (MarkedTraining(SMALL, store, device="cpu") for _ in range(2))
    watched.model.student.norm.register_forward_hook(lambda *_: time.sleep(0.1))
    shares = shares_of_a_step(watched, 3)
    assert list(shares) == list(PARTS)
    assert sum(shares.values()) == pytest.approx(1)
    assert all(share > 0 for share in shares.values())
    assert max(shares, key=shares.__getitem__) == "student"
    other.train_to(3)
    assert watched.collect()["train_loss"] == other.collect()["train_loss"]
    for training in (watched, other):
        training.close()


def test_attention_takes_a_fused_kernel(store: ClipStore) -> None:
    training = Training(SMALL.replace(student_depth=2), store, device="cpu")
    assert attention_kernels(training) == {"_scaled_dot_product_flash_attention_for_cpu": 3}
    training.close()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_attention_on_cuda_takes_a_flash_kernel(store: ClipStore) -> None:
    training = Training(SMALL, store, device="cuda")
    training.train_to(1)
    flash = {"_scaled_dot_product_flash_attention", "_scaled_dot_product_cudnn_attention"}
    assert set(attention_kernels(training)) <= flash
    assert sum(attention_kernels(training).values()) == 2
    training.close()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_shares_on_cuda_are_those_of_the_device(store: ClipStore) -> None:
    training = MarkedTraining(SMALL, store, device="cuda")
    training.train_to(2)
    training.model.student.norm.register_forward_hook(lambda *_: torch.cuda._sleep(100_000_000))  # type: ignore[no-untyped-call]
    shares = shares_of_a_step(training, 3)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["student"] > 0.6
    training.close()


def test_exact_options_change_the_speed_and_not_the_result(store: ClipStore) -> None:
    losses = {}
    for option in (Option("base"), *options_for(CPU, 8, 32)):
        if option.changes.get("compile") or not option.exact:  # the compiler takes most of a minute
            continue
        training = Training(SMALL.replace(**option.changes), store, device="cpu")
        option.adapt(training)
        with option.around():
            training.train_to(4)
        losses[option.name] = training.collect()["train_loss"]
        training.close()
    assert len(losses) == 9
    rounded = losses.pop("precision bf16")
    assert rounded == pytest.approx(losses["base"], rel=0.02) and rounded != losses["base"]
    assert all(loss == pytest.approx(losses["base"], rel=1e-4) for loss in losses.values())


def test_batches_that_do_not_fit_are_no_options() -> None:
    sizes = [option.changes["batch_size"] for option in options_for(CPU, 8, 31) if "batch_size" in option.changes]
    assert sizes == [16, 4, 2]


def test_ratios_have_the_interval_of_student_over_rounds() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        slower = rng.lognormal(0.0, 0.1, 6) * 1.5
        found = ratio(list(slower), list(rng.lognormal(0.0, 0.1, 6)))
        inside += found.low <= 1.5 <= found.high
    assert 0.92 < inside / 400 < 0.98
    assert ratio([2.0, 4.0, 8.0], [1.0, 2.0, 4.0]) == pytest.approx((2.0, 2.0, 2.0))


def test_rounds_alternate_and_the_first_is_not_counted() -> None:
    calls: list[str] = []
    seconds = alternate({name: partial(calls.append, name) for name in "ab"}, 2)
    assert calls == ["a", "b"] * 3
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}


def test_a_matrix_product_has_a_rate() -> None:
    assert 1e-3 < matrix_rate(CPU, torch.float32) < 1e3
