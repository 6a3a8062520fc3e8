"""`multiblock`, `multiblock_long` and `multiblock_both`: V-JEPA's blocks, over the full length in time.

V-JEPA's short-range masks are eight blocks of 15% of a frame, its long-range masks two of 70%, all of aspect ratio 0.75
to 1.5. A step shows each clip under one of either kind, as `multiblock_both` does. Here blocks are laid down until the
mask ratio is reached. The last one is trimmed to it, along one edge, in all time slots alike. What no block covered
goes last.

From a mask ratio of about 0.6 on, long-range masks always hide the middle of a frame; short-range ones do not.
"""

from functools import partial

import numpy as np

from trainable.data.video.view import View
from trainable.hashing import Floats
from trainable.masking.masks import Draws, Masking

BLOCK_ASPECT = (0.75, 1.5)
BLOCKS = 64  # ample: about 30 of the small ones cover 99% of a frame


def order(scale: float, view: View, draws: Draws) -> Floats:
    """Orders the patches of a frame as blocks hide them: shape (clips, rows * columns), distinct in a row.

    Args:
        scale: share of a frame that a block covers.
        view: geometry of the clips.
        draws: random numbers of each clip.
    """
    _, rows, columns = view.grid
    numbers = draws(BLOCKS * 4 + rows * columns)
    clips = len(numbers)
    aspect_draw, top_draw, left_draw, edge_draw = numbers[:, : BLOCKS * 4].reshape(clips, 4, BLOCKS).swapaxes(0, 1)
    low, high = np.log(BLOCK_ASPECT)
    aspect = np.exp(low + aspect_draw * (high - low))
    area = scale * rows * columns
    height = np.clip(np.round(np.sqrt(area * aspect)), 1, rows)
    width = np.clip(np.round(np.sqrt(area / aspect)), 1, columns)
    top = np.floor(top_draw * (rows - height + 1))
    left = np.floor(left_draw * (columns - width + 1))

    below, right = np.arange(rows) - top[:, :, None], np.arange(columns) - left[:, :, None]
    in_rows = (below >= 0) & (below < height[:, :, None])
    in_columns = (right >= 0) & (right < width[:, :, None])
    inside = (in_rows[:, :, :, None] & in_columns[:, :, None, :]).reshape(clips, BLOCKS, -1)
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
    jitter = numbers[:, BLOCKS * 4 :]  # settles ties along the edge that is trimmed
    ranks: Floats = first * (rows + columns + 2.0) + np.where(first < BLOCKS, distance, 0) + jitter
    return ranks


SHORT_RANGE, LONG_RANGE = partial(order, 0.15), partial(order, 0.7)

MULTIBLOCK = Masking((SHORT_RANGE,))
MULTIBLOCK_LONG = Masking((LONG_RANGE,))
MULTIBLOCK_BOTH = Masking((SHORT_RANGE, LONG_RANGE))
