"""What each trial gets of the machine, known before anything is started."""

import pytest

from salt_tune.resources.allocation import Resources, share_out
from trainable.errors import UserError

CORES = 8


def test_without_a_gpu() -> None:
    assert share_out(CORES, 0, None, None) == Resources(4, 2, 0.0)
    assert share_out(CORES, 0, 2, 0) == Resources(2, 4, 0.0)
    assert share_out(2, 0, None, None) == Resources(2, 1, 0.0)
    with pytest.raises(UserError, match="--gpus-per-trial = 1: this machine has none"):
        share_out(CORES, 0, None, 1)


def test_with_two_gpus() -> None:
    assert share_out(CORES, 2, None, None) == Resources(2, 4, 1.0)
    assert share_out(CORES, 2, 4, None) == Resources(4, 2, 0.5)
    assert share_out(CORES, 2, 1, None) == Resources(1, 8, 2.0)
    assert share_out(CORES, 2, None, 0.5) == Resources(4, 2, 0.5)
    assert share_out(CORES, 2, None, 0) == Resources(4, 2, 0.0)


@pytest.mark.parametrize(
    ("concurrent", "each", "words"), [(None, 3, "has 2"), (None, 1.5, "whole number"), (5, 0.5, "at most 4 fit")]
)
def test_more_than_there_is_is_refused(concurrent: int | None, each: float, words: str) -> None:
    with pytest.raises(UserError, match=words):
        share_out(CORES, 2, concurrent, each)
