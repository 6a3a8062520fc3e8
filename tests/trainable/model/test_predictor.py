"""The predictor answers for the masked tokens it is asked for, from the visible ones it is shown."""

from typing import Any

import pytest
import torch

from tests.trainable.small import SMALL
from trainable.data.video.view import View
from trainable.model.predictor import Predictor, VJepa

VIEW = View(frames=4, size=32, patch=8)  # 2 x 4 x 4 tokens
CONFIG = SMALL.replace(predictor_dim=96, predictor_num_heads=3, predictor_depth=2)
VISIBLE, MASKED = torch.arange(0, 10).expand(3, -1), torch.arange(10, VIEW.tokens).expand(3, -1)


@pytest.fixture
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(CONFIG, VIEW, student_dim=64, target_dim=24).eval()


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(3, 10, 64, generator=torch.Generator().manual_seed(1))


def test_there_is_one_prediction_for_each_masked_token(predictor: Predictor, features: torch.Tensor) -> None:
    assert predictor(features, VISIBLE, MASKED).shape == (3, 22, 24)
    assert predictor(features, VISIBLE, MASKED[:, :1]).shape == (3, 1, 24)


def test_the_mask_token_starts_at_zero_and_learns(predictor: Predictor, features: torch.Tensor) -> None:
    assert not predictor.mask_token.any()
    predictor(features, VISIBLE, MASKED).sum().backward()
    assert predictor.mask_token.grad is not None
    assert predictor.mask_token.grad.abs().sum() > 0


def test_predictions_depend_on_where_they_are_asked_for(predictor: Predictor, features: torch.Tensor) -> None:
    predicted = predictor(features, VISIBLE, MASKED)[0]
    assert torch.pdist(predicted).min() > 1e-4


def test_predictions_follow_the_order_of_the_question(predictor: Predictor, features: torch.Tensor) -> None:
    predicted = predictor(features, VISIBLE, MASKED)
    torch.testing.assert_close(predictor(features, VISIBLE, MASKED.flip(1)), predicted.flip(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(predictor(features.flip(1), VISIBLE.flip(1), MASKED), predicted, atol=1e-5, rtol=1e-4)


def test_predictions_depend_on_what_is_seen_and_where(predictor: Predictor, features: torch.Tensor) -> None:
    predicted = predictor(features, VISIBLE, MASKED)
    other = features.clone()
    other[0, 3] += 1
    assert (predictor(other, VISIBLE, MASKED)[0] - predicted[0]).abs().max() > 1e-4
    assert torch.equal(predictor(other, VISIBLE, MASKED)[1:], predicted[1:]), "clips see each other"
    assert (predictor(features, VISIBLE.flip(1), MASKED) - predicted).abs().max() > 1e-4


def test_predictions_start_about_where_they_are_told_to(predictor: Predictor, features: torch.Tensor) -> None:
    mean = torch.linspace(-3, 3, 24)
    apart = predictor(features, VISIBLE, MASKED)
    predictor.start_at(mean)
    torch.testing.assert_close(predictor(features, VISIBLE, MASKED), apart + mean)
    assert predictor.project.bias.requires_grad


def test_visible_tokens_are_predicted_behind_the_masked_ones_by_an_output_of_their_own(features: torch.Tensor) -> None:
    torch.manual_seed(0)
    predictor = Predictor(CONFIG.replace(context_weight=0.5), VIEW, student_dim=64, target_dim=24).eval()
    torch.manual_seed(0)
    plain = Predictor(CONFIG, VIEW, student_dim=64, target_dim=24).eval()
    both = predictor(features, VISIBLE, MASKED, context=True)
    assert both.shape == (3, VIEW.tokens, 24)
    assert torch.equal(both[:, :22], plain(features, VISIBLE, MASKED)), "the other weights are those of a plain one"
    assert torch.equal(predictor(features, VISIBLE, MASKED), both[:, :22])
    predictor.start_at(torch.full((24,), 2.0))
    torch.testing.assert_close(predictor(features, VISIBLE, MASKED, context=True), both + 2)
    predictor(features, VISIBLE, MASKED, context=True)[:, 22:].sum().backward()
    assert predictor.project_context is not None and predictor.project_context.weight.grad is not None
    assert predictor.project.weight.grad is not None and not predictor.project.weight.grad.any()


def test_width_depth_and_heads_are_the_configurations(predictor: Any) -> None:
    assert len(predictor.blocks) == 2
    assert predictor.blocks[0].attn.num_heads == 3
    assert predictor.blocks[0].mlp.fc1.weight.shape == (4 * 96, 96)
    assert predictor.project.weight.shape == (24, 96)


def test_together_they_predict_from_pixels() -> None:
    torch.manual_seed(0)
    model = VJepa(CONFIG, VIEW, target_dim=24).eval()
    pixels = torch.randint(0, 256, (3, 10, VIEW.token_values), dtype=torch.uint8)
    predicted = model(pixels, VISIBLE, MASKED)
    assert torch.equal(predicted, model.predictor(model.student(pixels, VISIBLE), VISIBLE, MASKED))
