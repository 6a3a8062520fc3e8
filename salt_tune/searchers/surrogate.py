"""What models of the scores have in common: how long they draw, what they are shown of a search, how they are asked.

A trial that paused at a rung teaches as well as one that was trained to its end. But a score after little training must
not stand beside one after much. So each model is shown trials in a way of its own.
"""

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from salt_tune.searchers.base import Searcher
from salt_tune.searchers.observation import Observation
from salt_tune.space.conditions import Conditions, Values
from salt_tune.space.sampling import fits

MOST_ASKS = 5  # of a model that suggests what is known already, before a draw takes its place
STARTUP = 10
FEWEST_AT_RUNG = 4


class Surrogate(Searcher):
    """Suggests what one of Optuna's models proposes.

    It draws until 10 trials have reported (Optuna's default), or a third of `trials` where that is less. Of a small
    search most would be drawn otherwise. A third is what BOHB (Falkner et al., 2018) draws at random all along.
    """

    def __init__(self, conditions: Conditions, **options: Any) -> None:
        super().__init__(conditions, **options)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._startup = max(1, min(STARTUP, self._count // 3))

    @abstractmethod
    def _sampler(self, seed: int) -> BaseSampler:
        """Makes the model, for one suggestion."""

    @abstractmethod
    def _shown(self, observations: Sequence[Observation]) -> list[FrozenTrial] | None:
        """Returns what the model is shown of all trials, in order; None where there is too little to learn from."""

    def candidates(self, number: int) -> Iterator[Values]:
        """See `Searcher.candidates`."""
        observations = self.observations
        if sum(not observation.silent for observation in observations) >= self._startup:
            yield from self._proposed(number, self._shown(observations))
        yield from self.samples(number, {})

    def _proposed(self, number: int, shown: Sequence[FrozenTrial] | None) -> Iterator[Values]:
        for redraw in range(0 if shown is None else MOST_ASKS):
            seed = int(np.random.SeedSequence([self._seed, number, redraw]).generate_state(1)[0])
            yield self._ask(shown or (), seed)

    def _ask(self, shown: Sequence[FrozenTrial], seed: int) -> Values:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = self._sampler(seed)
        study = optuna.create_study(directions=["minimize"] * self._objectives, sampler=sampler)
        study.add_trials(shown)
        trial = study.ask()
        return self._conditions.fill({}, lambda name: _suggest(trial, name, self._distributions[name]))

    def _rung(self, observations: Sequence[Observation]) -> float | None:
        """Returns the deepest rung that enough trials have a score at."""
        fewest = max(FEWEST_AT_RUNG, len(self._distributions) + 1)
        for rung in sorted({rung for trial in observations for rung in trial.scores}, reverse=True):
            if sum(self._scored(trial, rung) is not None for trial in observations) >= fewest:
                return rung
        return None

    def _scored(self, trial: Observation, rung: float) -> list[float] | None:
        """Returns the objectives of a trial at a rung; None where it has not come there, or is lost."""
        if trial.lost or rung not in trial.scores or self._params(trial) is None:
            return None
        if self._objectives == 1:
            return [trial.scores[rung]]
        return None if trial.cost is None else [trial.scores[rung], trial.cost]

    def _params(self, trial: Observation) -> Mapping[str, Any] | None:
        """Returns its values as Optuna may see them; None where one lies out of range, as of a point to start from."""
        params = {name: value for name, value in trial.values.items() if name in self._distributions}
        return params if all(fits(self._distributions[name], value) for name, value in params.items()) else None

    def _show(
        self,
        trial: Observation,
        state: TrialState,
        values: list[float] | None = None,
        reached: dict[int, float] | None = None,
    ) -> list[FrozenTrial]:
        """Returns a trial as the model sees it, in a list of one; none where it may not see it."""
        params = self._params(trial)
        if params is None:
            return []
        shown = create_trial(
            state=state,
            values=values,
            params=dict(params),
            distributions={name: self._distributions[name] for name in params},
            intermediate_values=reached,
        )
        return [shown]


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
