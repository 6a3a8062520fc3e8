"""The nearest token is the nearest of all, and visible tokens weigh by how far the mask is."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainable.masking.drawn import VIDEO, keys
from trainable.masking.masks import Masks
from trainable.masking.nearest import Grid, context_weights, nearest


@st.composite
def grids_and_tokens(draw: st.DrawFn, *, all_of_them: bool = True) -> tuple[Grid, list[list[int]]]:
    """A small grid, and of some masks, as many tokens each; perhaps all there are."""
    grid = (draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(2, 5)))
    tokens = grid[0] * grid[1] * grid[2]
    count = draw(st.integers(1, tokens if all_of_them else tokens - 1))
    mask = st.lists(st.integers(0, tokens - 1), min_size=count, max_size=count, unique=True).map(sorted)
    return grid, draw(st.lists(mask, min_size=1, max_size=3))


def squared_distance(grid: Grid, token: int, other: int) -> int:
    places = list(itertools.product(*map(range, grid)))
    return sum((a - b) ** 2 for a, b in zip(places[token], places[other], strict=True))


@given(grids_and_tokens())
def test_the_nearest_token_is_nearest_and_the_first_of_several(drawn: tuple[Grid, list[list[int]]]) -> None:
    grid, among = drawn
    expected = [
        [min(mask, key=lambda other: (squared_distance(grid, token, other), other)) for token in range(np.prod(grid))]
        for mask in among
    ]
    assert nearest(np.array(among, dtype=np.int64), grid).tolist() == expected


@given(grids_and_tokens(all_of_them=False))
def test_a_visible_token_weighs_one_over_the_root_of_its_distance_to_the_mask(
    drawn: tuple[Grid, list[list[int]]],
) -> None:
    grid, visible = drawn
    weights = context_weights(np.array(visible, dtype=np.int64), grid)
    assert weights.dtype == np.float32
    for row, seen in zip(weights.tolist(), visible, strict=True):
        masked = [token for token in range(int(np.prod(grid))) if token not in seen]
        expected = [min(squared_distance(grid, token, other) for other in masked) ** 0.5 for token in seen]
        assert row == pytest.approx([1 / distance**0.5 for distance in expected], rel=1e-6)


def test_no_visible_token_weighs_more_than_one_beside_the_mask() -> None:
    visible = Masks(VIDEO, "multiblock_both", 0.6, 0).draw(0, keys(8)).visible
    weights = context_weights(visible.reshape(16, -1), VIDEO.grid)
    assert weights.shape == (16, visible.shape[2])
    assert weights.max() == 1 and 0 < weights.min() < 0.8
