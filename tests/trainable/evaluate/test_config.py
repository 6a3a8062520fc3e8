"""What trials are judged on refuses what cannot be judged."""

from typing import Any

import pytest

from trainable.errors import ConfigError
from trainable.evaluate.config import EvaluationConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clips": 1}, "clips = 1: must be at least 2"),
        ({"panel_clips": 3}, "panel_clips = 3: must be at least 4"),
        ({"folds": 1}, "folds = 1: must be at least 2"),
        ({"repeats": 0}, "repeats = 0: must be at least 1"),
        ({"batch_size": 0}, "batch_size = 0: must be at least 1"),
        ({"mask_ratio": 1.5}, "mask_ratio = 1.5: must be between 0 and 1"),
        ({"masking": "blocks"}, "masking = 'blocks': did you mean 'multiblock'?"),
        ({"seed": -1}, "seed = -1: must be at least 0 and below 2^63"),
    ],
)
def test_an_evaluation_that_cannot_be_made_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EvaluationConfig(**values)
    assert str(caught.value) == message


def test_what_is_judged_on_can_be_written_down() -> None:
    config = EvaluationConfig(clips=11, masking="tube", mask_ratio=0.5, seed=3)
    assert EvaluationConfig(**config.to_dict()) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clip": 8}, "clip = 8: unknown entry; did you mean 'clips'?"),
        ({"clips": True}, "clips = True: must be a whole number"),
        ({"clips": "8"}, "clips = '8': must be a whole number"),
        ({"panel_clips": 8.5}, "panel_clips = 8.5: must be a whole number"),
        ({"mask_ratio": "half"}, "mask_ratio = 'half': must be a number"),
        (
            {3: 4},
            "3 = 4: unknown entry; known are clips, mask_ratio, masking, seed, panel_clips, folds, repeats, "
            "batch_size, attentive_steps",
        ),
    ],
)
def test_entries_of_the_wrong_name_or_kind_are_refused(values: dict[Any, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EvaluationConfig.from_dict(values)
    assert str(caught.value) == message
