"""From numbers between 0 and 1 to the values of parameters: single ones, a scrambled Sobol sequence, a grid."""

import itertools
import math
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from salt_tune.space.conditions import Active, Values, combinations
from salt_tune.space.parameters import MOST_VALUES, Choice, Parameter, Range

Units = npt.NDArray[np.float64]

SOBOL_BLOCK = 1024
MOST_LISTED = 1 << 14  # points of a grid that are kept in memory


def value_at(distribution: BaseDistribution, unit: float) -> Any:
    """The value at a place between 0 and 1 on the scale of a distribution."""
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
    """Whether a value is one that the distribution could have given."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not distribution.low <= value <= distribution.high:
        return False
    return isinstance(distribution, FloatDistribution) or (value - distribution.low) % distribution.step == 0


class Sobol:
    """Owen's scrambled Sobol sequence (1998), a dimension a parameter.

    Args:
        dimensions: at least 1.
        seed: of the scrambling.
    """

    def __init__(self, dimensions: int, seed: int) -> None:
        from scipy.stats import qmc  # takes a second

        self._engine = qmc.Sobol(dimensions, scramble=True, rng=seed)
        self._points: list[Units] = []

    def __getitem__(self, number: int) -> Units:
        while number >= len(self._points):
            self._points.extend(self._engine.random(SOBOL_BLOCK))
        return self._points[number]


class Grid:
    """All combinations of some values of each parameter.

    Whole numbers and choices have all their values, unless a whole number has more than `MOST_VALUES`; it and ranges
    have evenly spaced ones on their scale, ends included: the fewest with which the grid has `trials` points.

    Args:
        parameters: by name, each after those that its condition names.
        active: whether a parameter is set, by its name and the values of those before it.
        trials: points that there should be at least.
        seed: of their order.

    Attributes:
        points: all of them, shuffled; None where there are more than `MOST_LISTED`.
    """

    def __init__(self, parameters: Mapping[str, Parameter], active: Active, trials: int, seed: int) -> None:
        def first(number: int, count: int) -> list[Values]:
            """So many points of the grid with `count` values of each range."""
            self._values = {name: _some_values(parameter, count) for name, parameter in parameters.items()}
            return list(itertools.islice(combinations(self._values, active, {}), number))

        counts = range(2, max(2, trials) + 1)
        fewest = bisect_left(counts[:-1], trials, key=lambda count: len(first(trials, count)))
        points = first(MOST_LISTED + 1, counts[fewest])
        order = np.random.default_rng(seed).permutation(len(points))
        self.points = [points[place] for place in order] if len(points) <= MOST_LISTED else None

    def draw(self, units: Units) -> Values:
        """A point of the grid: of each parameter, the value at a place between 0 and 1, whether it is set or not."""
        pairs = zip(self._values.items(), units, strict=True)
        return {name: values[int(unit * len(values))] for (name, values), unit in pairs}


def _is_spaced(parameter: Parameter) -> bool:
    if isinstance(parameter, Choice):
        return False
    return isinstance(parameter, Range) or len(range(parameter.low, parameter.high + 1, parameter.step)) > MOST_VALUES


def _some_values(parameter: Parameter, count: int) -> list[Any]:
    if not _is_spaced(parameter):
        return [*parameter.corners()]
    places = (number / (count - 1) for number in range(count))
    return [*dict.fromkeys(value_at(parameter.distribution(), place) for place in places)]
