"""A video encoder in torch alone: a Vision Transformer over tubelets, with fixed 3-D sin-cos positions.

This file is part of the package `salt_tune`, and lies beside the weights of every encoder that it saves.
"""

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import NamedTuple, cast

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

CHANNELS = 3
LARGEST = 2**20  # of a number in a configuration, and of layers the next: what is beyond is a damaged file
MOST_LAYERS = 2**10
ROUNDING = 1e-3  # that floats may lie outside of 0..1
FINAL_EPS = 1e-6


class QuickGELU(nn.Module):
    """CLIP's approximation of the GELU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns x * sigmoid(1.702 x)."""
        return x * torch.sigmoid(1.702 * x)


class TanhGELU(nn.GELU):
    """The GELU by its tanh approximation."""

    def __init__(self) -> None:
        super().__init__(approximate="tanh")


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_pytorch_tanh": TanhGELU,
    "quick_gelu": QuickGELU,
    "silu": nn.SiLU,
}


@dataclass(frozen=True)
class Architecture:
    """The sizes of a `VideoTransformer`.

    Attributes:
        image_size: height and width of the frames that it was trained on, in pixels.
        num_frames: frames of the clips that it was trained on.
        patch_size: height and width of a patch, in pixels.
        tubelet_size: frames in a token.
        hidden_size: width of the features.
        num_hidden_layers: blocks.
        num_attention_heads: of a block.
        intermediate_size: outputs of the first layer of a block's MLP.
        hidden_act: activation of the MLP, a name of `ACTIVATIONS`.
        layer_norm_eps: of the blocks' norms; that of the last norm is 1e-6.
        qkv_bias: whether queries, keys and values have a bias.
        layer_scale: whether the outputs of attention and MLP are scaled by learned factors.
        gated_mlp: whether one half of the MLP's first outputs gates the other (SwiGLU).

    Raises:
        ValueError: a value out of range, or two that do not fit each other.
    """

    image_size: int
    num_frames: int
    patch_size: int
    tubelet_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    qkv_bias: bool = True
    layer_scale: bool = False
    gated_mlp: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, field.type) or (field.type is int and isinstance(value, bool)):  # type: ignore[arg-type]
                raise ValueError(f"{field.name} = {value!r}: must be of the type {getattr(field.type, '__name__', '')}")
            most = MOST_LAYERS if field.name == "num_hidden_layers" else LARGEST
            if field.type is int and not 1 <= value <= most:
                raise ValueError(f"{field.name} = {value}: must be from 1 to {most}")
        for whole, part in (
            ("image_size", "patch_size"),
            ("num_frames", "tubelet_size"),
            ("hidden_size", "num_attention_heads"),
        ):
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"{whole} = {getattr(self, whole)}: must be a multiple of {part} = {getattr(self, part)}"
                )
        if self.gated_mlp and self.intermediate_size % 2:
            raise ValueError(f"intermediate_size = {self.intermediate_size}: must be even, as the MLP is gated")
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act = {self.hidden_act!r}: must be one of {', '.join(ACTIVATIONS)}")

    @property
    def token_values(self) -> int:
        """Values of a token: tubelet * patch * patch * 3 channels."""
        return self.tubelet_size * self.patch_size**2 * CHANNELS


class Features(NamedTuple):
    """What an encoder makes of clips.

    Attributes:
        tokens: features of each token after the last norm, shape (clips, tokens, hidden_size), ordered time, row,
            column; where an index is given, those of its tokens in its order.
        pooled: their mean, shape (clips, hidden_size).
    """

    tokens: torch.Tensor
    pooled: torch.Tensor


