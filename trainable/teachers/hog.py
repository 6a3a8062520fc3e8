"""Histograms of oriented gradients and of normal flow: targets that need neither weights nor training.

`hog` is the target of MaskFeat (Wei et al. 2022), with a histogram for each cell of a token. A pixel votes for the
orientation of its gradient with the gradient's magnitude (Dalal and Triggs 2005).

`hog+motion` adds histograms of normal flow: -I_t grad I / |grad I|^2 (Horn and Schunck 1981). That is the part of the
motion along the gradient, where brightness is constant. A pixel votes with its gradient's magnitude here too. The vote
is shared between the direction of its flow and a bin for what stands still. A speed counts up to a limit only, as the
flow is right for small motions.

A token's histograms, with one value more, have unit length. That value is the contrast that they lack: a flat token
points along it, and noise is not made large. Then they are scaled, so that the mean square of their values is 1. A
LayerNorm would make differences large where a histogram is even; so `target_norm` is "none" here.
"""

import hashlib
import json
import math
from types import MappingProxyType
from typing import Any, ClassVar, Final, cast

import torch

from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.store.codecs import TargetNorm
from trainable.data.video.view import View

CELLS: Final = 2  # along each side of a patch: 8 pixels of a patch of 16 (MaskFeat)
ORIENTATIONS: Final = 9  # of 180 degrees, the first along the rows (Dalal and Triggs)
DIRECTIONS: Final = 8  # of 360 degrees, the first to the right, the third down
CONTRAST: Final = 0.02  # value beside the votes; they are in intensities of 0 to 1 a pixel: five grey levels
SCALE: Final = 1 / 8  # of a patch: standard deviation of the blur before flow, and the speed that counts fully

_HOG: Final = {"version": 1, "cells": CELLS, "orientations": ORIENTATIONS, "contrast": CONTRAST}
PARAMETERS: Final = MappingProxyType(
    {"hog": _HOG, "hog+motion": {**_HOG, "directions": DIRECTIONS, "scale": SCALE}},
)


class HogTeacher(FrozenTeacher):
    """Histograms of each token; see the module.

    A histogram has `CELLS` x `CELLS` x bins values, by row, column and bin of the cells, and one for lacking contrast.
    So `hog` is 37 wide, and `hog+motion` 74: `DIRECTIONS` and the bin for what stands still are 9 bins as well.

    Args:
        name: a key of `PARAMETERS`.
        view: of the clips.
        device: where it runs.

    Attributes:
        name: as given.
        sha256: hash of the name and its parameters.
        dim: width of the latents.
    """

    weightless = True
    target_norm: ClassVar[TargetNorm] = "none"

    def __init__(self, name: str, view: View, device: torch.device | str) -> None:
        self.name, self._view, self._device = name, view, torch.device(device)
        identity = json.dumps({"name": name, **PARAMETERS[name]}, sort_keys=True)
        self.sha256 = hashlib.sha256(identity.encode()).hexdigest()
        self._moving = "directions" in PARAMETERS[name]
        bins = ORIENTATIONS + (DIRECTIONS + 1 if self._moving else 0)
        self.dim = CELLS**2 * bins + 1 + self._moving
        self._shares = _cell_shares(view.patch).to(self._device)
        self._blur = _blur(view.size, SCALE * view.patch).to(self._device)

    @classmethod
    def make(cls, name: str, view: View, device: torch.device | str) -> "HogTeacher":
        """See `FrozenTeacher.make`."""
        return cls(name, view, device)

    def describe(self) -> dict[str, Any]:
        """See `FrozenTeacher.describe`; with the parameters."""
        return {**super().describe(), **PARAMETERS[self.name]}

    @torch.no_grad()
    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `FrozenTeacher.latents`; a clip's are the same bits in any batch."""
        return torch.stack([self._of_clip(clip) for clip in pixels.to(self._device)])

    def _of_clip(self, tokens: torch.Tensor) -> torch.Tensor:
        """Describes the tokens (tokens, token values) of one clip: (tokens, dim)."""
        view = self._view
        slots, rows, columns = view.grid
        cut = tokens.reshape(slots, rows, columns, view.tubelet, view.patch, view.patch, 3)
        frames = cut.permute(0, 3, 6, 1, 4, 2, 5).reshape(view.frames, 3, view.size, view.size).float() / 255
        blocks = [self._histograms(oriented_votes(frames))]
        if self._moving:
            frames = self._blur @ frames @ self._blur.T
            blocks.append(self._histograms(motion_votes(frames, SCALE * view.patch)))
        return torch.cat(blocks, dim=-1)

    def _histograms(self, votes: torch.Tensor) -> torch.Tensor:
        """Takes the mean of the votes (frames, height, width, bins) in each cell, and makes their length one of all."""
        view, bins = self._view, votes.shape[-1]
        slots, rows, columns = view.grid
        tubelets = votes.reshape(slots, view.tubelet, rows, view.patch, columns, view.patch, bins).mean(dim=1)
        cells = torch.einsum("srycxb,iy,jx->srcijb", tubelets, self._shares, self._shares)
        lacking = torch.full((view.tokens, 1), CONTRAST, device=votes.device)
        block = torch.cat([cells.reshape(view.tokens, -1), lacking], dim=-1)
        length = block.norm(dim=-1, keepdim=True)
        return cast(torch.Tensor, block * (math.sqrt(block.shape[-1]) / length))


