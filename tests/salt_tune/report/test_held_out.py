"""What so many held-out clips can tell apart, against simulated losses."""

import numpy as np
import pytest

from salt_tune.report.held_out import ENOUGH, few_clips

DRAWS = 20_000


def test_intervals_of_means_shrink_with_the_root_of_the_clips() -> None:
    draw = np.random.default_rng(1)
    means = {clips: draw.gamma(9.0, 1 / 9.0, (DRAWS, clips)).mean(axis=1).std() for clips in (50, ENOUGH)}
    assert means[50] / means[ENOUGH] == pytest.approx((ENOUGH / 50) ** 0.5, rel=0.05)
    line = few_clips(50)
    assert line is not None and "2.0 times as wide as with 200" in line


def test_few_clips_are_warned_of_in_a_line() -> None:
    assert few_clips(16) == "only 16 held-out clips: intervals of val_loss are 3.5 times as wide as with 200"
    assert few_clips(ENOUGH) is few_clips(25_000) is None
