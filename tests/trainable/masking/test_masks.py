"""Masks: exact counts, one mask a clip whatever the batch, and blocks that are blocks."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainable.config import Masking, TrialConfig
from trainable.data.video.view import View
from trainable.errors import ConfigError
from trainable.hashing import clip_key, uniforms
from trainable.masking.masks import Masks

STRATEGIES: tuple[Masking, ...] = ("multiblock", "tube", "random")
VIDEO = View(frames=4, size=224, patch=16)  # 2 x 14 x 14 tokens

Keys = npt.NDArray[np.uint64]
Patches = npt.NDArray[np.bool_]


def keys(count: int, prefix: str = "clip") -> Keys:
    return np.array([clip_key(f"{prefix}{number}") for number in range(count)], dtype=np.uint64)


def hidden(masks: Masks, epoch: int, clips: Keys) -> Patches:
    """Which tokens are masked, shape (clips, slots, rows, columns)."""
    marks = np.zeros((len(clips), masks.view.tokens), dtype=np.bool_)
    np.put_along_axis(marks, masks.draw(epoch, clips).masked, True, axis=1)
    return marks.reshape(len(clips), *masks.view.grid)


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


VIEWS = st.builds(
    lambda slots, side, tubelet: View(frames=slots * tubelet, size=side * 4, patch=4, tubelet=tubelet),
    slots=st.integers(1, 5), side=st.integers(2, 14), tubelet=st.integers(1, 2),
)  # fmt: skip
SEEDS = st.integers(0, 2**63 - 1)
EPOCHS = st.integers(0, 1000)
RATIOS = st.floats(0.05, 0.97)


@settings(deadline=None)
@given(view=VIEWS, masking=st.sampled_from(STRATEGIES), ratio=RATIOS, seed=SEEDS, epoch=EPOCHS, clips=st.integers(1, 5))
def test_every_clip_is_cut_into_the_same_number_of_visible_and_masked_tokens(
    view: View, masking: Masking, ratio: float, seed: int, epoch: int, clips: int
) -> None:
    slots, rows, columns = view.grid
    per_slot = round(ratio * rows * columns)
    assume(0 < per_slot < rows * columns)
    masks = Masks(view, masking, ratio, seed)
    mask = masks.draw(epoch, keys(clips))
    assert masks.masked_tokens == slots * per_slot
    assert mask.masked.shape == (clips, slots * per_slot)
    assert mask.visible.shape == (clips, view.tokens - slots * per_slot)
    assert (np.diff(mask.masked, axis=1) > 0).all()
    assert (np.diff(mask.visible, axis=1) > 0).all()
    both = np.sort(np.concatenate([mask.visible, mask.masked], axis=1), axis=1)
    assert (both == np.arange(view.tokens)).all()
    if masking != "random":
        marks = hidden(masks, epoch, keys(clips))
        assert (marks == marks[:, :1]).all(), "the time slots differ"


@settings(deadline=None)
@given(view=VIEWS, masking=st.sampled_from(STRATEGIES), seed=SEEDS, epoch=EPOCHS, order=st.permutations(range(6)),
       taken=st.integers(1, 6))  # fmt: skip
def test_a_mask_does_not_depend_on_the_batch(
    view: View, masking: Masking, seed: int, epoch: int, order: list[int], taken: int
) -> None:
    clips = keys(6)
    masks = Masks(view, masking, 0.5, seed)
    whole = masks.draw(epoch, clips)
    some = Masks(view, masking, 0.5, seed).draw(epoch, clips[order[:taken]])
    assert (some.masked == whole.masked[order[:taken]]).all()
    assert (some.visible == whole.visible[order[:taken]]).all()


@pytest.mark.parametrize("masking", STRATEGIES)
def test_another_seed_epoch_or_clip_has_another_mask(masking: Masking) -> None:
    clips = keys(16)
    first = Masks(VIDEO, masking, 0.75, 0).draw(0, clips).masked
    others = {
        "seed": Masks(VIDEO, masking, 0.75, 1).draw(0, clips).masked,
        "epoch": Masks(VIDEO, masking, 0.75, 0).draw(1, clips).masked,
        "clip": Masks(VIDEO, masking, 0.75, 0).draw(0, keys(16, "other")).masked,
        "neighbour": np.roll(first, 1, axis=0),
    }
    assert [name for name, other in others.items() if (first == other).all(axis=1).any()] == []


@pytest.mark.parametrize("masking", STRATEGIES)
def test_every_place_gets_its_turn(masking: Masking) -> None:
    shares = hidden(Masks(VIDEO, masking, 0.5, 3), 0, keys(400)).mean(axis=0)
    assert shares.min() > 0.02, "some token is never predicted"  # blocks rarely reach into the corners
    assert shares.max() < 0.98, "some token is never seen"


def test_random_masks_differ_between_time_slots() -> None:
    marks = hidden(Masks(VIDEO, "random", 0.75, 0), 0, keys(8))
    assert (marks[:, 0] != marks[:, 1]).any(axis=(1, 2)).all()


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75, 0.9])
def test_blocks_have_fewer_borders_than_single_patches(ratio: float) -> None:
    clips = keys(64)
    blocks, patches = (
        borders(hidden(Masks(VIDEO, masking, ratio, 0), 0, clips)[:, 0]) for masking in ("multiblock", "tube")
    )
    assert blocks < 0.5 * patches


def test_the_last_block_is_trimmed_to_one_piece() -> None:
    """A block covers 15% of 14 x 14 patches: a mask of 10% is one block with one side cut off."""
    masks = Masks(VIDEO, "multiblock", 0.1, 0)
    trimmed_on: set[str] = set()
    for patches in hidden(masks, 0, keys(200))[:, 0]:
        assert parts(patches) == 1
        rows, columns = np.flatnonzero(patches.any(1)), np.flatnonzero(patches.any(0))
        box = patches[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (~box).sum() < max(box.shape), "more is missing than a part of one edge"
        edges = {"top": box[0], "bottom": box[-1], "left": box[:, 0], "right": box[:, -1]}
        trimmed_on.add(min(edges, key=lambda name: edges[name].mean()))
    assert trimmed_on == {"top", "bottom", "left", "right"}


@pytest.mark.parametrize("masking", STRATEGIES)
@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.9, 0.97])
def test_extreme_ratios_are_kept_exactly(masking: Masking, ratio: float) -> None:
    marks = hidden(Masks(VIDEO, masking, ratio, 0), 0, keys(32))
    assert (marks.sum(axis=(1, 2, 3)) == 2 * round(ratio * 196)).all()


@pytest.mark.parametrize("ratio", [0.05, 0.95])
def test_a_mask_of_nothing_or_everything_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match=rf"^mask_ratio = {ratio}: must lie between"):
        Masks(View(frames=2, size=32, patch=16), "tube", ratio, 0)


def test_the_counts_are_what_the_configuration_says() -> None:
    config = TrialConfig(mask_ratio=0.6)
    assert Masks(VIDEO, "tube", 0.6, 0).masked_tokens == 2 * config.masked_per_slot(VIDEO)


@pytest.mark.parametrize(
    "draws",
    [
        pytest.param(lambda: uniforms(0, 0, keys(2000), 50), id="clips"),
        pytest.param(lambda: uniforms(0, 0, np.arange(2000, dtype=np.uint64), 50), id="small keys"),
        pytest.param(lambda: np.concatenate([uniforms(seed, 0, keys(1), 50) for seed in range(2000)]), id="seeds"),
        pytest.param(lambda: np.concatenate([uniforms(0, epoch, keys(1), 50) for epoch in range(2000)]), id="epochs"),
    ],
)
def test_uniforms_are_uniform_and_independent(draws: Any) -> None:
    numbers = draws()
    assert numbers.shape == (2000, 50)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert len(np.unique(numbers)) == numbers.size
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert 50 < chi_square < 160  # 99 degrees of freedom: both tails below 1e-4
    assert np.abs(np.corrcoef(numbers.T) - np.eye(50)).max() < 0.12  # 5 standard errors
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 0.02


def test_uniforms_are_the_same_on_every_machine() -> None:
    drawn = uniforms(1, 2, np.array([3], dtype=np.uint64), 2)
    assert [number.hex() for number in drawn[0].tolist()] == ["0x1.6bed1a0af5d1ep-2", "0x1.db8414de15fb9p-1"]
