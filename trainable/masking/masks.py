"""Masks: which tokens of a clip the student sees, and which it has to predict.

A mask is a function of (seed, epoch, clip) alone. It does not depend on the batch a clip happens to lie in, the order,
the number of threads, or where a run was resumed. The random numbers are therefore hashed from those three (SplitMix64)
for all clips of a batch at once. Every strategy masks exactly the same number of tokens in each clip, so that no batch
has to be truncated. V-JEPA's collator cuts all clips to the batch's minimum and throws away the last frames' tokens
with it.

A strategy is a function from random numbers to the order in which tokens are hidden. It has a module in this folder and
a line in `trainable.registry`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from trainable.data.video.view import View
from trainable.hashing import Floats, UInts, uniforms
from trainable.registry import MASKINGS

Indices = npt.NDArray[np.int64]

Draws = Callable[[int], Floats]
"""Gives uniform numbers in [0, 1), shape (clips, as many as asked for), the same whenever it is asked."""


class Ordering(Protocol):
    """A masking strategy."""

    def __call__(self, view: View, draws: Draws) -> Floats:
        """Returns the order in which tokens are hidden, the smallest first.

        Args:
            view: geometry of the clips.
            draws: random numbers of each clip.

        Returns:
            Shape (clips, rows * columns): patches of a frame, hidden over the full length in time. Or shape (clips,
            tokens): each token by itself, ordered time, row, column.
        """
        ...


class Mask(NamedTuple):
    """Token indices of a batch, increasing within each clip.

    Attributes:
        visible: shape (clips, visible tokens).
        masked: shape (clips, masked tokens).
    """

    visible: Indices
    masked: Indices


class Masks:
    """Draws masks for one view, strategy and ratio.

    Args:
        view: geometry of the clips.
        masking: name of the strategy in `trainable.registry.MASKINGS`.
        mask_ratio: share of each time slot's tokens to mask.
        seed: seed of the masks.

    Raises:
        ConfigError: there is no such strategy, or the ratio leaves nothing to see or nothing to predict.
    """

    def __init__(self, view: View, masking: str, mask_ratio: float, seed: int) -> None:
        self.view, self.masking, self.seed = view, masking, seed
        self._order = MASKINGS[masking]
        view.check_mask_ratio(mask_ratio)
        self.masked_per_slot = view.masked_per_slot(mask_ratio)

    @property
    def masked_tokens(self) -> int:
        """Masked tokens of every clip."""
        return self.masked_per_slot * self.view.grid[0]

    def draw(self, epoch: int, keys: UInts) -> Mask:
        """Draws the masks of the clips with these keys (see `ClipStore.keys`), shape (clips,), in this epoch."""
        order = self._order(self.view, partial(uniforms, self.seed, epoch, keys))
        if order.shape[1] == self.view.tokens:
            hidden = _smallest(order, self.masked_tokens)
        else:
            hidden = np.tile(_smallest(order, self.masked_per_slot), (1, self.view.grid[0]))
        # Each row has the same count of both, so the column indices reshape into rows.
        return Mask(
            visible=np.nonzero(~hidden)[1].reshape(len(keys), -1),
            masked=np.nonzero(hidden)[1].reshape(len(keys), -1),
        )


def _smallest(order: Floats, count: int) -> npt.NDArray[np.bool_]:
    """Marks the `count` smallest of each row."""
    chosen = np.zeros(order.shape, dtype=np.bool_)
    np.put_along_axis(chosen, np.argpartition(order, count - 1, axis=1)[:, :count], True, axis=1)
    return chosen
