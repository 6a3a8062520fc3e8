"""Random search (Bergstra and Bengio, 2012)."""

from collections.abc import Iterator

from salt_tune.searchers.base import Searcher
from salt_tune.space.conditions import Values


class Random(Searcher):
    """Draws uniformly on each parameter's scale."""

    def candidates(self, number: int) -> Iterator[Values]:
        """See `Searcher.candidates`."""
        return self.samples(number, {})
