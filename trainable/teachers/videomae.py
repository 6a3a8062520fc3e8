"""VideoMAE and VideoMAEv2 as frozen teachers, from the weights their authors released.

The encoder is a pre-norm Vision Transformer without class token. Its latents are the residual stream after the last
block, before the norm and the head, which were trained for other ends. Files are read in two namings, the authors' and
transformers', under any wrapper and prefix seen in released files. No object but tensors is unpickled, and every
tensor is either used, known to be of no use here, or refused by name.
"""

import pickle
import re
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import Block
from torch import nn

from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.video.view import View
from trainable.errors import CheckpointError
from trainable.hashing import file_sha256
from trainable.model.hub.video_transformer import IMAGENET_MEAN, IMAGENET_STD
from trainable.teachers.videomae_layout import (
    AS_THEY_ARE,
    QKV,
    VIDEOMAE_TEACHERS,
    Size,
    check_view,
    teacher_size,
    teacher_view,
    tensor_shapes,
    transformers_name,
)

WRAPPERS = ("model", "module", "state_dict", "model_state", "model_state_dict")
PREFIXES = re.compile(r"^((module|_orig_mod|model|backbone|encoder|videomae)\.)+")
# What comes after the last block, and the decoder of pretraining.
LEFT_OUT = re.compile(
    r"(head|classifier|norm|fc_norm|layernorm)\.(weight|bias)|encoder_to_decoder\.weight|mask_token"
    r"|decoder\.((blocks|decoder_layers)\.\d+\..+|(norm|head)\.(weight|bias))"
)
# Some releases of transformers 5 wrote the biases so; a bias of the keys changes no attention, and is used where it is.
SEPARATE_BIAS = re.compile(r"\.(q|k|v)(uery|ey|alue)\.bias$")
# What the authors' training scripts save beside the weights: arguments, and the learning rates of the optimiser.
BESIDE_THE_WEIGHTS = (
    "argparse.Namespace",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
)
POSITIONS_TOLERANCE = 1e-3


class VideoMaeTeacher(FrozenTeacher):
    """A frozen VideoMAE encoder; float32 on a CPU, bfloat16 autocast around a float32 residual stream on CUDA.

    Args:
        name: one of `VIDEOMAE_TEACHERS`.
        weights: released weights: `.safetensors`, or a file of `torch.save` under any other name.
        device: where it runs.
        compile: compile the encoder with torch.compile.

    Attributes:
        name: of the teacher.
        sha256: hash of the file of weights.
        dim: width of the latents.

    Raises:
        ConfigError: there is no such teacher.
        CheckpointError: the file is missing, cannot be read, or holds other tensors than this teacher's.
    """

    def __init__(self, name: str, weights: Path, device: torch.device | str, *, compile: bool = False) -> None:
        encoder = _Encoder(teacher_size(name), teacher_view(name))
        encoder.load_state_dict(_encoder_weights(name, weights), assign=True)
        self.name, self.dim = name, teacher_size(name).dim
        self.sha256 = file_sha256(weights)
        self._device = torch.device(device)
        encoder.to(self._device).eval().requires_grad_(False)
        self._encoder = torch.compile(encoder) if compile else encoder

    @classmethod
    def load(
        cls, name: str, weights: Path, view: View, device: torch.device | str, *, compile: bool = False
    ) -> "VideoMaeTeacher":
        """See `FrozenTeacher.load`."""
        check_view(name, view)
        return cls(name, weights, device, compile=compile)

    @torch.no_grad()
    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """Computes the residual stream of every token after the last block.

        Args:
            pixels: uint8 pixels of whole clips, shape (clips, tokens, token values), as `View.to_tokens` lays them out
                in the view of `teacher_view`.

        Returns:
            float32 on the teacher's device, shape (clips, tokens, dim).
        """
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            return cast(torch.Tensor, self._encoder(pixels.to(self._device)))


