"""Where the configurations of a replay come from: an order that all methods share, or the product's searcher."""

from collections.abc import Sequence

import numpy as np

from analysis.run_directory.trials import TrialState
from benchmarks.replay.curves import Pool
from salt_tune.registry import SEARCHERS
from salt_tune.space.conditions import Conditions
from salt_tune.space.parameters import Range


class InOrder:
    """Gives the same configurations in the same order to every method.

    Args:
        order: indices in the pool.
    """

    def __init__(self, order: Sequence[int]) -> None:
        self._order = iter(order)

    def start(self, trial: str) -> int:  # noqa: ARG002
        """See `clock.Suggestions`."""
        return next(self._order)

    def report(self, trial: str, rung: float, score: float) -> None:
        """See `clock.Suggestions`."""

    def end(self, trial: str, state: TrialState, score: float) -> None:
        """See `clock.Suggestions`."""


class Learned:
    """The product's searcher; its suggestions are mapped to the nearest configuration that is not used yet.

    Each hyperparameter is searched on the scale of its ranks in the pool, from 0 to 1. For values that were drawn
    uniformly in the logarithm, that is the logarithm. The searcher learns from the configuration that was trained.

    Args:
        searcher: its name.
        pool: the configurations.
        trials: how many there will be.
        seed: of the searcher.
    """

    def __init__(self, searcher: str, pool: Pool, trials: int, seed: int) -> None:
        if pool.units is None:
            raise ValueError(f"{pool.task}: searcher {searcher} needs the hyperparameters of its configurations")
        self._units = pool.units.copy()
        self._names = [f"x{number}" for number in range(self._units.shape[1])]
        parameters = {name: Range(type="uniform", low=0, high=1) for name in self._names}
        self._searcher = SEARCHERS[searcher](Conditions(parameters), seed=seed, trials=trials)

    def start(self, trial: str) -> int:
        """See `clock.Suggestions`."""
        suggested = self._searcher.suggest(trial)
        assert suggested is not None
        point = np.array([suggested[name] for name in self._names])
        nearest = int(np.argmin(((self._units - point) ** 2).sum(1)))
        unit = self._units[nearest].tolist()
        self._units[nearest] = np.inf
        self._searcher.on_trial_add(trial, dict(zip(self._names, unit, strict=True)))
        return nearest

    def report(self, trial: str, rung: float, score: float) -> None:
        """See `clock.Suggestions`."""
        self._searcher.on_trial_result(trial, rung, score)

    def end(self, trial: str, state: TrialState, score: float) -> None:
        """See `clock.Suggestions`."""
        self._searcher.on_trial_complete(trial, state, score)
