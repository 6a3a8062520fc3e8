"""A batch that goes through the model in parts has the gradients of the whole one."""

from typing import Any

import pytest
import torch

from tests.trainable.conftest import MakeTraining
from trainable.train.training import Training

STEPS = 8
KINDS: list[dict[str, Any]] = [{}, {"masking": "multiblock_both", "context_weight": 0.5, "predict_share": 0.5}]


def course(training: Training) -> tuple[dict[str, float], list[torch.Tensor]]:
    """The means of a short training, and its weights without the biases of keys, which are errors of rounding."""
    training.train_to(STEPS)
    told = training.collect()
    means = {name: told[name] for name in ("train_loss", "grad_norm", "clipped_share")}
    weights = {name: tensor.detach().clone() for name, tensor in training.model.named_parameters()}
    for name, tensor in weights.items():
        if name.endswith("attn.qkv.bias"):
            tensor.chunk(3)[1].zero_()
    return means, [*weights.values()]


@pytest.mark.parametrize("changes", KINDS, ids=["latents", "two masks and a context"])
@pytest.mark.parametrize("clips", [1, 3, 4, 8, 100])
def test_parts_make_the_steps_of_the_whole(make_training: MakeTraining, clips: int, changes: dict[str, Any]) -> None:
    seen: list[int] = []
    training = make_training(micro_batch=clips, **changes)
    training.model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    per_clip = 2 if changes else 1
    means, weights = course(training)
    expected, others = course(make_training(**changes))
    assert means == pytest.approx(expected, rel=1e-5)
    for one, other in zip(weights, others, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    assert max(seen) == min(clips, 8) * per_clip
    assert sum(seen) == STEPS * 8 * per_clip


def full_at(training: Training, most: int, seen: list[int]) -> None:
    """Lets the model run out of memory as a GPU would, once it has computed more than so many rows."""

    def refuse(_: object, inputs: tuple[torch.Tensor, ...], __: object) -> None:
        seen.append(len(inputs[0]))
        if len(inputs[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    training.model.register_forward_hook(refuse)


def test_parts_are_halved_until_they_fit(make_training: MakeTraining) -> None:
    training = make_training(auto_batch=True)
    seen: list[int] = []
    full_at(training, 3, seen)
    means, weights = course(training)
    assert seen == [8, 4, *[2] * 4 * STEPS]
    assert training.gradients.micro_batch == 2
    expected, others = course(make_training(micro_batch=2))
    assert means == expected
    assert all(torch.equal(one, other) for one, other in zip(weights, others, strict=True))


def test_what_a_part_had_added_before_another_did_not_fit_is_forgotten(make_training: MakeTraining) -> None:
    training = make_training(auto_batch=True, micro_batch=4)
    calls: list[int] = []

    def refuse(_: object, inputs: tuple[torch.Tensor, ...], __: object) -> None:
        calls.append(len(inputs[0]))
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    training.model.register_forward_hook(refuse)
    means, _ = course(training)
    assert calls == [4, 4, *[2] * 4 * STEPS]
    assert means == course(make_training(micro_batch=2))[0]


@pytest.mark.parametrize(("changes", "most"), [({"auto_batch": True}, 0), ({}, 3)], ids=["one clip", "not asked to"])
def test_what_does_not_fit_ends_the_training(make_training: MakeTraining, changes: dict[str, Any], most: int) -> None:
    training = make_training(**changes)
    seen: list[int] = []
    full_at(training, most, seen)
    with pytest.raises(torch.OutOfMemoryError):
        training.train_to(1)
    assert seen == ([8, 4, 2, 1] if changes else [8])
    assert training.step == 0
