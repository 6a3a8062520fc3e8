"""Schedules of learning rate and weight decay: functions of the step.

Another one is an `LrSchedule` like these and a line in `trainable.registry`; so is another shape of the cooldown.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from trainable.config import TrialConfig
from trainable.registry import COOLDOWNS


class Rates(NamedTuple):
    """What an optimiser step is made with."""

    learning_rate: float
    weight_decay: float


@dataclass(frozen=True)
class LrSchedule:
    """A schedule, which is called as its function.

    Attributes:
        rates: of the configuration, the step and the steps of the run.
        warmup: the steps that its warm-up takes, of the configuration and the steps of the run.
        trunk_steps: of the configuration and the steps of the run: the first steps, on which the length of the run has
            no influence. Up to there a run is the beginning of any longer one. None: no step is like that.
    """

    rates: Callable[[TrialConfig, int, int], Rates]
    warmup: Callable[[TrialConfig, int], float]
    trunk_steps: Callable[[TrialConfig, int], int] | None = None

    def __call__(self, config: TrialConfig, step: int, total_steps: int) -> Rates:
        """Returns what the optimiser step is made with."""
        return self.rates(config, step, total_steps)


def cosine(config: TrialConfig, step: int, total_steps: int) -> Rates:
    """Stretches over the run: a linear warm-up from 0 to `lr`, then half a cosine down to `floor_lr`.

    Weight decay follows half a cosine from `weight_decay` to `weight_decay_end` over the whole run.

    Args:
        config: the hyperparameters.
        step: the optimiser step, 1 is the first; 0 is before it.
        total_steps: of the run.
    """
    share = step / total_steps
    warmup = config.warmup if config.warmup_steps is None else config.warmup_steps / total_steps
    if share < warmup:
        rate = config.lr * share / warmup
    else:
        rate = _half_cosine(config.lr, config.floor_lr, (share - warmup) / (1 - warmup) if warmup < 1 else 0.0)
    return Rates(rate, _half_cosine(config.weight_decay, config.weight_decay_end, share))


def wsd(config: TrialConfig, step: int, total_steps: int) -> Rates:
    """Warms up, stays and decays: a linear warm-up from 0 to `lr`, a constant rate, and a cooldown at the end.

    After MiniCPM (Hu et al., 2024) and V-JEPA 2. The warm-up takes `warmup_steps`, or 2 / (1 - `beta2`) steps where
    none are given. AdamW's second moments are settled then (Ma and Yarats, 2021, "On the adequacy of untuned warmup for
    adaptive optimization"). The cooldown takes the last share `cooldown` of the steps. Weight decay is constant.

    Args:
        config: the hyperparameters.
        step: the optimiser step, 1 is the first; 0 is before it.
        total_steps: of the run; decides where the cooldown begins, and nothing before.
    """
    warmup = wsd_warmup(config, total_steps)
    rate = config.lr * min(1.0, step / warmup) if warmup else config.lr
    cooling = total_steps - wsd_trunk(config, total_steps)
    cooled = step - (total_steps - cooling)
    if cooling and cooled > 0:
        rate *= COOLDOWNS[config.cooldown_shape](cooled / (cooling + 1))
    return Rates(rate, config.weight_decay)


def wsd_trunk(config: TrialConfig, total_steps: int) -> int:
    """Returns the steps before the cooldown."""
    return total_steps - round(config.cooldown * total_steps)


def linear(share: float) -> float:
    """Returns the part of the rate that is left after a share of the cooldown, in a straight line."""
    return 1 - share


def sqrt(share: float) -> float:
    """Returns the part of the rate that is left, falling fast at first (Hägele et al., 2024)."""
    return 1 - math.sqrt(share)


def cosine_warmup(config: TrialConfig, total_steps: int) -> float:
    """Returns `warmup_steps`, or the share `warmup` of the run where none are given."""
    return config.warmup * total_steps if config.warmup_steps is None else config.warmup_steps


def wsd_warmup(config: TrialConfig, total_steps: int) -> float:  # noqa: ARG001
    """Returns `warmup_steps`, or those that AdamW takes to settle where none are given, see `wsd`."""
    return round(2 / (1 - config.beta2)) if config.warmup_steps is None else config.warmup_steps


def _half_cosine(start: float, end: float, share: float) -> float:
    """Computes half a cosine from `start` at share 0 to `end` at share 1 (and beyond)."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


COSINE: Final = LrSchedule(cosine, cosine_warmup)
WSD: Final = LrSchedule(wsd, wsd_warmup, wsd_trunk)
