"""Random masks hide single tokens."""

from tests.trainable.masking.drawn import VIDEO, hidden, keys
from trainable.masking.masks import Masks


def test_random_masks_differ_between_time_slots() -> None:
    marks = hidden(Masks(VIDEO, "random", 0.75, 0), 0, keys(8))
    assert (marks[:, 0] != marks[:, 1]).any(axis=(1, 2)).all()
