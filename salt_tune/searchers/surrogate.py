"""What Optuna's models are shown of a search, and what they propose.

A trial that paused at a rung teaches as well as one that was trained to its end, but a loss after little training must
not stand beside one after much. So each model is shown trials in a way of its own, see `Surrogate`.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from salt_tune.space.sampling import fits

Model = Literal["tpe", "gp"]

FINISHED = math.inf  # the rung of a trial that was trained to its end
FEWEST_AT_RUNG = 4


@dataclass
class Told:
    """What is known of a trial.

    Attributes:
        values: its parameters.
        scores: at each rung that it came to, lower is better.
        cost: the second objective, lower is better.
        lost: it diverged, failed, or has a score that is not finite.
        ended: it will not report again.
    """

    values: dict[str, Any]
    scores: dict[float, float] = field(default_factory=dict)
    cost: float | None = None
    lost: bool = False
    ended: bool = False

    @property
    def silent(self) -> bool:
        """Whether nothing is known of it yet."""
        return not self.scores and not self.lost

    def add(self, rung: float, score: float) -> None:
        """It has come to a rung."""
        if math.isfinite(score):
            self.scores[rung] = score
        else:
            self.lost = True


class Surrogate:
    """A model of the scores, by Optuna.

    TPE (Bergstra et al., 2011; with joint densities: Falkner et al., 2018) only asks which trials are the best. It is
    shown all: finished ones first, then by the deepest rung they came to, then by score there. Lost ones are the worst;
    running ones count as bad as long as nothing is known of them, so that their neighbours are not tried at the same
    time. Of conditional parameters, those that are set together are modelled together.

    GP (a Gaussian process, log expected improvement) is shown scores of one rung: the deepest that
    max(4, parameters + 1) trials came to. Lost trials have the worst score there, running ones are integrated over.
    Parameters that are not set in all trials are drawn. Loads torch.

    With two objectives there is no order of rungs, and TPE is shown one rung too; who has not come there counts as
    running.

    Args:
        model: which of them.
        distributions: of the parameters.
        conditional: whether some parameters are not set in all trials.
        objectives: 1 or 2.
    """

    def __init__(
        self, model: Model, distributions: Mapping[str, BaseDistribution], *, conditional: bool, objectives: int
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._model = model
        self._distributions = distributions
        self._conditional = conditional
        self._objectives = objectives

    def ready(self, told: Sequence[Told]) -> bool:
        """Whether there is enough to learn from."""
        return any(not trial.silent for trial in told) if self._sorts else self._rung(told) is not None

    def ask(self, told: Sequence[Told], seed: int) -> Callable[[str], Any]:
        """Starts a proposal.

        Args:
            told: all trials so far, in order.
            seed: of the proposal's draws.

        Returns:
            The value of each parameter, by name; to be asked in the order of the parameters, for those that are set.
        """
        study = optuna.create_study(directions=["minimize"] * self._objectives, sampler=self._sampler(seed))
        study.add_trials(self._sorted(told) if self._sorts else self._at_one_rung(told))
        trial = study.ask()
        return lambda name: _suggest(trial, name, self._distributions[name])

    def _sampler(self, seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._model == "gp":
                return GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)
            return TPESampler(
                seed=seed, n_startup_trials=1, multivariate=True, group=self._conditional, constant_liar=True
            )

    @property
    def _sorts(self) -> bool:
        return self._model == "tpe" and self._objectives == 1

    def _sorted(self, told: Sequence[Told]) -> list[FrozenTrial]:
        """All trials, as TPE sorts them: complete by value, pruned by step and value, then those without a value."""
        steps = {rung: step for step, rung in enumerate(sorted({rung for trial in told for rung in trial.scores}))}
        shown: list[FrozenTrial | None] = []
        for trial in told:
            if trial.lost:
                shown.append(self._show(trial, TrialState.PRUNED))
            elif FINISHED in trial.scores:
                shown.append(self._show(trial, TrialState.COMPLETE, [trial.scores[FINISHED]]))
            elif trial.scores:
                rung = max(trial.scores)
                shown.append(self._show(trial, TrialState.PRUNED, reached={steps[rung]: trial.scores[rung]}))
            elif not trial.ended:
                shown.append(self._show(trial, TrialState.RUNNING))
        return [trial for trial in shown if trial is not None]

    def _at_one_rung(self, told: Sequence[Told]) -> list[FrozenTrial]:
        """The trials that came to the one rung with their scores there, and what the model takes the others for."""
        rung = self._rung(told)
        reached = [self._scored(trial, rung) for trial in told]
        worst = [max(column) for column in zip(*(values for values in reached if values), strict=True)]
        shown: list[FrozenTrial | None] = []
        for trial, values in zip(told, reached, strict=True):
            if trial.lost:
                lost = TrialState.PRUNED if self._model == "tpe" else TrialState.COMPLETE
                shown.append(self._show(trial, lost, None if self._model == "tpe" else worst))
            elif values:
                shown.append(self._show(trial, TrialState.COMPLETE, values))
            elif (trial.silent and not trial.ended) or (self._model == "tpe" and trial.cost is not None):
                shown.append(self._show(trial, TrialState.RUNNING))
        return [trial for trial in shown if trial is not None]

    def _rung(self, told: Sequence[Told]) -> float | None:
        """The deepest rung that enough trials have a score at."""
        fewest = max(FEWEST_AT_RUNG, len(self._distributions) + 1)
        for rung in sorted({rung for trial in told for rung in trial.scores}, reverse=True):
            if sum(self._scored(trial, rung) is not None for trial in told) >= fewest:
                return rung
        return None

    def _scored(self, trial: Told, rung: float | None) -> list[float] | None:
        """The objectives of a trial at a rung; None where it has not come there, or is lost."""
        if trial.lost or rung not in trial.scores or self._params(trial) is None:
            return None
        if self._objectives == 1:
            return [trial.scores[rung]]
        return None if trial.cost is None else [trial.scores[rung], trial.cost]

    def _params(self, trial: Told) -> dict[str, Any] | None:
        """Its values as Optuna may see them; None where one lies outside its range, as of a point to start from."""
        params = {name: value for name, value in trial.values.items() if name in self._distributions}
        return params if all(fits(self._distributions[name], value) for name, value in params.items()) else None

    def _show(
        self,
        trial: Told,
        state: TrialState,
        values: list[float] | None = None,
        reached: dict[int, float] | None = None,
    ) -> FrozenTrial | None:
        params = self._params(trial)
        if params is None:
            return None
        return create_trial(
            state=state,
            values=values,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            intermediate_values=reached,
        )


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