class _Encoder(nn.Module):
    """The encoder over a store's tokens; its parameters are on the meta device until weights are assigned."""

    def __init__(self, size: Size, view: View) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-6)  # the authors'; transformers has 1e-12, which shows nowhere
        ratio = size.hidden / size.dim
        with torch.device("meta"):
            self.embed = nn.Linear(view.token_values, size.dim)
            self.blocks = nn.ModuleList(
                Block(size.dim, size.heads, mlp_ratio=ratio, qkv_bias=True, norm_layer=norm) for _ in range(size.depth)
            )
        mean, std = (torch.tensor(values).repeat(view.token_values // 3) for values in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)
        self.register_buffer("positions", _sinusoids(view.tokens, size.dim), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encodes uint8 pixels (clips, tokens, token values) to the residual stream (clips, tokens, dim)."""
        x = self.embed(pixels * cast(torch.Tensor, self.scale) + cast(torch.Tensor, self.shift))
        x = x + cast(torch.Tensor, self.positions)
        for block in self.blocks:
            x = block(x)
        return cast(torch.Tensor, x)


def _sinusoids(tokens: int, dim: int) -> torch.Tensor:
    """Returns the authors' positions: sin and cos in turn of the token's index, shape (tokens, dim), float32."""
    frequencies = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    angles = torch.arange(tokens, dtype=torch.float64)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


class _Stored(NamedTuple):
    key: str  # the tensor's name in the file, with its prefixes
    tensor: torch.Tensor


def _encoder_weights(name: str, path: Path) -> dict[str, torch.Tensor]:
    """Returns the state dict of `_Encoder` in float32, from a file of weights of the teacher `name`."""
    stored = _known_tensors(path)
    transformers = any(bare.startswith(("layer.", "embeddings.")) for bare in stored)
    if problem := _problem(stored, name, transformers):
        generation = name.split("_")[0]
        others = sorted(VIDEOMAE_TEACHERS, key=lambda other: other.split("_")[0] != generation)
        fitting = next((other for other in others if not _problem(stored, other, transformers)), None)
        if fitting:
            problem = f"these are the weights of {fitting}; use --teacher {fitting}"
    else:
        problem = _bad_values(stored, name)
    if problem:
        raise CheckpointError(f"{path}: {problem}")
    tensors = {bare: tensor for bare, (_, tensor) in stored.items()}
    return _to_encoder(tensors, teacher_size(name).depth, transformers)


def _known_tensors(path: Path) -> dict[str, _Stored]:
    """Returns the tensors of a file by their names without prefixes; those of no use here are left out."""
    saved = _read(path)
    while isinstance(saved, Mapping) and (inner := _wrapped(saved)) is not None:
        saved = inner
    items = saved.items() if isinstance(saved, Mapping) else ()
    tensors = {str(key): value for key, value in items if isinstance(value, torch.Tensor)}
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors by name, at the top or under {', '.join(WRAPPERS)}")
    stored: dict[str, _Stored] = {}
    for key, tensor in tensors.items():
        bare = SEPARATE_BIAS.sub(r".\1_bias", PREFIXES.sub("", key))
        if bare in stored:
            raise CheckpointError(f"{path}: {stored[bare].key} and {key} are the same tensor of the model")
        if not LEFT_OUT.fullmatch(bare):
            stored[bare] = _Stored(key, tensor)
    return stored


def _wrapped(saved: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    """Returns the mapping under the first of the known wrappers."""
    return next((saved[key] for key in WRAPPERS if isinstance(saved.get(key), Mapping)), None)


def _read(path: Path) -> object:
    """Reads what a file holds, without running anything that it names."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([(_Inert, name) for name in BESIDE_THE_WEIGHTS]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged file raises anything
        if isinstance(error, pickle.UnpicklingError) and (
            named := re.search(r"GLOBAL ([\w.]+) (was|whose)", str(error))
        ):
            raise CheckpointError(
                f"{path}: holds a pickled {named[1]}, which is never loaded; if you trust the file, save its state "
                "dict alone (torch.load with weights_only=False, then safetensors.torch.save_file)"
            ) from error
        raise CheckpointError(
            f"{path}: no weights that can be read: damaged, cut short, or a file of another kind"
        ) from error


class _Inert:
    """Stands in for the objects of `BESIDE_THE_WEIGHTS`: takes anything, does nothing, keeps nothing."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def _problem(stored: Mapping[str, _Stored], name: str, transformers: bool) -> str | None:
    """Returns the first thing that keeps the tensors from being those of the teacher `name`."""
    required, optional = tensor_shapes(name, transformers=transformers)
    for bare, (key, tensor) in stored.items():
        expected = required.get(bare) or optional.get(bare)
        if expected is None:
            return f"{key} of shape {tuple(tensor.shape)} is no tensor of {name}"
        if tensor.shape != expected:
            return f"{key} has shape {tuple(tensor.shape)}; {name} has {expected}"
        if not tensor.is_floating_point():
            return f"{key} is {tensor.dtype}; must be floating point"
    missing = next((bare for bare in required if bare not in stored), None)
    return missing and f"{missing} of shape {required[missing]} is missing"


def _bad_values(stored: Mapping[str, _Stored], name: str) -> str | None:
    """Finds the first tensor of the right shape with values that cannot be those of a trained teacher."""
    for bare, (key, tensor) in stored.items():
        if not tensor.isfinite().all():
            return f"{key} holds values that are not finite"
        if bare in ("pos_embed", "embeddings.position_embeddings"):
            computed = _sinusoids(*tensor.shape[1:]).to(tensor.dtype)
            difference = float((tensor.float() - computed.float()).abs().max())
            if difference > POSITIONS_TOLERANCE:
                return f"{key} differs from the fixed sinusoids of {name} by up to {difference:.3g}"
    separate = [tensor for key, tensor in stored.values() if key.endswith((".query.bias", ".value.bias"))]
    if separate and not any(tensor.any() for tensor in separate):
        return "query.bias and value.bias are zero in every layer, lost by a release of transformers 5"
    return None


def _to_encoder(tensors: Mapping[str, torch.Tensor], depth: int, transformers: bool) -> dict[str, torch.Tensor]:
    """Returns the state dict of `_Encoder` in float32; no tensor shares memory with the file."""

    def take(name: str) -> torch.Tensor:
        return tensors[transformers_name(name) if transformers else name].to(torch.float32, copy=True)

    # the values of a token run time, row, column, channel; those of a kernel channel, time, row, column
    kernel = take("patch_embed.proj.weight").permute(0, 2, 3, 4, 1)
    weights = {"embed.weight": kernel.flatten(1), "embed.bias": take("patch_embed.proj.bias")}
    for layer in range(depth):
        block, attention = f"blocks.{layer}.", f"blocks.{layer}.attn."
        weights |= {block + name: take(block + name) for name in AS_THEY_ARE}
        parts = [f"{attention}{part}.weight" for part in QKV] if transformers else [f"{attention}qkv.weight"]
        weights[f"{attention}qkv.weight"] = torch.cat([take(part) for part in parts])
        query, value = take(f"{attention}q_bias"), take(f"{attention}v_bias")
        trained_key = transformers_name(f"{attention}k_bias") in tensors
        key = take(f"{attention}k_bias") if trained_key else torch.zeros_like(value)
        weights[f"{attention}qkv.bias"] = torch.cat([query, key, value])
    return weights
