"""`effective_rank` and `lidar`: how many directions frozen features take up; both fall where an encoder collapses."""

import math
from typing import Final

import numpy as np

from trainable.evaluate.features import Floats
from trainable.evaluate.judged import Probed

DELTA: Final = 1e-4  # added to the scatter within clips (Thilak et al., 2023)


def effective_rank(judged: Probed) -> float:
    """Measures how many directions the mean features of the panel's held-out clips take up, see `rank_of`."""
    held_out = len(judged.on.panel.held_out)
    return rank_of(judged.features.whole[:held_out].mean(axis=1))


def lidar(judged: Probed) -> float | None:
    """Measures how many directions tell clips apart whatever is masked, see `lidar_of`.

    None where features of masked clips are unknown, as of a teacher's latents.
    """
    views = judged.features.views
    return None if views is None else lidar_of(views)


def rank_of(features: Floats) -> float:
    """Computes exp(entropy of the normalised singular values) of centred features (Roy and Vetterli, 2007).

    Args:
        features: shape (clips, width).

    Returns:
        Between 1 and min(clips, width); 0 where all features are equal.
    """
    singular = np.linalg.svd(features - features.mean(axis=0), compute_uv=False)
    return _exp_entropy(singular) if singular.sum() > 1e-12 else 0.0


def lidar_of(views: Floats) -> float:
    """Computes LiDAR (Thilak et al., 2023): the effective rank of what a linear discriminant analysis is left with.

    Each clip is a class. The eigenvalues are those of the scatter between clips in units of the scatter within.

    Args:
        views: features of several views of each clip, shape (clips, views, width).

    Returns:
        Between 1 and min(clips, width); 0 where all clips are equal.
    """
    clips, count, width = views.shape
    means = views.mean(axis=1)
    between = means - means.mean(axis=0)
    within = (views - means[:, None]).reshape(-1, width)
    scatter = within.T @ within / max(1, clips * (count - 1)) + DELTA * np.eye(width)
    values, vectors = np.linalg.eigh(scatter)
    whitened = between @ (vectors / np.sqrt(values))
    eigenvalues = np.linalg.svd(whitened, compute_uv=False) ** 2
    return _exp_entropy(eigenvalues) if eigenvalues.sum() > 1e-12 else 0.0


def _exp_entropy(values: Floats) -> float:
    shares = values[values > 0] / values.sum()
    return math.exp(-float((shares * np.log(shares)).sum()))
