"""The tokens that an attentive probe looks at: frozen features of every token of the panel's clips, in float16.

Each token is normalised to mean 0 and variance 1, as the probe's first layer norm does it. So float16 holds it whatever
its scale, and all probes share it. At most `MOST_TOKENS` tokens of a clip are kept, where neighbours within a time slot
are averaged: 1,024 clips of width 768 take 0.8 GB at most.
"""

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F  # noqa: N812

from trainable.evaluate.features import Precision, panel_batches
from trainable.model.student import Student

if TYPE_CHECKING:
    from trainable.evaluate.judged import JudgedOn

MOST_TOKENS: Final = 512
EPSILON: Final = 1e-6  # of the layer norm


@torch.no_grad()
def student_tokens(student: Student, autocast: Precision, on: "JudgedOn") -> torch.Tensor:
    """Encodes the panel's clips with a student as it stands; see `token_features`."""
    student.eval()

    def encoded() -> Iterator[torch.Tensor]:
        for _, pixels in panel_batches(on):
            with autocast():
                tokens = student(pixels)
            yield tokens

    return token_features(encoded(), on.store.view.grid)


@torch.no_grad()
def latent_tokens(on: "JudgedOn") -> torch.Tensor:
    """Takes the teacher's latents of the panel's clips, as the store has them; see `token_features`."""
    store, panel = on.store, on.panel
    parts = ((store.val, panel.held_out), (store.train, panel.training))
    latents = (
        torch.from_numpy(store.latents(clips, int(clip)))[None].to(on.masked.device)
        for clips, chosen in parts
        for clip in chosen
    )
    return token_features(latents, store.view.grid)


def token_features(batches: Iterable[torch.Tensor], grid: tuple[int, int, int]) -> torch.Tensor:
    """Pools and normalises tokens.

    Args:
        batches: features, shape (clips, tokens, width).
        grid: tokens along time, rows and columns.

    Returns:
        float16, shape (clips, kept tokens, width), on the device of the features.
    """
    slots, rows, columns = grid
    size = pooled_size(grid)
    kept = []
    for batch in batches:
        features = batch.float()
        if size != (rows, columns):
            images = features.unflatten(1, grid).movedim(-1, 2).flatten(0, 1)
            pooled = F.adaptive_avg_pool2d(images, size).unflatten(0, (len(batch), slots))
            features = pooled.movedim(2, -1).flatten(1, 3)
        kept.append(F.layer_norm(features, features.shape[-1:], eps=EPSILON).half())
    return torch.cat(kept)


def pooled_size(grid: tuple[int, int, int]) -> tuple[int, int]:
    """Returns the rows and columns that are kept of each time slot: the fewest joined that keep to `MOST_TOKENS`."""
    slots, rows, columns = grid
    sizes = ((math.ceil(rows / side), math.ceil(columns / side)) for side in range(1, max(rows, columns) + 1))
    return next((size for size in sizes if slots * math.prod(size) <= MOST_TOKENS), (1, 1))
