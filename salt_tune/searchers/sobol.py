"""A scrambled Sobol sequence."""

from collections.abc import Iterator
from functools import cached_property

from salt_tune.searchers.base import MOST_REDRAWS, Searcher
from salt_tune.space.conditions import Values
from salt_tune.space.sampling import Units

BLOCK = 1024  # points that are computed at a time


class Sobol(Searcher):
    """Follows Owen's scrambled Sobol sequence (1998), a dimension a parameter."""

    def candidates(self, number: int) -> Iterator[Values]:
        """See `Searcher.candidates`; the points to start from take no place in the sequence."""
        first = max(0, number - len(self._points))
        for place in range(first, first + MOST_REDRAWS):
            yield self.at(self._sequence[place], {})
        yield from self.samples(number, {})

    @cached_property
    def _sequence(self) -> "Sequence":
        return Sequence(len(self._parameters), self._seed)


class Sequence:
    """The sequence.

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
            self._points.extend(self._engine.random(BLOCK))
        return self._points[number]