def oriented_votes(frames: torch.Tensor) -> torch.Tensor:
    """Votes for the orientation of each pixel's gradient, in the channel where that is largest.

    Args:
        frames: intensities in [0, 1], shape (frames, 3, height, width).

    Returns:
        Shape (frames, height, width, `ORIENTATIONS`).
    """
    down, across = _strongest(*torch.gradient(frames, dim=(-2, -1)))
    return _votes(torch.atan2(down, across), torch.hypot(down, across), ORIENTATIONS, math.pi)


def motion_votes(frames: torch.Tensor, fastest: float) -> torch.Tensor:
    """Votes for the direction of each pixel's normal flow to the next frame, or for standing still.

    The last frame's are those of the frame before; a single frame stands still.

    Args:
        frames: as for `oriented_votes`, smooth.
        fastest: pixels a frame from which on all of a vote is for the direction.

    Returns:
        Shape (frames, height, width, `DIRECTIONS` + 1); the last bin is for standing still.
    """
    one, other = (frames[:-1], frames[1:]) if len(frames) > 1 else (frames, frames)
    down, across, change = _strongest(*torch.gradient((one + other) / 2, dim=(-2, -1)), other - one)
    gradient, towards = torch.hypot(down, across), -change.sign()
    moving = torch.minimum(change.abs() / fastest, gradient)
    votes = _votes(torch.atan2(towards * down, towards * across), moving, DIRECTIONS, 2 * math.pi)
    votes = torch.cat([votes, (gradient - moving)[..., None]], dim=-1)
    return torch.cat([votes, votes[-1:]])[: len(frames)]


def _strongest(down: torch.Tensor, across: torch.Tensor, *others: torch.Tensor) -> list[torch.Tensor]:
    """Keeps of all parts (frames, 3, height, width) the channel with the largest gradient: (frames, height, width)."""
    channel = (down.square() + across.square()).max(dim=1, keepdim=True).indices  # ten times as fast as argmax
    return [part.gather(1, channel).squeeze(1) for part in (down, across, *others)]


def _votes(angle: torch.Tensor, weight: torch.Tensor, bins: int, period: float) -> torch.Tensor:
    """Shares each weight between the two bins nearest to its angle in radians; the first bin's centre is at 0."""
    apart = (angle[..., None] * (bins / period) - torch.arange(bins, device=angle.device)).remainder(bins)
    return weight[..., None] * (1 - torch.minimum(apart, bins - apart)).clamp(min=0)


def _cell_shares(patch: int) -> torch.Tensor:
    """Shares each pixel along a side of a patch between the nearest cells, each in all 1: (`CELLS`, patch)."""
    at = ((torch.arange(patch) + 0.5) * CELLS / patch - 0.5).clamp(0, CELLS - 1)
    shares = (1 - (at - torch.arange(CELLS)[:, None]).abs()).clamp(min=0)
    return shares / shares.sum(dim=1, keepdim=True)


def _blur(size: int, deviation: float) -> torch.Tensor:
    """Returns the Gaussian blur along a side as a matrix, shape (size, size); its rows add up to 1."""
    apart = torch.arange(size) - torch.arange(size)[:, None]
    weights = torch.exp(-0.5 * (apart / deviation).square())
    return weights / weights.sum(dim=1, keepdim=True)
