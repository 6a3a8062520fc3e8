"""Blocks are blocks: over the full length in time, in one piece, and trimmed along an edge; short or long."""

import numpy as np
import pytest

from tests.trainable.masking.drawn import VIDEO, Patches, hidden, keys
from trainable.masking.masks import Masks


def borders(patches: Patches) -> int:
    """Neighbouring patches of which one is masked and the other visible; `patches` is (clips, rows, columns)."""
    down = patches[:, 1:] != patches[:, :-1]
    across = patches[:, :, 1:] != patches[:, :, :-1]
    return int(down.sum() + across.sum())


def parts(patches: Patches) -> int:
    """Connected parts of the masked patches of one frame, (rows, columns)."""
    left = {tuple(place) for place in np.argwhere(patches).tolist()}
    count = 0
    while left:
        count, front = count + 1, [left.pop()]
        while front:
            row, column = front.pop()
            for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if near in left:
                    left.remove(near)
                    front.append(near)
    return count


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("masking", ["multiblock", "multiblock_long", "multiblock_both", "tube"])
def test_they_reach_over_the_full_length_in_time(masking: str, ratio: float) -> None:
    marks = hidden(Masks(VIDEO, masking, ratio, 0), 0, keys(16))
    assert (marks == marks[:, :1]).all()


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75, 0.9])
def test_blocks_have_fewer_borders_than_single_patches(ratio: float) -> None:
    clips = keys(64)
    blocks, patches = (
        borders(hidden(Masks(VIDEO, masking, ratio, 0), 0, clips)[:, 0]) for masking in ("multiblock", "tube")
    )
    assert blocks < 0.5 * patches


@pytest.mark.parametrize(("masking", "ratio"), [("multiblock", 0.1), ("multiblock_long", 0.6)])
def test_the_last_block_is_trimmed_to_one_piece(masking: str, ratio: float) -> None:
    """A block covers 15% or 70% of 14 x 14 patches: these masks are one block with one side cut off."""
    masks = Masks(VIDEO, masking, ratio, 0)
    trimmed_on: set[str] = set()
    for patches in hidden(masks, 0, keys(200))[:, 0]:
        assert parts(patches) == 1
        rows, columns = np.flatnonzero(patches.any(1)), np.flatnonzero(patches.any(0))
        box = patches[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (~box).sum() < max(box.shape), "more is missing than a part of one edge"
        edges = {"top": box[0], "bottom": box[-1], "left": box[:, 0], "right": box[:, -1]}
        trimmed_on.add(min(edges, key=lambda name: edges[name].mean()))
    assert trimmed_on == {"top", "bottom", "left", "right"}


def test_long_blocks_cover_seven_tenths_of_a_frame_within_the_aspect_ratios() -> None:
    for patches in hidden(Masks(VIDEO, "multiblock_long", 0.65, 0), 0, keys(100))[:, 0]:
        height, width = patches.any(1).sum(), patches.any(0).sum()
        assert 0.65 * 196 <= height * width <= 0.75 * 196, "more or less than one block"
        assert 0.6 <= height / width <= 1.7  # rounded, and one edge may be gone


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_both_are_a_short_range_and_a_long_range_mask(ratio: float) -> None:
    clips = keys(64)
    short, long = np.moveaxis(
        hidden(Masks(VIDEO, "multiblock_both", ratio, 0), 3, clips).reshape(64, 2, *VIDEO.grid), 1, 0
    )
    assert (short == hidden(Masks(VIDEO, "multiblock", ratio, 0), 3, clips)).all()
    assert borders(long[:, 0]) < borders(short[:, 0])
    assert (short.sum(axis=(1, 2, 3)) == long.sum(axis=(1, 2, 3))).all()
    alone = hidden(Masks(VIDEO, "multiblock_long", ratio, 0), 3, clips)
    assert not (long == alone).all(axis=(1, 2, 3)).any(), "the second mask follows from the first one's numbers"
