"""Schedules as functions of the share of the run, so that the same schedule stretches over 3 epochs or 20."""

import math

from trainable.config import TrialConfig


def learning_rate(config: TrialConfig, share: float) -> float:
    """Computes a linear warm-up from 0 to `lr` over the share `warmup`, then a cosine down to the floor.

    Args:
        config: `lr`, `floor_lr` and `warmup` are used.
        share: share of the run, 0 at its start and 1 at its end.
    """
    if share < config.warmup:
        return config.lr * share / config.warmup
    return cosine(config.lr, config.floor_lr, (share - config.warmup) / (1 - config.warmup))


def weight_decay(config: TrialConfig, share: float) -> float:
    """Computes a cosine from `weight_decay` to `weight_decay_end` over the whole run."""
    return cosine(config.weight_decay, config.weight_decay_end, share)


def cosine(start: float, end: float, share: float) -> float:
    """Computes half a cosine from `start` at share 0 to `end` at share 1 (and beyond)."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