class VideoTransformer(nn.Module):
    """A Vision Transformer on clips; `build` makes its layers.

    The patch embedding is a linear map of the pixels of a tubelet. Positions are fixed; there is no class token.

    Attributes:
        architecture: its sizes.
    """

    architecture: Architecture
    embed: nn.Linear
    blocks: nn.ModuleList
    norm: nn.LayerNorm

    def build(self, architecture: Architecture) -> None:
        """Makes the layers, with random weights."""
        self.architecture = architecture
        self.embed = nn.Linear(architecture.token_values, architecture.hidden_size)
        self.blocks = nn.ModuleList(Block(architecture) for _ in range(architecture.num_hidden_layers))
        self.norm = nn.LayerNorm(architecture.hidden_size, eps=FINAL_EPS)

    def encode(self, clips: torch.Tensor, index: torch.Tensor | None = None) -> Features:
        """Encodes clips, of the size they were trained at or of another one.

        The positions of another grid are those of `sincos_positions` on it, as if the encoder had been built for it.
        Neighbours stay as far apart as in training: positions extend and are not interpolated. The mean is taken out
        over the new grid, so all embeddings are shifted by one vector against those of training. Features of clips
        much longer or larger than in training are an extrapolation.

        Args:
            clips: RGB frames, shape (clips, frames, height, width, 3): uint8, or floats from 0 to 1. Both are
                normalised here, by ImageNet's mean and standard deviation.
            index: the visible tokens, shape (clips, n), of an integer type: the encoder sees no others. They count the
                clip's tokens by time, row, column. None: all.

        Returns:
            The features.

        Raises:
            ValueError: a shape, a type or a value that does not fit; says what would be right.
        """
        self._check_clips(clips)
        count, frames, height, width, _ = clips.shape
        tubelet, patch = self.architecture.tubelet_size, self.architecture.patch_size
        grid = (frames // tubelet, height // patch, width // patch)
        cut = clips.reshape(count, grid[0], tubelet, grid[1], patch, grid[2], patch, CHANNELS)
        pixels = cut.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(count, math.prod(grid), self.architecture.token_values)
        if index is not None:
            _check_index(index, count, math.prod(grid))
            index = index.long()
            pixels = pixels.gather(1, index[..., None].expand(-1, -1, pixels.shape[-1]))
        tokens = self.encode_tokens(pixels, grid, index)
        return Features(tokens, tokens.mean(dim=1))

    def encode_tokens(
        self, pixels: torch.Tensor, grid: tuple[int, int, int], index: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Encodes tokens that are cut out already.

        Args:
            pixels: of each token, uint8 or floats from 0 to 1, shape (clips, n, token_values): time, row, column,
                channel.
            grid: tokens of the whole clip along time, rows and columns.
            index: which of them these are, shape (clips, n); None: all, in order.

        Returns:
            Features after the last norm, shape (clips, n, hidden_size).
        """
        dtype = self.embed.weight.dtype
        positions = _positions(self.architecture.hidden_size, grid, pixels.device)
        x = self.embed(_normalise(pixels).to(dtype)) + (positions if index is None else positions[index]).to(dtype)
        for block in self.blocks:
            x = block(x)
        return cast(torch.Tensor, self.norm(x))

    def _check_clips(self, clips: torch.Tensor) -> None:
        shape, a = tuple(clips.shape), self.architecture
        if len(shape) != 5 or shape[-1] != CHANNELS:
            trained = f"(clips, {a.num_frames}, {a.image_size}, {a.image_size}, {CHANNELS})"
            raise ValueError(
                f"clips have the shape {shape}; must be (clips, frames, height, width, 3), such as {trained}"
            )
        for name, size, unit in (
            ("frames", shape[1], a.tubelet_size),
            ("height", shape[2], a.patch_size),
            ("width", shape[3], a.patch_size),
        ):
            if size < 1 or size % unit:
                kind = "tubelet" if name == "frames" else "patch"
                raise ValueError(f"clips have the shape {shape}; {name} = {size} must be a multiple of {kind} = {unit}")
        if clips.dtype != torch.uint8 and not clips.dtype.is_floating_point:
            raise ValueError(f"clips are of {clips.dtype}; must be torch.uint8, or floats from 0 to 1")
        if clips.dtype.is_floating_point and clips.numel() and not torch.compiler.is_compiling():
            low, high = (float(end) for end in clips.aminmax())
            if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # nor where one is NaN
                raise ValueError(f"clips are floats from {low:.4g} to {high:.4g}; must lie from 0 to 1, not normalised")


def _check_index(index: torch.Tensor, count: int, tokens: int) -> None:
    shape = tuple(index.shape)
    if index.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"index is of {index.dtype}; must be torch.int64")
    if len(shape) != 2 or shape[0] != count or not shape[1]:
        raise ValueError(f"index has the shape {shape}; must be ({count}, n), n of the {tokens} tokens of each clip")
    if count and not torch.compiler.is_compiling():
        low, high = (int(end) for end in index.aminmax())
        if low < 0 or high >= tokens:
            raise ValueError(f"index holds {low if low < 0 else high}; must be from 0 to {tokens - 1}")


class Block(nn.Module):
    """A transformer block with its norms before attention and MLP."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, eps = architecture.hidden_size, architecture.layer_norm_eps
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(architecture)
        self.ls1 = LayerScale(dim) if architecture.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(architecture)
        self.ls2 = LayerScale(dim) if architecture.layer_scale else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns features of the shape of `x`, (clips, tokens, hidden_size)."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return cast(torch.Tensor, x + self.ls2(self.mlp(self.norm2(x))))


class Attention(nn.Module):
    """Attention of all tokens to all."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim = architecture.hidden_size
        self.heads = architecture.num_attention_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=architecture.qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns features of the shape of `x`."""
        clips, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(clips, tokens, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        x = scaled_dot_product_attention(query, key, value)
        return cast(torch.Tensor, self.proj(x.transpose(1, 2).reshape(clips, tokens, dim)))


class Mlp(nn.Module):
    """Two layers, the outputs of the first gated where asked for."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, wide = architecture.hidden_size, architecture.intermediate_size
        self.gated = architecture.gated_mlp
        self.fc1 = nn.Linear(dim, wide)
        self.act = ACTIVATIONS[architecture.hidden_act]()
        self.fc2 = nn.Linear(wide // 2 if self.gated else wide, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns features of the shape of `x`."""
        x = self.fc1(x)
        if not self.gated:
            return cast(torch.Tensor, self.fc2(self.act(x)))
        gate, x = x.chunk(2, dim=-1)
        return cast(torch.Tensor, self.fc2(self.act(gate) * x))


class LayerScale(nn.Module):
    """A learned factor for each dimension."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns features of the shape of `x`."""
        return x * self.gamma


def sincos_positions(dim: int, grid: tuple[int, int, int]) -> torch.Tensor:
    """Computes the position embedding of each token: a third of the width for time, row and column each.

    The mean over the grid is taken out. On a grid of few tokens most cosines stay near 1, a constant that drowns the
    content of narrow features.

    Args:
        dim: width of the embedding; any whole number (the last third is cut to fit, as in V-JEPA).
        grid: tokens along time, rows and columns.

    Returns:
        Shape (tokens, dim), float32, ordered time, row, column.
    """
    width = 2 * math.ceil(dim / 6)
    frequencies = 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    angles = [axis.reshape(-1, 1) * frequencies for axis in axes]
    embedding = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)[:, :dim]
    return (embedding - embedding.mean(dim=0)).float()


def _normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Normalises tokens' pixels (..., token_values), uint8 or from 0 to 1, to float32."""
    scale, shift = _scale_and_shift(pixels.shape[-1] // CHANNELS, pixels.device)
    if pixels.dtype != torch.uint8:
        pixels = pixels.float() * 255
    return pixels * scale + shift


def _scale_and_shift(repeats: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    # What a program traces it must not keep: those tensors have no values.
    make = _make_scale_and_shift if torch.compiler.is_compiling() else _kept_scale_and_shift
    return make(repeats, device)


def _make_scale_and_shift(repeats: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode(False), torch.device("cpu"):
        scale = 1 / (255 * torch.tensor(IMAGENET_STD))
        shift = -torch.tensor(IMAGENET_MEAN) / torch.tensor(IMAGENET_STD)
        return scale.repeat(repeats).to(device), shift.repeat(repeats).to(device)


def _positions(dim: int, grid: tuple[int, int, int], device: torch.device) -> torch.Tensor:
    make = _make_positions if torch.compiler.is_compiling() else _kept_positions
    return make(dim, grid, device)


def _make_positions(dim: int, grid: tuple[int, int, int], device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False), torch.device("cpu"):
        return sincos_positions(dim, grid).to(device)


_kept_scale_and_shift = lru_cache(maxsize=16)(_make_scale_and_shift)
_kept_positions = lru_cache(maxsize=16)(_make_positions)
