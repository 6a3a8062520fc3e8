"""What every registered masking keeps: exact counts, the same masks whatever the batch, and no token left out."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.contracts.packages import install
from tests.trainable.masking.drawn import VIDEO, hidden, keys
from trainable.config import TrialConfig
from trainable.data.video.view import View
from trainable.errors import ConfigError
from trainable.masking.masks import Masks
from trainable.registry import MASKINGS

VIEWS = st.builds(
    lambda slots, side, tubelet: View(frames=slots * tubelet, size=side * 4, patch=4, tubelet=tubelet),
    slots=st.integers(1, 5), side=st.integers(2, 14), tubelet=st.integers(1, 2),
)  # fmt: skip
SEEDS = st.integers(0, 2**63 - 1)
EPOCHS = st.integers(0, 1000)
MASKING = st.sampled_from(sorted(MASKINGS))
RATIOS = st.floats(0.05, 0.97)
SHARES = st.floats(0, 1, exclude_min=True)


@pytest.mark.parametrize("masking", sorted(MASKINGS))
def test_a_trial_can_have_it(masking: str) -> None:
    assert TrialConfig(masking=masking).masking == masking


@settings(deadline=None)
@given(
    view=VIEWS,
    masking=MASKING,
    ratio=RATIOS,
    seed=SEEDS,
    epoch=EPOCHS,
    clips=st.integers(1, 5),
)
def test_every_clip_is_cut_into_the_same_number_of_visible_and_masked_tokens(
    view: View, masking: str, ratio: float, seed: int, epoch: int, clips: int
) -> None:
    slots, rows, columns = view.grid
    per_slot = round(ratio * rows * columns)
    assume(0 < per_slot < rows * columns)
    masks = Masks(view, masking, ratio, seed)
    mask = masks.draw(epoch, keys(clips))
    assert masks.masked_tokens == masks.predicted_tokens == slots * per_slot
    assert masks.per_clip == len(MASKINGS[masking].orders) >= 1
    assert mask.masked.shape == (clips, masks.per_clip, slots * per_slot)
    assert mask.visible.shape == (clips, masks.per_clip, view.tokens - slots * per_slot)
    assert (np.diff(mask.masked) > 0).all()
    assert (np.diff(mask.visible) > 0).all()
    both = np.sort(np.concatenate([mask.visible, mask.masked], axis=2))
    assert (both == np.arange(view.tokens)).all()


@settings(deadline=None)
@given(view=VIEWS, masking=MASKING, share=SHARES, seed=SEEDS, epoch=EPOCHS, clips=st.integers(1, 5))
def test_an_exact_share_of_the_masked_tokens_is_predicted_and_what_is_visible_stays(
    view: View, masking: str, share: float, seed: int, epoch: int, clips: int
) -> None:
    whole = Masks(view, masking, 0.5, seed).draw(epoch, keys(clips))
    masks = Masks(view, masking, 0.5, seed, share)
    part = masks.draw(epoch, keys(clips))
    count = max(1, round(share * whole.masked.shape[2]))
    assert masks.predicted_tokens == count
    assert part.masked.shape == (clips, masks.per_clip, count)
    assert (np.diff(part.masked) > 0).all()
    assert (part.visible == whole.visible).all()
    for place in np.ndindex(clips, masks.per_clip):
        assert np.isin(part.masked[place], whole.masked[place]).all()


@settings(deadline=None)
@given(view=VIEWS, masking=MASKING, share=SHARES, seed=SEEDS, epoch=EPOCHS, order=st.permutations(range(6)),
       taken=st.integers(1, 6))  # fmt: skip
def test_a_mask_does_not_depend_on_the_batch(
    view: View, masking: str, share: float, seed: int, epoch: int, order: list[int], taken: int
) -> None:
    clips = keys(6)
    whole = Masks(view, masking, 0.5, seed, share).draw(epoch, clips)
    some = Masks(view, masking, 0.5, seed, share).draw(epoch, clips[order[:taken]])
    assert (some.masked == whole.masked[order[:taken]]).all()
    assert (some.visible == whole.visible[order[:taken]]).all()


@pytest.mark.parametrize("masking", sorted(MASKINGS))
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_another_seed_epoch_or_clip_has_another_mask(masking: str, share: float) -> None:
    clips = keys(16)
    first = Masks(VIDEO, masking, 0.75, 0, share).draw(0, clips).masked
    others = {
        "seed": Masks(VIDEO, masking, 0.75, 1, share).draw(0, clips).masked,
        "epoch": Masks(VIDEO, masking, 0.75, 0, share).draw(1, clips).masked,
        "clip": Masks(VIDEO, masking, 0.75, 0, share).draw(0, keys(16, "other")).masked,
        "neighbour": np.roll(first, 1, axis=0),
    }
    assert [name for name, other in others.items() if (first == other).all(axis=2).any()] == []


@pytest.mark.parametrize("masking", sorted(MASKINGS))
def test_the_masks_of_a_clip_differ(masking: str) -> None:
    masked = Masks(VIDEO, masking, 0.75, 0).draw(0, keys(64)).masked
    for one, other in combinations(range(masked.shape[1]), 2):
        assert not (masked[:, one] == masked[:, other]).all(axis=1).any()


@pytest.mark.parametrize("masking", sorted(MASKINGS))
def test_every_place_gets_its_turn(masking: str) -> None:
    """At a ratio at which the longest blocks leave the middle of a frame to be seen."""
    masks = Masks(VIDEO, masking, 0.4, 3)
    shares = hidden(masks, 0, keys(400)).reshape(400, masks.per_clip, VIDEO.tokens).mean(axis=0)
    assert shares.min() > 0.02, "some token is never predicted"  # blocks rarely reach into the corners
    assert shares.max() < 0.98, "some token is never seen"


@pytest.mark.parametrize("masking", sorted(MASKINGS))
@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.9, 0.97])
def test_extreme_ratios_are_kept_exactly(masking: str, ratio: float) -> None:
    marks = hidden(Masks(VIDEO, masking, ratio, 0), 0, keys(32))
    assert (marks.sum(axis=(1, 2, 3)) == 2 * round(ratio * 196)).all()


CHECKERBOARD = """
import numpy as np
from trainable.masking.masks import Masking

def order(view, draws):
    _, rows, columns = view.grid
    dark = np.add.outer(np.arange(rows), np.arange(columns)).reshape(-1) % 2
    return dark - draws(rows * columns)

CHECKERBOARD = Masking((order,))
"""


def test_a_package_adds_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "checkerboard", "salt_tune.maskings", {"checkerboard": "checkerboard:CHECKERBOARD"}, CHECKERBOARD)
    with pytest.raises(ConfigError, match=r"^masking = 'checkerboard': known are multiblock, multiblock_long, "):
        TrialConfig(masking="checkerboard")
    monkeypatch.syspath_prepend(tmp_path)
    masks = Masks(VIDEO, TrialConfig(masking="checkerboard").masking, 0.25, 0)
    light = np.add.outer(np.arange(14), np.arange(14)) % 2 == 0
    assert light[hidden(masks, 0, keys(4)).nonzero()[2:]].all()
