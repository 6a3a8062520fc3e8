"""The student encodes the tokens it is given, and nothing else decides what comes out."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from tests.trainable.small import SMALL
from trainable.data.video.view import View
from trainable.errors import ConfigError
from trainable.model.hub.video_transformer import IMAGENET_MEAN, IMAGENET_STD
from trainable.model.predictor import VJepa
from trainable.model.student import Student, check_student

VIEW = View(frames=4, size=32, patch=8)  # 2 x 4 x 4 tokens
CONFIG = SMALL.replace(student_depth=2)


@pytest.fixture
def student() -> Student:
    torch.manual_seed(0)
    return Student(CONFIG, VIEW).eval()


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randint(
        0, 256, (3, VIEW.tokens, VIEW.token_values), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def take(tensor: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return torch.gather(tensor, 1, index[..., None].expand(-1, -1, tensor.shape[-1]))


def shuffled(clips: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.stack([torch.randperm(VIEW.tokens, generator=generator)[:count] for _ in range(clips)])


def test_all_tokens_by_index_are_the_whole_clip(student: Student, pixels: torch.Tensor) -> None:
    index = torch.arange(VIEW.tokens).expand(3, -1)
    whole = student(pixels)
    assert whole.shape == (3, VIEW.tokens, 64)
    torch.testing.assert_close(student(pixels, index), whole)


def test_the_order_of_the_tokens_does_not_matter(student: Student, pixels: torch.Tensor) -> None:
    index = shuffled(3, VIEW.tokens)
    torch.testing.assert_close(student(take(pixels, index), index), take(student(pixels), index), atol=1e-5, rtol=1e-4)


def test_the_position_of_a_token_matters(student: Student, pixels: torch.Tensor) -> None:
    index = shuffled(3, 10)
    features = student(take(pixels, index), index)
    elsewhere = student(take(pixels, index), (index + 1) % VIEW.tokens)
    assert (features - elsewhere).abs().amax(-1).min() > 1e-3


def test_hidden_tokens_have_no_influence_and_visible_ones_have(student: Student, pixels: torch.Tensor) -> None:
    index = torch.arange(8).expand(3, -1)
    features = student(pixels[:, :8], index)
    changed = pixels.clone()
    changed[:, 8:] = 255 - changed[:, 8:]
    assert torch.equal(student(changed[:, :8], index), features)
    changed[:, 7] = 255 - changed[:, 7]
    assert (student(changed[:, :8], index)[:, 0] - features[:, 0]).abs().amax() > 1e-4


def test_the_patch_embedding_is_a_convolution(student: Student) -> None:
    """The usual Conv3d, with its weights laid out as a token's pixels are."""
    generator = torch.Generator().manual_seed(3)
    frames = torch.randint(0, 256, (VIEW.frames, VIEW.size, VIEW.size, 3), dtype=torch.uint8, generator=generator)
    tokens = torch.from_numpy(VIEW.to_tokens(frames.numpy()))
    convolution = nn.Conv3d(3, 64, (2, 8, 8), stride=(2, 8, 8))
    with torch.no_grad():
        convolution.weight.copy_(student.embed.weight.reshape(64, 2, 8, 8, 3).permute(0, 4, 1, 2, 3))
        convolution.bias.copy_(student.embed.bias)  # type: ignore[union-attr]
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    video = ((frames / 255 - mean) / std).permute(3, 0, 1, 2)[None]
    expected = convolution(video).flatten(2).transpose(1, 2)[0]
    torch.testing.assert_close(student.embed(student.normalise(tokens)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("part", ["student", "predictor"])
def test_checkpointing_recomputes_and_gives_the_same_gradients(part: str, pixels: torch.Tensor) -> None:
    results = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = VJepa(CONFIG.replace(grad_checkpointing=checkpointing, predictor_depth=2), VIEW, 16)
        calls = 0

        def count(*_: Any) -> None:
            nonlocal calls
            calls += 1

        for block in getattr(model, part).blocks:
            block.attn.register_forward_hook(count)
        visible, masked = torch.arange(8).expand(3, -1), torch.arange(8, VIEW.tokens).expand(3, -1)
        model.train()(pixels[:, :8], visible, masked).square().mean().backward()
        results.append((calls, [parameter.grad for parameter in model.parameters()]))
    (calls, gradients), (calls_again, gradients_again) = results
    assert (calls, calls_again) == (2, 4)
    for gradient, again in zip(gradients, gradients_again, strict=True):
        torch.testing.assert_close(again, gradient)
    assert all(gradient is not None for gradient in gradients)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_tiny_patch16_244", r"is no timm model; did you mean 'vit_tiny_patch16_224' or '"),
        ("vit_tiny_patch16_224x", r"is no timm model; did you mean 'vit_tiny_patch16_224' or '"),
        ("VIT_Tiny_Patch16_224", r"is no timm model; did you mean 'vit_tiny_patch16_224' or '"),
        ("ViT-B", r"is no timm model; did you mean 'vit_"),
        ("", r"is no timm model; did you mean 'vit_tiny_patch16_224' or 'vit_small_"),
        ("hf-hub:some/model", r"is no timm model; did you mean 'vit_"),
        ("vit_tiny_patch16_224.nope", r"timm has no such weights; did you mean 'vit_tiny_patch16_224' or 'vit_tiny_"),
        ("resnet18", "must be a plain Vision Transformer"),
        ("vit_small_patch16_18x2_224", "must be a plain Vision Transformer"),
        ("deit_tiny_distilled_patch16_224", "must be a plain Vision Transformer, such as vit_base_patch16_224"),
    ],
)
def test_what_is_no_plain_vision_transformer_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"^student = '{name}': ({reason})") as caught:
        Student(SMALL.replace(student=name), VIEW)
    assert "\n" not in str(caught.value)


def test_a_width_that_the_models_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^student_heads = 5: must divide the width 192 of vit_tiny_patch16_224$"):
        Student(SMALL.replace(student_dim=None, student_heads=5), VIEW)


def test_a_name_with_the_tag_of_weights_is_the_same_model() -> None:
    check_student(SMALL.replace(student="vit_tiny_patch16_224.augreg_in21k"))


def test_what_timm_itself_cannot_build_is_told_in_one_line() -> None:
    config = SMALL.replace(student="vit_giant_patch14_dinov2", student_dim=4, student_heads=1)
    words = r"^student = 'vit_giant_patch14_dinov2': timm cannot build it 4 wide, with 1 heads: \S+"
    with pytest.raises(ConfigError, match=words) as caught:
        check_student(config)
    assert "\n" not in str(caught.value)


def test_timms_own_sizes_are_kept_where_none_are_given() -> None:
    student: Any = Student(SMALL.replace(student_dim=None, student_depth=None), VIEW)
    assert (student.dim, len(student.blocks), student.blocks[0].attn.num_heads) == (192, 12, 3)


def test_features_are_normalised(student: Student, pixels: torch.Tensor) -> None:
    features = student(pixels)
    torch.testing.assert_close(features, F.layer_norm(features, (64,)), atol=1e-3, rtol=1e-3)
