"""The student: timm's Vision Transformer blocks over the visible tokens of a clip."""

from difflib import get_close_matches
from typing import Any, cast

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.utils.checkpoint import checkpoint

from trainable.config import HEAD_WIDTH, TrialConfig
from trainable.data.view import View
from trainable.errors import ConfigError
from trainable.positions import init_linear, init_transformer, sincos_positions

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Student(nn.Module):
    """Encodes tokens of a clip; all of them, or the visible ones only.

    The patch embedding is a linear map of a token's pixels, computed for the tokens that are passed and no others.
    Positions are fixed 3-D sin-cos; there is no class token.

    Args:
        config: `student`, `student_dim`, `student_depth`, `student_heads` and `grad_checkpointing` are used.
        view: geometry of the clips.

    Attributes:
        dim: width of the output.

    Raises:
        ConfigError: timm has no such model, it is not a plain Vision Transformer, or width and heads do not fit.
    """

    def __init__(self, config: TrialConfig, view: View) -> None:
        super().__init__()
        vit = _timm_model(config)
        self.dim = cast(int, vit.embed_dim)
        self.grad_checkpointing = config.grad_checkpointing
        self.embed = nn.Linear(view.token_values, self.dim)
        self.blocks = nn.ModuleList(vit.blocks)
        self.norm = nn.LayerNorm(self.dim, eps=1e-6)  # timm's own is missing from models that pool by the mean
        init_linear(self.embed)
        init_transformer(self.blocks)
        self.register_buffer("positions", sincos_positions(self.dim, view.grid), persistent=False)
        # uint8 pixels are normalised on the device: (x / 255 - mean) / std
        scale = 1 / (255 * torch.tensor(IMAGENET_STD))
        shift = -torch.tensor(IMAGENET_MEAN) / torch.tensor(IMAGENET_STD)
        self.register_buffer("scale", scale.repeat(view.token_values // 3), persistent=False)
        self.register_buffer("shift", shift.repeat(view.token_values // 3), persistent=False)

    def forward(self, pixels: torch.Tensor, index: torch.Tensor | None = None) -> torch.Tensor:
        """Encodes tokens.

        Args:
            pixels: uint8 pixels, shape (clips, n, token_values), as `View.to_tokens` lays them out.
            index: which tokens of the clip they are, shape (clips, n); None: all of them, in order.

        Returns:
            Features after the final norm, shape (clips, n, dim).
        """
        positions = cast(torch.Tensor, self.positions)
        x = self.embed(self.normalise(pixels))
        x = x + (positions if index is None else positions[index])
        return cast(torch.Tensor, self.norm(run_blocks(self.blocks, x, self.grad_checkpointing and self.training)))

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 pixels of tokens (..., token_values) in float32, with ImageNet's mean and standard deviation."""
        return pixels * cast(torch.Tensor, self.scale) + cast(torch.Tensor, self.shift)


def run_blocks(blocks: nn.ModuleList, x: torch.Tensor, grad_checkpointing: bool) -> torch.Tensor:
    """Runs `x` through the blocks, recomputing each in the backward pass where asked to."""
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False) if grad_checkpointing else block(x)
    return x


def _timm_model(config: TrialConfig) -> VisionTransformer:
    """The timm model that lends its blocks."""
    if not timm.is_model(config.student):
        close = get_close_matches(config.student, timm.list_models("vit_*"), n=1) or ["vit_base_patch16_224"]
        raise ConfigError("student", config.student, f"is no timm model; did you mean {close[0]!r}?")
    overrides: dict[str, Any] = {
        name: value
        for name, value in {
            "embed_dim": config.student_dim,
            "depth": config.student_depth,
            "num_heads": config.student_heads or (config.student_dim and config.student_dim // HEAD_WIDTH),
        }.items()
        if value is not None
    }
    try:
        model = timm.create_model(config.student, pretrained=False, num_classes=0, **overrides)
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError("student", config.student, f"timm cannot build it with {overrides}: {error}") from error
    if type(model) is not VisionTransformer:
        raise ConfigError("student", config.student, "must be a plain Vision Transformer, such as vit_base_patch16_224")
    return model
