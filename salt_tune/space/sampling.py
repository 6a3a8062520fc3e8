"""From numbers between 0 and 1 to the values of parameters."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Units = npt.NDArray[np.float64]


def value_at(distribution: BaseDistribution, unit: float) -> Any:
    """Returns the value at a place between 0 and 1 on the scale of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(unit * len(distribution.choices)), len(distribution.choices) - 1)]
    low, high = distribution.low, distribution.high
    if isinstance(distribution, IntDistribution):
        if distribution.log:  # every whole number has the share of the scale that rounds to it
            return min(high, max(low, round((low - 0.5) * ((high + 0.5) / (low - 0.5)) ** unit)))
        count = (high - low) // distribution.step + 1
        return low + distribution.step * min(int(unit * count), count - 1)
    if unit in (0, 1):
        return high if unit else low
    if distribution.log:
        low_log, high_log = math.log(low), math.log(high)
        return min(high, max(low, math.exp(low_log + unit * (high_log - low_log))))
    return min(high, low + unit * (high - low))


def fits(distribution: BaseDistribution, value: Any) -> bool:
    """Returns whether a value is one that the distribution could have given."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not distribution.low <= value <= distribution.high:
        return False
    return isinstance(distribution, FloatDistribution) or (value - distribution.low) % distribution.step == 0
