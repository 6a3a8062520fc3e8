"""A Gaussian process."""

from collections.abc import Sequence

from optuna.samplers import BaseSampler, GPSampler
from optuna.trial import FrozenTrial, TrialState

from salt_tune.searchers.observation import Observation
from salt_tune.searchers.surrogate import Surrogate


class Gp(Surrogate):
    """A Gaussian process, asked for the largest log expected improvement; loads torch.

    It is shown scores of one rung: the deepest that max(4, parameters + 1) trials came to. Lost trials have the worst
    score there, running ones are integrated over. Parameters that are not set in all trials are drawn.
    """

    ranks_by_cost = False

    def _sampler(self, seed: int) -> BaseSampler:
        return GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)

    def _shown(self, observations: Sequence[Observation]) -> list[FrozenTrial] | None:
        if (rung := self._rung(observations)) is None:
            return None
        reached = [self._scored(trial, rung) for trial in observations]
        worst = [max(column) for column in zip(*(values for values in reached if values), strict=True)]
        shown: list[FrozenTrial] = []
        for trial, values in zip(observations, reached, strict=True):
            if trial.lost:
                shown += self._show(trial, TrialState.COMPLETE, worst)
            elif values:
                shown += self._show(trial, TrialState.COMPLETE, values)
            elif trial.silent and not trial.ended:
                shown += self._show(trial, TrialState.RUNNING)
        return shown
