"""Masks: which tokens of a clip the student sees, and which it has to predict.

A mask is a function of (seed, epoch, clip) alone: not of the batch a clip happens to lie in, nor of the order, the
number of threads, or where a run was resumed. The random numbers are therefore hashed from those three (SplitMix64)
for all clips of a batch at once. Every strategy masks exactly the same number of tokens in each clip, so that no
batch has to be truncated: V-JEPA's collator cuts all clips to the batch's minimum and throws away the last frames'
tokens with it.

Strategies:
    multiblock: blocks of 15% of a frame, aspect ratio 0.75 to 1.5, over the full length in time (V-JEPA's short-range
        masks; its eight blocks hide 73% of a frame on average). Blocks are laid down until the mask ratio is reached
        and the last one is trimmed to it, along one edge, in all time slots alike. What no block covered goes last.
    tube: single patches chosen at random, over the full length in time (VideoMAE).
    random: single tokens chosen at random in space and time.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainable.config import Masking, TrialConfig
from trainable.data.video.view import View
from trainable.hashing import Floats, UInts, uniforms

BLOCK_SCALE = 0.15
BLOCK_ASPECT = (0.75, 1.5)
BLOCKS = 64  # ample: about 30 cover 99% of a frame

Indices = npt.NDArray[np.int64]


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
        masking: strategy, see the module.
        mask_ratio: share of each time slot's tokens to mask.
        seed: seed of the masks.

    Raises:
        ConfigError: the ratio leaves nothing to see or nothing to predict.
    """

    def __init__(self, view: View, masking: Masking, mask_ratio: float, seed: int) -> None:
        config = TrialConfig(masking=masking, mask_ratio=mask_ratio, batch_size=1)
        config.check_data(view, training_clips=1)
        self.view, self.masking, self.seed = view, masking, seed
        self.masked_per_slot = config.masked_per_slot(view)

    @property
    def masked_tokens(self) -> int:
        """Masked tokens of every clip."""
        return self.masked_per_slot * self.view.grid[0]

    def draw(self, epoch: int, keys: UInts) -> Mask:
        """The masks of the clips with these keys (see `ClipStore.keys`), shape (clips,), in this epoch."""
        slots, rows, columns = self.view.grid
        if self.masking == "random":
            order = uniforms(self.seed, epoch, keys, self.view.tokens)
            hidden = _smallest(order, self.masked_tokens)
        else:
            if self.masking == "tube":
                order = uniforms(self.seed, epoch, keys, rows * columns)
            else:
                order = self._block_order(epoch, keys)
            hidden = np.tile(_smallest(order, self.masked_per_slot), (1, slots))
        # Each row has the same count of both, so the column indices reshape into rows.
        return Mask(
            visible=np.nonzero(~hidden)[1].reshape(len(keys), -1),
            masked=np.nonzero(hidden)[1].reshape(len(keys), -1),
        )

    def _block_order(self, epoch: int, keys: UInts) -> Floats:
        """The order in which blocks hide the patches of a frame: shape (clips, rows * columns), distinct in a row."""
        _, rows, columns = self.view.grid
        draws = uniforms(self.seed, epoch, keys, BLOCKS * 4 + rows * columns)
        aspect_draw, top_draw, left_draw, edge_draw = (
            draws[:, : BLOCKS * 4].reshape(len(keys), 4, BLOCKS).swapaxes(0, 1)
        )
        low, high = np.log(BLOCK_ASPECT)
        aspect = np.exp(low + aspect_draw * (high - low))
        area = BLOCK_SCALE * rows * columns
        height = np.clip(np.round(np.sqrt(area * aspect)), 1, rows)
        width = np.clip(np.round(np.sqrt(area / aspect)), 1, columns)
        top = np.floor(top_draw * (rows - height + 1))
        left = np.floor(left_draw * (columns - width + 1))

        below, right = np.arange(rows) - top[:, :, None], np.arange(columns) - left[:, :, None]
        in_rows = (below >= 0) & (below < height[:, :, None])
        in_columns = (right >= 0) & (right < width[:, :, None])
        inside = (in_rows[:, :, :, None] & in_columns[:, :, None, :]).reshape(len(keys), BLOCKS, -1)
        first = np.where(inside.any(1), inside.argmax(1), BLOCKS)  # the block that covers a patch first

        block = np.minimum(first, BLOCKS - 1)
        own_row = np.arange(rows).repeat(columns) - np.take_along_axis(top, block, 1)
        own_column = np.tile(np.arange(columns), rows) - np.take_along_axis(left, block, 1)
        from_edge = np.take_along_axis(edge_draw, block, 1) * 4
        distance = np.select(
            [from_edge < 1, from_edge < 2, from_edge < 3],
            [own_row, rows - own_row, own_column],
            columns - own_column,
        )
        jitter = draws[:, BLOCKS * 4 :]  # settles ties along the edge that is trimmed
        order: Floats = first * (rows + columns + 2.0) + np.where(first < BLOCKS, distance, 0) + jitter
        return order


def _smallest(order: Floats, count: int) -> npt.NDArray[np.bool_]:
    """Marks the `count` smallest of each row."""
    chosen = np.zeros(order.shape, dtype=np.bool_)
    np.put_along_axis(chosen, np.argpartition(order, count - 1, axis=1)[:, :count], True, axis=1)
    return chosen
