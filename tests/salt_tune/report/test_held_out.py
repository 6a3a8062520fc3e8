"""What so many held-out clips can tell apart, against simulated encoders."""

import numpy as np
import pytest

from salt_tune.report.held_out import ENOUGH, few_clips, tellable_difference

DRAWS = 20_000


def simulated(clips: int, accuracy: float, alike: float) -> float:
    """The difference of two equally good encoders that chance exceeds in 5% of the draws of clips.

    Args:
        clips: held out.
        accuracy: of both.
        alike: share of the clips to which both give the same answer in any case.
    """
    draw = np.random.default_rng([clips, int(100 * accuracy), int(100 * alike)])
    one, other = (draw.random((DRAWS, clips)) < accuracy for _ in range(2))
    same = draw.random((DRAWS, clips)) < alike
    difference = (one.astype(float) - np.where(same, one, other)).mean(axis=1)
    return float(np.quantile(np.abs(difference), 0.95))


@pytest.mark.parametrize("clips", [16, 50, 120, 200])
def test_chance_makes_that_much_of_a_difference_at_worst(clips: int) -> None:
    assert simulated(clips, 0.5, alike=0) == pytest.approx(tellable_difference(clips), abs=1.1 / clips)
    for accuracy in (0.1, 0.3, 0.5, 0.9):
        for alike in (0.0, 0.5):
            assert simulated(clips, accuracy, alike) <= tellable_difference(clips) + 1.1 / clips


def test_a_real_difference_of_twice_as_much_is_mostly_seen() -> None:
    draw = np.random.default_rng(0)
    apart = 2 * tellable_difference(100)
    one, other = (draw.random((DRAWS, 100)) < accuracy for accuracy in (0.5 + apart / 2, 0.5 - apart / 2))
    seen = (one.mean(axis=1) - other.mean(axis=1)) > tellable_difference(100)
    assert seen.mean() > 0.9


def test_intervals_of_means_shrink_with_the_root_of_the_clips() -> None:
    draw = np.random.default_rng(1)
    means = {clips: draw.gamma(9.0, 1 / 9.0, (DRAWS, clips)).mean(axis=1).std() for clips in (50, ENOUGH)}
    assert means[50] / means[ENOUGH] == pytest.approx((ENOUGH / 50) ** 0.5, rel=0.05)
    line = few_clips(50)
    assert line is not None and "2.0 times as wide as with 200" in line


def test_few_clips_are_warned_of_in_a_line() -> None:
    assert few_clips(16) == (
        "warning: only 16 held-out clips: 35 points of probe_top1 may be chance (95%), "
        "and intervals of val_loss are 3.5 times as wide as with 200"
    )
    assert few_clips(ENOUGH) is few_clips(25_000) is None
    assert tellable_difference(1) == 1.0
    assert 0.09 < tellable_difference(ENOUGH) < 0.1
