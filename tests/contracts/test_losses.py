"""What every registered loss keeps: an error of each value, nothing where it is right, more where it is worse."""

import pytest
import torch

from trainable.config import TrialConfig
from trainable.registry import LOSSES

SHAPE = (4, 6, 8)  # clips, masked tokens, width


def numbers(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=sorted(LOSSES))
def name(request: pytest.FixtureRequest) -> str:
    """Of each registered loss."""
    return str(request.param)


def test_a_trial_can_have_it(name: str) -> None:
    assert TrialConfig(loss=name).loss == name


def test_it_is_an_error_of_each_value_in_float32(name: str) -> None:
    loss = LOSSES[name](numbers(0), numbers(1))
    assert (loss.shape, loss.dtype) == (SHAPE, torch.float32)


def test_it_vanishes_where_predictions_are_right(name: str) -> None:
    assert LOSSES[name](numbers(0), numbers(0)).abs().max().item() == pytest.approx(0, abs=1e-6)


def test_it_grows_with_the_error(name: str) -> None:
    targets, error = numbers(0), numbers(1)
    losses = [LOSSES[name](targets + scale * error, targets).mean().item() for scale in (0.01, 0.1, 1, 10)]
    assert losses == sorted(losses) and losses[0] < losses[-1]


def test_values_do_not_know_of_each_other(name: str) -> None:
    prediction, targets = numbers(0), numbers(1)
    each = [LOSSES[name](one[None], other[None]) for one, other in zip(prediction, targets, strict=True)]
    torch.testing.assert_close(LOSSES[name](prediction, targets), torch.cat(each))


def test_its_gradient_leads_to_the_targets(name: str) -> None:
    prediction, targets = numbers(0).requires_grad_(), numbers(1)
    before = LOSSES[name](prediction, targets).mean()
    (gradient,) = torch.autograd.grad(before, prediction)
    assert gradient.isfinite().all()
    after = LOSSES[name](prediction.detach() - 1e-2 * gradient, targets).mean()
    assert after.item() < before.item()
