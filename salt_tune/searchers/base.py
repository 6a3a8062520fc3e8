"""The interface of a searcher: it suggests the values of the next trial.

Nothing here has a state that cannot be told again. The n-th suggestion is a function of the parameters, the searcher,
the seed, n, and what had been reported by then, in order. So a search that was killed suggests as if it had not been.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.run_directory.trials import Trial, TrialState
from salt_tune.searchers.observation import Observation
from salt_tune.space.conditions import Conditions, Values
from salt_tune.space.sampling import Units, value_at

MOST_REDRAWS = 1000
TRIALS = 30  # of a search whose length is not known


class Searcher(ABC):
    """Suggests configurations, none of them twice.

    The points to start from come first. A class says which configurations follow, in `candidates`, and what a search
    space needs to know of it.

    Args:
        conditions: the parameters, where they are set, and what the hyperparameters are that a configuration does not
            set; so two may be found to be the same.
        seed: of all draws, at least 0.
        start_from: points to suggest first; what a point leaves out is drawn.
        trials: how many there will be, about.
        objectives: 1, or 2 with a cost that is to be low as well.

    Attributes:
        ranks_by_cost: whether it may serve a search that ranks by two numbers.
        from_start: whether what it suggested last is a point to start from.
    """

    ranks_by_cost = True
    from_start = False

    def __init__(
        self,
        conditions: Conditions,
        *,
        seed: int,
        start_from: Sequence[Mapping[str, Any]] = (),
        trials: int = TRIALS,
        objectives: int = 1,
    ) -> None:
        self._conditions = conditions
        self._parameters = conditions.parameters
        self._distributions = {name: parameter.distribution() for name, parameter in self._parameters.items()}
        self._seed = seed
        self._count = trials
        self._objectives = objectives
        self._names = tuple(dict.fromkeys([*self._parameters, *itertools.chain(*start_from)]))
        self._points = self._distinct(start_from)
        self._earlier: list[Observation] = []
        self._trials: dict[str, Observation] = {}
        self._known: set[Hashable] = set()
        self._changes = 0
        self._asked: tuple[str | None, int] = (None, 0)  # the last question, and how much had changed by then
        self._answer: Values | None = None

    @abstractmethod
    def candidates(self, number: int) -> Iterator[Values]:
        """Yields configurations for the trial of this number, best first; the base passes over those that are known.

        Asked only where there are parameters, and after the points to start from.

        Args:
            number: how many trials have been suggested before.
        """

    def everything(self) -> Iterable[Values] | None:
        """Returns all that can be suggested beside the points; None where that has no end."""
        return self._conditions.configurations({}) if self._conditions.finite else None

    def suggest(self, trial: str) -> Values | None:
        """Suggests the values of the next trial, which counts as running from then on.

        Asked again before that trial has reported, it answers the same, or anew where others have reported since.

        Args:
            trial: its id.

        Returns:
            The parameters that are set; None where there is nothing left that has not been tried.
        """
        last, changes = self._asked
        if last == trial and changes == self._changes:
            return self._answer and dict(self._answer)
        if last == trial and (withdrawn := self._trials.pop(trial, None)):
            self._known.discard(self._key(withdrawn.values))
        self._answer, self.from_start = next(self._new(len(self._trials)), (None, False))
        if self._answer is not None:
            self.on_trial_add(trial, self._answer)
        self._asked = (trial, self._changes)
        return self._answer and dict(self._answer)

    def left(self, most: int) -> int:
        """Counts how many configurations have not been tried yet, up to `most`."""
        everything = self.everything() if self._parameters else ()
        if everything is None:
            return most
        found: set[Hashable] = set()
        for values in everything:
            if len(found) >= most:
                break
            if (key := self._key(values)) not in self._known:
                found.add(key)
        for point in self._points[len(self._trials) :]:  # each is suggested once, whatever it leaves open
            keys = map(self._key, self._conditions.configurations(point))
            new = next((key for key in keys if key not in self._known and key not in found), None)
            if len(found) < most and new is not None:
                found.add(new)
        return len(found)

    def on_trial_add(self, trial: str, values: Mapping[str, Any]) -> None:
        """Is told that a trial with these values runs; told again, as of a suggestion or on resume, nothing changes."""
        if trial not in self._trials:
            self._trials[trial] = Observation(dict(values))
            self._known.add(self._key(values))
            self._changes += 1

    def on_trial_result(self, trial: str, rung: float, score: float, cost: float | None = None) -> None:
        """Is told that a trial has come to a rung.

        Args:
            trial: its id; of trials that were not suggested, such as replicates, no notice is taken.
            rung: the resource there.
            score: lower is better; infinite where it is lost.
            cost: the second objective, lower is better.
        """
        if observation := self._trials.get(trial):
            observation.add(rung, score)
            observation.cost = observation.cost if cost is None else cost
            self._changes += 1

    def on_trial_complete(self, trial: str, state: TrialState, score: float) -> None:
        """Is told that a trial has ended.

        Args:
            trial: its id, see `on_trial_result`.
            state: how it ended.
            score: lower is better.
        """
        if observation := self._trials.get(trial):
            observation.end(state, score)
            self._changes += 1

    def warm_start(self, trials: Sequence[Trial]) -> None:
        """Learns from trials of another search: they are not suggested again, and do not count as trials of this one.

        Args:
            trials: those trials; to be told before the first suggestion.
        """
        for trial in trials:
            observation = Observation(dict(trial.parameters))
            for rung, score in trial.scores.items():
                observation.add(rung, score)
            observation.end(trial.state, trial.scores[max(trial.scores)] if trial.scores else None)
            self._earlier.append(observation)
            self._known.add(self._key(trial.parameters))
        self._changes += 1

    def samples(self, number: int, point: Mapping[str, Any]) -> Iterator[Values]:
        """Yields `point`, with what it leaves out drawn again and again; for the trial of this number.

        Each parameter is drawn uniformly on its scale.
        """
        for redraw in range(MOST_REDRAWS):
            yield self.at(self.units(number, redraw), point)
            if point.keys() >= self._parameters.keys():
                return

    def units(self, number: int, redraw: int) -> Units:
        """Returns a draw of a place between 0 and 1 for each parameter: shape (parameters,)."""
        return np.random.default_rng([self._seed, number, redraw]).random(len(self._parameters))

    def at(self, units: Units, point: Mapping[str, Any]) -> Values:
        """Returns `point`, with what it leaves out at these places between 0 and 1: shape (parameters,)."""
        places = dict(zip(self._parameters, units.tolist(), strict=True))
        return self._conditions.fill(point, lambda name: value_at(self._distributions[name], places[name]))

    @property
    def observations(self) -> list[Observation]:
        """What is known of all trials, earlier searches' first."""
        return [*self._earlier, *self._trials.values()]

    def _new(self, number: int) -> Iterator[tuple[Values, bool]]:
        """Yields new configurations for the trial of this number, best first, each with whether it is a start point."""
        point = self.samples(number, self._points[number]) if number < len(self._points) else ()
        yield from ((values, True) for values in point if self._key(values) not in self._known)
        if self._parameters:
            # Candidates may miss the last ones.
            others = itertools.chain(self.candidates(number), self.everything() or ())
            yield from ((values, False) for values in others if self._key(values) not in self._known)

    def _key(self, values: Mapping[str, Any]) -> Hashable:
        """Returns what two trials share exactly where their configurations are the same."""
        return tuple(values.get(name, self._conditions.constants.get(name)) for name in self._names)

    def _distinct(self, points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Drops the points that repeat another one wholly; what leaves something to be drawn may come twice."""
        distinct: dict[Any, Mapping[str, Any]] = {}
        for number, point in enumerate(points):
            drawn: list[str] = []
            values = self._conditions.fill(point, drawn.append)
            distinct.setdefault(number if drawn else self._key(values), point)
        return [*distinct.values()]
