"""Stretches of a clip for probes that need no labels: half as many frames, as if they were its first half."""

from typing import Final, cast

import torch

from trainable.data.video.view import View

STRETCHES: Final = ("first", "second", "sparse", "reversed")


def cut_stretches(pixels: torch.Tensor, view: View) -> dict[str, torch.Tensor]:
    """Cuts clips into stretches of half as many time slots, rounded down.

    Args:
        pixels: tokens of whole clips, shape (clips, tokens, token values).
        view: geometry of the clips, of at least two time slots.

    Returns:
        By name, the tokens of as many slots, shape (clips, slots // 2 * rows * columns, token values): the `first` and
        the `second` half of the clip, every second frame (`sparse`), and the same backwards (`reversed`).
    """
    slots, rows, columns = view.grid
    half = slots // 2
    kept = half * view.tubelet
    tokens = pixels.unflatten(1, (slots, rows, columns)).unflatten(-1, (view.tubelet, -1))
    frames = tokens.movedim(4, 2).flatten(1, 2)  # clips, frames, rows, columns, values of a frame
    sparse = frames[:, : 2 * kept : 2]
    stretches = {"first": frames[:, :kept], "second": frames[:, -kept:], "sparse": sparse, "reversed": sparse.flip(1)}
    return {name: _to_tokens(chosen, half, view.tubelet) for name, chosen in stretches.items()}


def _to_tokens(frames: torch.Tensor, slots: int, tubelet: int) -> torch.Tensor:
    """Returns tokens (clips, slots * rows * columns, token values) of frames (clips, frames, rows, columns, values)."""
    return cast(torch.Tensor, frames.unflatten(1, (slots, tubelet)).movedim(2, 4).flatten(4, 5).flatten(1, 3))
