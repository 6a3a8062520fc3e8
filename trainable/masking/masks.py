"""Masks: which tokens of a clip the student sees, and which it has to predict.

A mask is a function of (seed, epoch, clip) alone. It does not depend on the batch a clip happens to lie in, the order,
the number of threads, or where a run was resumed. The random numbers are therefore hashed from those three (SplitMix64)
for all clips of a batch at once. Every strategy masks exactly the same number of tokens in each clip, so that no batch
has to be truncated. V-JEPA's collator cuts all clips to the batch's minimum and throws away the last frames' tokens
with it.

A strategy is a function from random numbers to the order in which tokens are hidden. One that draws several masks of a
clip has as many. It has a module in this folder and a line in `trainable.registry`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from trainable.data.video.view import View
from trainable.hashing import Floats, UInts, uniforms
from trainable.registry import MASKINGS

Indices = npt.NDArray[np.int64]

DRAW: Final = 2**34  # between the "epochs" of further draws of a clip; those of crops lie below it

Draws = Callable[[int], Floats]
"""Gives uniform numbers in [0, 1), shape (clips, as many as asked for), the same whenever it is asked."""


class Ordering(Protocol):
    """The order in which a mask hides tokens."""

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


@dataclass(frozen=True)
class Masking:
    """A masking strategy.

    Attributes:
        orders: of each mask that it draws of a clip; the student sees the clip under all of them in one step.
    """

    orders: tuple[Ordering, ...]


class Mask(NamedTuple):
    """Token indices of a batch, increasing within each mask.

    Attributes:
        visible: shape (clips, masks, visible tokens).
        masked: those of the masked tokens that are predicted, shape (clips, masks, predicted tokens).
    """

    visible: Indices
    masked: Indices


class Masks:
    """Draws masks for one view, strategy and ratio.

    Args:
        view: geometry of the clips.
        masking: name of the strategy in `trainable.registry.MASKINGS`.
        mask_ratio: share of each time slot's tokens that each mask hides.
        seed: seed of the masks.
        predict_share: share of the masked tokens that are predicted, drawn anew in each epoch; 1: all.

    Attributes:
        per_clip: masks of a clip.
        masked_tokens: hidden by each mask.
        predicted_tokens: those of them that are predicted: the share, rounded, but one at least.
        visible_tokens: left by each mask.

    Raises:
        ConfigError: there is no such strategy, or the ratio leaves nothing to see or nothing to predict.
    """

    def __init__(self, view: View, masking: str, mask_ratio: float, seed: int, predict_share: float = 1.0) -> None:
        self.view, self.masking, self.seed = view, masking, seed
        self._orders = MASKINGS[masking].orders
        view.check_mask_ratio(mask_ratio)
        self._masked_per_slot = view.masked_per_slot(mask_ratio)
        self.per_clip = len(self._orders)
        self.masked_tokens = self._masked_per_slot * view.grid[0]
        self.predicted_tokens = max(1, round(predict_share * self.masked_tokens))
        self.visible_tokens = view.tokens - self.masked_tokens

    def draw(self, epoch: int, keys: UInts) -> Mask:
        """Draws the masks of the clips with these keys (see `ClipStore.keys`), shape (clips,), in this epoch."""
        drawn = [self._draw(number, epoch, keys) for number in range(self.per_clip)]
        return Mask(*(np.stack(tokens, axis=1) for tokens in zip(*drawn, strict=True)))

    def _draw(self, number: int, epoch: int, keys: UInts) -> Mask:
        """Draws one mask of each clip: indices of shape (clips, tokens)."""
        draws, further = (partial(uniforms, self.seed, epoch + DRAW * (2 * number + part), keys) for part in (0, 1))
        order = self._orders[number](self.view, draws)
        if order.shape[1] == self.view.tokens:
            hidden = _smallest(order, self.masked_tokens)
        else:
            hidden = np.tile(_smallest(order, self._masked_per_slot), (1, self.view.grid[0]))
        # Each row has the same count of both, so the column indices reshape into rows.
        visible, masked = (np.nonzero(marks)[1].reshape(len(keys), -1) for marks in (~hidden, hidden))
        if self.predicted_tokens < self.masked_tokens:
            asked = _smallest(further(self.masked_tokens), self.predicted_tokens)
            masked = masked[asked].reshape(len(keys), -1)
        return Mask(visible, masked)


def _smallest(order: Floats, count: int) -> npt.NDArray[np.bool_]:
    """Marks the `count` smallest of each row."""
    chosen = np.zeros(order.shape, dtype=np.bool_)
    np.put_along_axis(chosen, np.argpartition(order, count - 1, axis=1)[:, :count], True, axis=1)
    return chosen
