"""The encoder without timm is the student, at any size; positions tell every token from every other."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainable.small import SMALL
from trainable.data.video.view import View
from trainable.model.architecture import architecture_of
from trainable.model.hub.video_transformer import Architecture, VideoTransformer, sincos_positions
from trainable.model.student import Student

VIEW = View(frames=4, size=32, patch=8)
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"student": "vit_tiny_patch16_224", "student_dim": 64, "student_depth": 2},
    "layer scale": {"student": "vit_small_patch14_dinov2", "student_dim": 64, "student_depth": 1},
    "gated": {"student": "vit_giant_patch14_dinov2", "student_dim": 192, "student_depth": 1},
    "quick gelu": {"student": "vit_base_patch16_clip_quickgelu_224", "student_dim": 64, "student_depth": 1},
    "tanh gelu": {"student": "vit_base_patch32_siglip_256", "student_dim": 64, "student_depth": 1},
    "no bias of queries": {"student": "vit_medium_patch16_gap_240", "student_dim": 64, "student_depth": 1},
}


def student_of(view: View = VIEW, **changes: Any) -> Student:
    torch.manual_seed(0)
    student = Student(SMALL.replace(**{"student_dim": 64, "student_depth": 2, **changes}), view).eval()
    with torch.no_grad():  # biases and scales that start alike would hide a mistake
        for parameter in student.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return student


def encoder_of(student: Student, view: View = VIEW) -> VideoTransformer:
    encoder = VideoTransformer()
    encoder.build(architecture_of(student.blocks, view))
    encoder.load_state_dict(student.state_dict())
    return encoder.eval()


def clips_of(view: View, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (count, view.frames, view.size, view.size, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def cut(clips: torch.Tensor, view: View) -> torch.Tensor:
    return torch.from_numpy(np.stack([view.to_tokens(clip) for clip in clips.numpy()]))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_it_computes_what_the_student_does(kind: str) -> None:
    student = student_of(**KINDS[kind])
    clips = clips_of(VIEW)
    features = encoder_of(student).encode(clips)
    expected = student(cut(clips, VIEW))
    torch.testing.assert_close(features.tokens, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(features.pooled, expected.mean(dim=1), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("view", [View(8, 32, 8), View(2, 32, 8), View(4, 48, 8), View(6, 16, 8)], ids=str)
@torch.no_grad()
def test_at_another_size_it_is_a_student_of_that_size(view: View) -> None:
    student, other = student_of(), student_of(view)
    other.load_state_dict(student.state_dict())
    clips = clips_of(view)
    features = encoder_of(student).encode(clips)
    torch.testing.assert_close(features.tokens, other(cut(clips, view)), atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_frames_need_not_be_square() -> None:
    encoder = encoder_of(student_of())
    wide = torch.cat([clips_of(VIEW), clips_of(VIEW).flip(2)], dim=3)
    assert encoder.encode(wide).tokens.shape == (2, 2 * 4 * 8, 64)
    turned = encoder.encode(wide.transpose(2, 3)).tokens
    assert turned.shape == (2, 2 * 8 * 4, 64)


@torch.no_grad()
def test_floats_are_normalised_as_uint8_are() -> None:
    encoder, clips = encoder_of(student_of()), clips_of(VIEW)
    expected = encoder.encode(clips)
    torch.testing.assert_close(encoder.encode(clips.float() / 255).tokens, expected.tokens, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder.encode(clips.double() / 255).tokens, expected.tokens, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_visible_tokens_alone_are_seen() -> None:
    student, clips = student_of(), clips_of(VIEW)
    encoder = encoder_of(student)
    index = torch.stack([torch.randperm(VIEW.tokens)[:9] for _ in range(2)])
    features = encoder.encode(clips, index)
    pixels = cut(clips, VIEW).gather(1, index[..., None].expand(-1, -1, VIEW.token_values))
    torch.testing.assert_close(features.tokens, student(pixels, index), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(features.pooled, features.tokens.mean(dim=1))
    torch.testing.assert_close(encoder.encode(clips, index.int()).tokens, features.tokens)
    whole = encoder.encode(clips, torch.arange(VIEW.tokens).expand(2, -1))
    torch.testing.assert_close(whole.tokens, encoder.encode(clips).tokens)


GOOD = torch.zeros(2, 4, 32, 32, 3, dtype=torch.uint8)
NONE = torch.zeros(2, 0, dtype=torch.int64)
MISTAKES: dict[str, tuple[torch.Tensor, torch.Tensor | None, str]] = {
    "no batch": (
        GOOD[0],
        None,
        r"\(4, 32, 32, 3\); must be \(clips, frames, height, width, 3\), such as \(clips, 4",
    ),
    "channels first": (GOOD.permute(0, 1, 4, 2, 3), None, r"\(2, 4, 3, 32, 32\); must be \(clips, frames, height"),
    "three frames": (GOOD[:, :3], None, r"\(2, 3, 32, 32, 3\); frames = 3 must be a multiple of tubelet = 2$"),
    "no frames": (GOOD[:, :0], None, "frames = 0 must be a multiple of tubelet = 2$"),
    "height": (GOOD[:, :, :30], None, "height = 30 must be a multiple of patch = 8$"),
    "width": (GOOD[:, :, :, :30], None, "width = 30 must be a multiple of patch = 8$"),
    "int64": (GOOD.long(), None, r"clips are of torch.int64; must be torch.uint8, or floats from 0 to 1$"),
    "0 to 255": (GOOD.float() + 255, None, "clips are floats from 255 to 255; must lie from 0 to 1, not normalised$"),
    "normalised": (GOOD.float() - 2, None, "clips are floats from -2 to -2; must lie from 0 to 1, not normalised$"),
    "not a number": (GOOD.float() + torch.nan, None, "clips are floats from nan to nan; must lie from 0 to 1"),
    "index of floats": (GOOD, torch.zeros(2, 3), "index is of torch.float32; must be torch.int64$"),
    "index of one": (GOOD, NONE[0], r"index has the shape \(0,\); must be \(2, n\), n of the 32 tokens of each clip$"),
    "index of three": (GOOD, torch.zeros(3, 4, dtype=torch.int64), r"shape \(3, 4\); must be \(2, n\)"),
    "empty index": (GOOD, NONE, r"index has the shape \(2, 0\); must be \(2, n\)"),
    "index too large": (GOOD, NONE.new_full((2, 1), 32), "index holds 32; must be from 0 to 31$"),
    "index below 0": (GOOD, NONE.new_full((2, 1), -1), "index holds -1; must be from 0 to 31$"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_does_not_fit_is_named(mistake: str) -> None:
    clips, index, words = MISTAKES[mistake]
    with pytest.raises(ValueError, match=words):
        encoder_of(student_of()).encode(clips, index)


SIZES: dict[str, Any] = {
    "image_size": 32,
    "num_frames": 4,
    "patch_size": 8,
    "tubelet_size": 2,
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 128,
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": "64"}, "hidden_size = '64': must be of the type int"),
        ({"hidden_size": True}, "hidden_size = True: must be of the type int"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000: must be from 1 to 1024"),
        ({"num_frames": 0}, "num_frames = 0: must be from 1 to"),
        ({"num_frames": 3}, "num_frames = 3: must be a multiple of tubelet_size = 2"),
        ({"image_size": 30}, "image_size = 30: must be a multiple of patch_size = 8"),
        ({"num_attention_heads": 7}, "hidden_size = 64: must be a multiple of num_attention_heads = 7"),
        ({"intermediate_size": 129, "gated_mlp": True}, "intermediate_size = 129: must be even"),
        ({"hidden_act": "relu"}, "hidden_act = 'relu': must be one of gelu, "),
    ],
)
def test_sizes_that_cannot_be_are_named(changes: dict[str, Any], words: str) -> None:
    Architecture(**SIZES)
    with pytest.raises(ValueError, match=words):
        Architecture(**{**SIZES, **changes})


def test_it_learns_after_it_was_used_in_inference_mode() -> None:
    encoder, clips = encoder_of(student_of()), clips_of(VIEW)
    with torch.inference_mode():
        encoder.encode(clips)
    loss: Any = encoder.encode(clips).pooled.square().sum()
    loss.backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@torch.no_grad()
def test_in_half_precision_it_stays_close() -> None:
    encoder, clips = encoder_of(student_of()), clips_of(VIEW)
    expected = encoder.encode(clips).tokens
    halved = encoder.bfloat16().encode(clips).tokens
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved.float(), expected, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("dim", [64, 192, 384, 768, 100])
def test_every_token_has_its_own_position(dim: int) -> None:
    positions = sincos_positions(dim, (8, 14, 14))
    assert positions.shape == (8 * 14 * 14, dim)
    assert positions.dtype == torch.float32
    nearest = torch.cdist(positions, positions) + torch.eye(len(positions)) * 1e6
    assert nearest.min() > 0.1


def test_positions_are_ordered_time_row_column() -> None:
    width = 22  # of 64, for each axis
    grid = sincos_positions(64, (3, 4, 5)).reshape(3, 4, 5, 64)
    time, row, column = grid[..., :width], grid[..., width : 2 * width], grid[..., 2 * width :]
    assert (time == time[:, :1, :1]).all()
    assert (row == row[:1, :, :1]).all()
    assert (column == column[:1, :1, :]).all()
    step = (time[2] - time[0])[0, 0]
    torch.testing.assert_close(step[:: width // 2], torch.tensor([math.sin(2), math.cos(2) - 1]))
    torch.testing.assert_close(step, (row[:, 2] - row[:, 0])[0, 0])  # the axes count alike


@pytest.mark.parametrize("grid", [(8, 14, 14), (2, 4, 4)])
def test_positions_add_nothing_that_all_tokens_share(grid: tuple[int, int, int]) -> None:
    assert sincos_positions(192, grid).mean(dim=0).abs().max() < 1e-6
