"""A grid of some values of each parameter."""

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from salt_tune.searchers.base import MOST_REDRAWS, Searcher
from salt_tune.space.conditions import Conditions, Values
from salt_tune.space.parameters import MOST_VALUES, Choice, Parameter, Range
from salt_tune.space.sampling import Units, value_at

MOST_LISTED = 1 << 14  # points of a grid that are kept in memory


class Grid(Searcher):
    """Goes through the `Points` of a grid to its end, in an order of the seed's; draws from a very long one."""

    _passed = 0  # points of the grid that are known, from its beginning

    def candidates(self, number: int) -> Iterator[Values]:
        """See `Searcher.candidates`."""
        points = self._grid.points
        if points is None:
            for redraw in range(MOST_REDRAWS):
                units = self.units(number, redraw)
                yield self.at(units, self._grid.draw(units))
            return
        while self._passed < len(points):
            yield points[self._passed]  # where it is known, the next one is asked for
            self._passed += 1

    def everything(self) -> Iterable[Values] | None:
        """See `Searcher.everything`: the points of the grid."""
        return self._grid.points

    @cached_property
    def _grid(self) -> "Points":
        return Points(self._conditions, self._count, self._seed)


class Points:
    """All combinations of some values of each parameter.

    Whole numbers and choices have all their values, unless a whole number has more than `MOST_VALUES`. It and ranges
    have evenly spaced ones on their scale, ends included: the fewest with which the grid has `trials` points.

    Args:
        conditions: the parameters, and where they are set.
        trials: points that there should be at least.
        seed: of their order.

    Attributes:
        points: all of them, shuffled; None where there are more than `MOST_LISTED`.
    """

    def __init__(self, conditions: Conditions, trials: int, seed: int) -> None:
        def first(number: int, count: int) -> list[Values]:
            """Returns so many points of the grid with `count` values of each range."""
            self._values = {name: _some_values(each, count) for name, each in conditions.parameters.items()}
            return list(itertools.islice(conditions.walk(self._values.__getitem__, {}), number))

        counts = range(2, max(2, trials) + 1)
        fewest = bisect_left(counts[:-1], trials, key=lambda count: len(first(trials, count)))
        points = first(MOST_LISTED + 1, counts[fewest])
        order = np.random.default_rng(seed).permutation(len(points))
        self.points = [points[place] for place in order] if len(points) <= MOST_LISTED else None

    def draw(self, units: Units) -> Values:
        """Draws a point of the grid: of each parameter, set or not, the value at a place between 0 and 1."""
        pairs = zip(self._values.items(), units, strict=True)
        return {name: values[int(unit * len(values))] for (name, values), unit in pairs}


def _is_spaced(parameter: Parameter) -> bool:
    if isinstance(parameter, Choice):
        return False
    return isinstance(parameter, Range) or len(parameter.every_value()) > MOST_VALUES


def _some_values(parameter: Parameter, count: int) -> list[Any]:
    if not _is_spaced(parameter):
        return [*parameter.corners()]
    places = (number / (count - 1) for number in range(count))
    return [*dict.fromkeys(value_at(parameter.distribution(), place) for place in places)]
