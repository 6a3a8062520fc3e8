"""Targets: a teacher's latents as a store keeps them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812

from trainable.data.store.codecs import LatentFormat, TargetNorm
from trainable.errors import StoreError

INT8_LARGEST = 127


@dataclass(frozen=True)
class Targets:
    """The latents of some rows as they are stored, with what the manifest says of all of them.

    Attributes:
        latents: float16 or int8, shape (rows, tokens, dim).
        scales: float32, shape (rows, tokens), of int8 latents; else None.
        total: sum of the stored values per dimension, float64, shape (dim,).
        square_total: sum of their squares per dimension, float64, shape (dim,).
        squared_error: sum of the squares of what storing took away or added.
    """

    latents: npt.NDArray[Any]
    scales: npt.NDArray[np.float32] | None
    total: npt.NDArray[np.float64]
    square_total: npt.NDArray[np.float64]
    squared_error: float


def normalise(latents: torch.Tensor, target_norm: TargetNorm) -> torch.Tensor:
    """Makes targets from a teacher's latents, in float32: a LayerNorm without parameters (V-JEPA), or as they are."""
    if target_norm == "none":
        return latents.float()
    return F.layer_norm(latents.float(), latents.shape[-1:])


def encode(targets: torch.Tensor, latents: LatentFormat) -> Targets:
    """Encodes float32 targets (rows, tokens, dim) as float16, or as int8: rounded to 1/127 of each token's largest.

    Raises:
        StoreError: values that float16 cannot hold.
    """
    if latents == "float16":
        stored, scales = targets.half(), None
        if not bool(torch.isfinite(stored).all()):
            raise StoreError("latents = float16: the teacher's are too large; take int8, or --target-norm layer_norm")
    else:
        scales = targets.abs().amax(dim=-1) / INT8_LARGEST
        stored = (targets / torch.where(scales > 0, scales, 1.0)[..., None]).round().to(torch.int8)
    values = decode(stored, scales)
    return Targets(
        latents=stored.cpu().numpy(),
        scales=None if scales is None else scales.cpu().numpy(),
        total=values.sum(dim=1).double().sum(dim=0).cpu().numpy(),
        square_total=values.square().sum(dim=1).double().sum(dim=0).cpu().numpy(),
        squared_error=(values - targets).square().sum(dim=(1, 2)).double().sum().item(),
    )


def decode(stored: torch.Tensor, scales: torch.Tensor | None) -> torch.Tensor:
    """Decodes stored latents (..., dim) to float32, on their device."""
    return stored.float() if scales is None else stored.float() * scales[..., None]
