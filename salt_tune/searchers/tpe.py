"""The Tree-structured Parzen Estimator."""

import math
from collections.abc import Sequence

from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from salt_tune.searchers.observation import Observation
from salt_tune.searchers.surrogate import Surrogate


class Tpe(Surrogate):
    """TPE (Bergstra et al., 2011; with joint densities: Falkner et al., 2018); it only asks what trials are the best.

    It is shown all: complete ones first, then by the deepest rung they came to, then by score there. Lost ones are the
    worst. Running ones count as bad as long as nothing is known of them, so that their neighbours are not tried at the
    same time. Of conditional parameters, those that are set together are modelled together.

    With two objectives there is no order of rungs. It is then shown one: the deepest that max(4, parameters + 1) trials
    came to; one that has not come there counts as running.
    """

    def _sampler(self, seed: int) -> BaseSampler:
        conditional = any(parameter.when for parameter in self._parameters.values())
        return TPESampler(seed=seed, n_startup_trials=1, multivariate=True, group=conditional, constant_liar=True)

    def _shown(self, observations: Sequence[Observation]) -> list[FrozenTrial] | None:
        return self._sorted(observations) if self._objectives == 1 else self._at_one_rung(observations)

    def _sorted(self, observations: Sequence[Observation]) -> list[FrozenTrial]:
        """Sorts all trials as TPE does: complete by value, pruned by step and value, then those without a value."""
        rungs = sorted({rung for trial in observations for rung in trial.scores})
        steps = {rung: step for step, rung in enumerate(rungs)}
        shown: list[FrozenTrial] = []
        for trial in observations:
            if trial.lost:
                shown += self._show(trial, TrialState.PRUNED)
            elif trial.complete:
                shown += self._show(trial, TrialState.COMPLETE, [trial.scores[math.inf]])
            elif trial.scores:
                rung = max(trial.scores)
                shown += self._show(trial, TrialState.PRUNED, reached={steps[rung]: trial.scores[rung]})
            elif not trial.ended:
                shown += self._show(trial, TrialState.RUNNING)
        return shown

    def _at_one_rung(self, observations: Sequence[Observation]) -> list[FrozenTrial] | None:
        if (rung := self._rung(observations)) is None:
            return None
        shown: list[FrozenTrial] = []
        for trial in observations:
            if trial.lost:
                shown += self._show(trial, TrialState.PRUNED)
            elif values := self._scored(trial, rung):
                shown += self._show(trial, TrialState.COMPLETE, values)
            elif trial.cost is not None or (trial.silent and not trial.ended):
                shown += self._show(trial, TrialState.RUNNING)
        return shown
