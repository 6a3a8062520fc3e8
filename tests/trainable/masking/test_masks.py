"""Masks of nothing and of everything are refused; what every strategy keeps is in tests/contracts."""

import hashlib

import pytest

from tests.trainable.masking.drawn import VIDEO, keys
from trainable.data.video.view import View
from trainable.errors import ConfigError
from trainable.masking.masks import Masks


@pytest.mark.parametrize("ratio", [0.05, 0.95])
def test_a_mask_of_nothing_or_everything_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match=rf"^mask_ratio = {ratio}: must lie between"):
        Masks(View(frames=2, size=32, patch=16), "tube", ratio, 0)


def test_the_counts_follow_from_ratio_and_share() -> None:
    masks = Masks(VIDEO, "multiblock_both", 0.6, 0, predict_share=0.3)
    assert (masks.per_clip, masks.masked_tokens, masks.visible_tokens) == (2, 2 * 118, 2 * 78)  # 117.6 of 196 a slot
    assert masks.predicted_tokens == 71  # 70.8
    assert Masks(VIDEO, "tube", 0.6, 0).predicted_tokens == 2 * 118


def test_one_token_is_predicted_at_least() -> None:
    masks = Masks(VIDEO, "random", 0.6, 0, predict_share=1e-6)
    assert masks.draw(0, keys(3)).masked.shape == (3, 1, 1)


def test_a_masking_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^masking = 'tubes': did you mean 'tube'\?$"):
        Masks(VIDEO, "tubes", 0.5, 0)


@pytest.mark.parametrize(
    ("masking", "digest"),
    [("multiblock", "ebe4e693f617654e"), ("tube", "3108bf66c3029f9e"), ("random", "8f02731b45f1ae04")],
)
def test_masks_are_drawn_as_they_ever_were(masking: str, digest: str) -> None:
    """A run that is resumed, and one that is compared with an older one, must see the same masks."""
    sha256 = hashlib.sha256()
    for view in (VIDEO, View(frames=4, size=40, patch=8)):
        for ratio in (0.3, 0.75):
            for epoch in (0, 5):
                mask = Masks(view, masking, ratio, 3).draw(epoch, keys(7))
                for tokens in (mask.masked, mask.visible):
                    sha256.update(tokens.astype("<i8").tobytes())
    assert sha256.hexdigest()[:16] == digest
