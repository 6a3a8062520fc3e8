"""The student: timm's Vision Transformer blocks over the visible tokens of a clip."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, cast

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.utils.checkpoint import checkpoint

from trainable.config import HEAD_WIDTH, TrialConfig
from trainable.data.video.view import View
from trainable.errors import ConfigError
from trainable.memory import is_out_of_memory
from trainable.model.architecture import architecture_of
from trainable.model.hub.video_transformer import IMAGENET_MEAN, IMAGENET_STD, sincos_positions
from trainable.model.initialisation import init_linear, init_transformer

PLAIN = ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224")


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
        """Normalises tokens' uint8 pixels (..., token_values) to float32, by ImageNet's mean and standard deviation."""
        return pixels * cast(torch.Tensor, self.scale) + cast(torch.Tensor, self.shift)


def run_blocks(blocks: nn.ModuleList, x: torch.Tensor, grad_checkpointing: bool) -> torch.Tensor:
    """Runs `x` through the blocks, recomputing each in the backward pass where asked to."""
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False) if grad_checkpointing else block(x)
    return x


def check_student(config: TrialConfig) -> None:
    """Builds the student of a configuration without its weights.

    Raises:
        ConfigError: see `Student`.
    """
    with torch.device("meta"):
        _timm_model(config)


def _timm_model(config: TrialConfig) -> VisionTransformer:
    """Builds the timm model that lends its blocks."""
    width, heads = _sizes(config.student)
    width = config.student_dim or width
    heads = config.student_heads or (config.student_dim // HEAD_WIDTH if config.student_dim else heads)
    if width % heads:
        raise ConfigError("student_heads", heads, f"must divide the width {width} of {config.student}")
    depth = {} if config.student_depth is None else {"depth": config.student_depth}
    try:
        return _create(config.student, embed_dim=width, num_heads=heads, **depth)
    except Exception as error:  # of whatever timm's constructors run into
        if is_out_of_memory(error):
            raise
        sizes = f"{width} wide, with {heads} heads"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError("student", config.student, f"timm cannot build it {sizes}: {reason}") from error


@cache
def _sizes(name: str) -> tuple[int, int]:
    """Returns width and heads of a timm model, where that is a plain Vision Transformer."""
    if not timm.is_model(name):
        raise ConfigError("student", name, f"is no timm model; {_nearest(name, timm.list_models('vit_*'))}")
    architecture, _, tag = name.partition(".")
    if tag and name not in (tagged := timm.list_pretrained(f"{architecture}.*")):
        raise ConfigError("student", name, f"timm has no such weights; {_nearest(name, [architecture, *tagged])}")
    try:
        with torch.device("meta"):
            model = _create(name)
    except (TypeError, ValueError, RuntimeError, AssertionError):
        model = None
    plain = f"must be a plain Vision Transformer, such as {PLAIN[-1]}"
    if type(model) is not VisionTransformer:
        raise ConfigError("student", name, plain)
    try:
        architecture_of(model.blocks)  # what a promoted encoder is built by, without timm
    except ValueError as error:
        raise ConfigError("student", name, f"{plain}; {error}") from error
    return model.embed_dim, model.blocks[0].attn.num_heads


def _create(name: str, **sizes: int) -> Any:
    return timm.create_model(name, pretrained=False, num_classes=0, **sizes)


def _nearest(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name.lower(), known, n=len(PLAIN)) or PLAIN
    return f"did you mean {' or '.join(map(repr, close))}?"
