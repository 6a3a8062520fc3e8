"""Who proposes the next configuration: at random, on a grid, along a Sobol sequence, or from what was learnt so far.

Nothing here has a state that cannot be told again: the n-th proposal is a function of the parameters, the method, the
seed, n, and what had been reported by then, in order. So a search that was killed proposes as if it had not been.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np

from analysis.run_directory.trials import Trial, TrialState
from salt_tune.searchers.surrogate import FINISHED, Model, Surrogate, Told
from salt_tune.searchers.untried import count_untried, has_end, left_open
from salt_tune.space.conditions import Active, Values, always
from salt_tune.space.parameters import Parameter
from salt_tune.space.sampling import Grid, Sobol, Units, value_at
from salt_tune.space.search_space import SearchSpace

Method = Literal["random", "grid", "sobol", "tpe", "gp"]

MOST_REDRAWS = 1000
MOST_ASKS = 5  # of a model that proposes what is known already, before a draw takes its place
STARTUP = 10


def make_searcher(space: SearchSpace, seed: int) -> "Searcher":
    """The searcher that `space` asks for."""
    names = (*space.parameters, *itertools.chain(*space.start_from))
    return Searcher(
        space.searcher,
        space.parameters,
        seed=seed,
        start_from=space.start_from,
        active=space.applies,
        defaults={name: space.constant(name) for name in names},
        trials=space.trials,
        objectives=2 if space.against else 1,
    )


class Searcher:
    """Proposes configurations, none of them twice.

    "random" draws uniformly on each parameter's scale; "grid" goes through a `Grid` in an order of the seed's, to its
    end; "sobol" follows a scrambled Sobol sequence; "tpe" and "gp" learn, see `Surrogate`. These two draw until 10
    trials have reported (Optuna's default), or a third of `trials` where that is less: of a small search most would be
    drawn otherwise, and a third is what BOHB (Falkner et al., 2018) draws at random all along.

    Args:
        method: see above.
        parameters: by name, each after those that its condition names.
        seed: of all draws, at least 0.
        start_from: points to propose first; what a point leaves out is drawn.
        active: whether a parameter is set, by its name and the values of those before it.
        defaults: what the hyperparameters are that a configuration does not set; so two may be found to be the same.
        trials: how many there will be, about.
        objectives: 1, or 2 with a cost that is to be low as well.
    """

    def __init__(
        self,
        method: Method,
        parameters: Mapping[str, Parameter],
        *,
        seed: int,
        start_from: Sequence[Mapping[str, Any]] = (),
        active: Active = always,
        defaults: Mapping[str, Any] | None = None,
        trials: int = 3 * STARTUP,
        objectives: int = 1,
    ) -> None:
        self._method = method
        self._parameters = dict(parameters)
        self._distributions = {name: parameter.distribution() for name, parameter in parameters.items()}
        self._seed = seed
        self._active = active
        self._defaults = defaults or {}
        self._count = trials
        self._startup = max(1, min(STARTUP, trials // 3))
        self._objectives = objectives
        self._names = tuple(dict.fromkeys([*parameters, *itertools.chain(*start_from)]))
        self._points = self._distinct(start_from)
        self._earlier: list[Told] = []
        self._trials: dict[str, Told] = {}
        self._known: set[tuple[Any, ...]] = set()
        self._passed = 0  # points of the grid that are known, from its beginning
        self._changes = 0
        self._asked: tuple[str | None, int] = (None, 0)  # the last question, and how much had changed by then
        self._answer: Values | None = None

    def propose(self, trial_id: str) -> Values | None:
        """The values of the next trial, which counts as running from then on.

        Asked again before that trial has reported, it answers the same, or anew where others have reported since.

        Returns:
            The parameters that are set; None where there is nothing left that has not been tried.
        """
        last, changes = self._asked
        if last == trial_id and changes == self._changes:
            return self._answer and dict(self._answer)
        if last == trial_id and (withdrawn := self._trials.pop(trial_id, None)):
            self._known.discard(self._key(withdrawn.values))
        candidates = self._candidates(len(self._trials))
        self._answer = next((values for values in candidates if self._key(values) not in self._known), None)
        if self._answer is not None:
            self.adopt(trial_id, self._answer)
        self._asked = (trial_id, self._changes)
        return self._answer and dict(self._answer)

    def left(self, most: int) -> int:
        """How many configurations have not been tried yet, counted up to `most`."""
        if self._all is None:
            return most
        points = (left_open(self._parameters, self._active, point) for point in self._points[len(self._trials) :])
        return count_untried(self._all(), points, self._key, self._known, most)

    def adopt(self, trial_id: str, parameters: Mapping[str, Any]) -> None:
        """A trial with these values is running: what a resumed search had proposed before."""
        if trial_id not in self._trials:
            self._trials[trial_id] = Told(dict(parameters))
            self._known.add(self._key(parameters))
            self._changes += 1

    def warm(self, earlier: Sequence[Trial]) -> None:
        """Learns from trials of another search: they are not proposed again, and do not count as trials of this one.

        Args:
            earlier: those trials; to be told before the first proposal.
        """
        for trial in earlier:
            told = Told(dict(trial.parameters), ended=True)
            for rung, score in trial.scores.items():
                told.add(rung, score)
            if trial.state is TrialState.COMPLETE and trial.scores:
                told.add(FINISHED, trial.scores[max(trial.scores)])
            told.lost |= trial.state.lost
            self._earlier.append(told)
            self._known.add(self._key(trial.parameters))
        self._changes += 1

    def report(self, trial_id: str, rung: float, score: float, cost: float | None = None) -> None:
        """A trial has come to a rung.

        Args:
            trial_id: its id; of trials that were not proposed, such as replicates, no notice is taken.
            rung: the resource there.
            score: lower is better; infinite where it is lost.
            cost: the second objective, lower is better.
        """
        if trial := self._trials.get(trial_id):
            trial.add(rung, score)
            trial.cost = trial.cost if cost is None else cost
            self._changes += 1

    def end(self, trial_id: str, state: TrialState, score: float, values: Sequence[float] | None = None) -> None:
        """A trial has ended.

        Args:
            trial_id: its id, see `report`.
            state: how it ended.
            score: lower is better.
            values: both objectives, where there are two.
        """
        if trial := self._trials.get(trial_id):
            trial.ended = True
            trial.lost |= state.lost
            if values is not None:
                score, trial.cost = values
            if state is TrialState.COMPLETE:
                trial.add(FINISHED, score)
            self._changes += 1

    def _candidates(self, number: int) -> Iterator[Values]:
        """Configurations to try as the trial of this number, best first; some may be known."""
        if number < len(self._points):
            yield from self._draws(number, self._points[number])
        if not self._parameters:
            return
        match self._method:
            case "grid":
                yield from self._on_grid(number)
                return
            case "sobol":
                first = max(0, number - len(self._points))
                for place in range(first, first + MOST_REDRAWS):
                    yield self._at(self._sobol[place], {})
            case "tpe" | "gp":
                yield from self._learnt(number)
        yield from self._draws(number, {})
        if self._all is not None:  # draws may miss the last ones
            yield from self._all()

    @cached_property
    def _all(self) -> Callable[[], Iterable[Values]] | None:
        """Lists all that can be proposed beside the points; None where that has no end, or is a very long grid."""
        if not self._parameters:
            return tuple
        if self._method == "grid":
            points = self._grid.points
            return None if points is None else lambda: points
        return partial(left_open, self._parameters, self._active, {}) if has_end(self._parameters) else None

    def _draws(self, number: int, point: Mapping[str, Any]) -> Iterator[Values]:
        """`point`, with what it leaves out drawn again and again."""
        for redraw in range(MOST_REDRAWS):
            yield self._at(self._units(number, redraw), point)
            if point.keys() >= self._parameters.keys():
                return

    def _on_grid(self, number: int) -> Iterator[Values]:
        points = self._grid.points
        if points is None:
            for redraw in range(MOST_REDRAWS):
                yield self._at(self._units(number, redraw), self._grid.draw(self._units(number, redraw)))
            return
        while self._passed < len(points):
            yield points[self._passed]  # where it is known, the next one is asked for
            self._passed += 1

    def _learnt(self, number: int) -> Iterator[Values]:
        told = [*self._earlier, *self._trials.values()]
        if sum(not trial.silent for trial in told) < self._startup or not self._surrogate.ready(told):
            return
        for redraw in range(MOST_ASKS):
            seed = int(np.random.SeedSequence([self._seed, number, redraw]).generate_state(1)[0])
            yield self._fill({}, self._surrogate.ask(told, seed))

    @cached_property
    def _surrogate(self) -> Surrogate:
        model: Model = "gp" if self._method == "gp" else "tpe"
        conditional = any(parameter.when for parameter in self._parameters.values())
        return Surrogate(model, self._distributions, conditional=conditional, objectives=self._objectives)

    @cached_property
    def _sobol(self) -> Sobol:
        return Sobol(len(self._parameters), self._seed)

    @cached_property
    def _grid(self) -> Grid:
        return Grid(self._parameters, self._active, self._count, self._seed)

    def _units(self, number: int, redraw: int) -> Units:
        return np.random.default_rng([self._seed, number, redraw]).random(len(self._parameters))

    def _at(self, units: Units, point: Mapping[str, Any]) -> Values:
        places = dict(zip(self._parameters, units.tolist(), strict=True))
        return self._fill(point, lambda name: value_at(self._distributions[name], places[name]))

    def _fill(self, point: Mapping[str, Any], draw: Callable[[str], Any]) -> Values:
        """The values of a trial: those of `point`, and the rest drawn, in order, where they are set."""
        values = {name: value for name, value in point.items() if name not in self._parameters}
        for name in self._parameters:
            if self._active(name, values):
                values[name] = point[name] if name in point else draw(name)
        return values

    def _key(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """What two trials share exactly where their configurations are the same."""
        return tuple(values.get(name, self._defaults.get(name)) for name in self._names)

    def _distinct(self, points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The points without those that repeat another one wholly; what leaves something to be drawn may come twice."""
        distinct: dict[Any, Mapping[str, Any]] = {}
        for number, point in enumerate(points):
            drawn: list[str] = []
            values = self._fill(point, drawn.append)
            distinct.setdefault(number if drawn else self._key(values), point)
        return [*distinct.values()]
