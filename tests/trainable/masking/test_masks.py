"""Masks of nothing and of everything are refused; what every strategy keeps is in tests/contracts."""

import pytest

from tests.trainable.masking.drawn import VIDEO
from trainable.config import TrialConfig
from trainable.data.video.view import View
from trainable.errors import ConfigError
from trainable.masking.masks import Masks


@pytest.mark.parametrize("ratio", [0.05, 0.95])
def test_a_mask_of_nothing_or_everything_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match=rf"^mask_ratio = {ratio}: must lie between"):
        Masks(View(frames=2, size=32, patch=16), "tube", ratio, 0)


def test_the_counts_are_what_the_configuration_says() -> None:
    config = TrialConfig(mask_ratio=0.6)
    assert Masks(VIDEO, "tube", 0.6, 0).masked_tokens == 2 * config.masked_per_slot(VIDEO)


def test_a_masking_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^masking = 'tubes': did you mean 'tube'\?$"):
        Masks(VIDEO, "tubes", 0.5, 0)
