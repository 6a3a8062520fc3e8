"""How far the tokens of a clip lie from its mask, in the grid of time slots, rows and columns.

A token is one unit long in each direction. Distances are exact: squared ones are sums over the axes, so the minimum is
taken along one axis after the other.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from trainable.masking.masks import Indices

Grid = tuple[int, int, int]
Number = TypeVar("Number", np.int32, np.int64)


def nearest(among: Indices, grid: Grid) -> Indices:
    """Finds of each token the nearest of some, by Euclidean distance in the grid; of several, the smallest index.

    Args:
        among: token indices, shape (masks, tokens among which to look), at least one of each mask.
        grid: tokens along time, rows and columns.

    Returns:
        Token indices, shape (masks, tokens); a token that is among them is nearest to itself.
    """
    tokens = int(np.prod(grid))
    # The distance in the upper digits and the index in the lower make one number, so that ties settle themselves.
    numbers = np.full((len(among), tokens), _unreachable(grid) * tokens, dtype=np.int64)
    np.put_along_axis(numbers, among, among, axis=1)
    return _spread(numbers, grid, tokens) % tokens


def context_weights(visible: Indices, grid: Grid) -> npt.NDArray[np.float32]:
    """Weights visible tokens by 1 / sqrt(distance to the nearest masked token), after V-JEPA 2.1.

    Args:
        visible: token indices, shape (masks, visible tokens); all others are masked, one at least.
        grid: tokens along time, rows and columns.

    Returns:
        Shape (masks, visible tokens): 1 beside a masked token, and less farther away.
    """
    squares = np.zeros((len(visible), int(np.prod(grid))), dtype=np.int32)
    np.put_along_axis(squares, visible, _unreachable(grid), axis=1)
    squares = np.take_along_axis(_spread(squares, grid, 1), visible, axis=1)
    weights: npt.NDArray[np.float32] = squares.astype(np.float32) ** -0.25
    return weights


def _unreachable(grid: Grid) -> int:
    """Returns a squared distance that no two tokens have."""
    return sum(length**2 for length in grid) + 1


def _spread(numbers: npt.NDArray[Number], grid: Grid, unit: int) -> npt.NDArray[Number]:
    """Gives each token the smallest number, plus `unit` times the squared distance, of all tokens: (masks, tokens)."""
    spread = numbers.reshape(-1, *grid)
    for axis, length in enumerate(grid, start=1):
        lanes = np.ascontiguousarray(np.moveaxis(spread, axis, 0))
        steps = np.arange(length)
        apart = (np.square(steps[:, None] - steps) * unit).astype(numbers.dtype)[..., None, None, None]
        reached = lanes[0] + apart[0]
        for place in range(1, length):
            np.minimum(reached, lanes[place] + apart[place], out=reached)
        spread = np.moveaxis(reached, 0, axis)
    return spread.reshape(numbers.shape)
