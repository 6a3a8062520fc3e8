"""The effective rank counts directions, LiDAR those in which clips differ by more than the masks make them differ."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.evaluate.rank import lidar_of, rank_of

Floats = npt.NDArray[np.float64]


@given(dimensions=st.integers(1, 6), scale=st.floats(1e-3, 1e3))
def test_the_effective_rank_counts_directions(dimensions: int, scale: float) -> None:
    """Each direction with the same spread, in both senses, so that the mean is zero."""
    axes = np.eye(8)[:dimensions] * scale
    assert rank_of(np.concatenate([axes, -axes]) + 5) == pytest.approx(dimensions)


def test_the_effective_rank_of_unequal_directions() -> None:
    spread = np.diag([3.0, 1.0])
    features = np.concatenate([spread, -spread])
    assert rank_of(features) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    assert rank_of(np.ones((5, 3))) == 0.0


def views(clips: Floats, noise: Floats, count: int = 40) -> Floats:
    """Views of clips with the same noise about each, in axes of its own size; shape (clips, 2 * count, width)."""
    draws = np.random.default_rng(0).normal(size=(len(clips), count, clips.shape[1])) * noise
    found: Floats = clips[:, None] + np.concatenate([draws, -draws], axis=1)
    return found


def test_lidar_counts_the_directions_that_tell_clips_apart() -> None:
    """Eight axes that differ between clips as much as each other in units of the noise, whatever both are."""
    axes = np.concatenate([np.eye(8), -np.eye(8)])
    sizes = np.linspace(1, 20, 8)
    assert lidar_of(views(axes * sizes, 0.1 * sizes)) == pytest.approx(8, abs=0.1)
    assert rank_of(axes * sizes) < 7


def test_lidar_does_not_count_what_the_masks_change() -> None:
    """Two axes are as large between clips as the others, and drown in noise."""
    axes = np.concatenate([np.eye(8), -np.eye(8)])
    noise = np.array([0.1] * 6 + [10.0] * 2)
    assert lidar_of(views(axes, noise)) == pytest.approx(6, abs=0.3)


def test_lidar_of_equal_clips_is_nothing_and_one_view_will_do() -> None:
    assert lidar_of(np.ones((5, 3, 4))) == 0.0
    axes = np.concatenate([np.eye(4), -np.eye(4)])
    assert lidar_of(axes[:, None]) == pytest.approx(4)
