"""The search as an Optuna study in the run directory, to be looked at while it runs (`optuna-dashboard`).

The journal is what a search remembers, and a resumed one writes its study anew from there. So nothing that happens to
the file ends a search, or holds it up.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from analysis.run_directory.events import Trials
from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.ranking import scores_by_seed, standing
from analysis.run_directory.trials import Trial, TrialState, ends_lost
from salt_tune.callbacks.base import Report
from salt_tune.callbacks.study_file import StudyFile, add_trials, amend, set_state
from salt_tune.space.sampling import fits
from salt_tune.space.search_space import SearchSpace

STATES = {
    TrialState.WAITING: OptunaState.WAITING,
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.PAUSED: OptunaState.WAITING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
}  # of Optuna; a lost trial is FAIL


@dataclass(frozen=True)
class _Final:
    """What of a complete trial may change after its end.

    Attributes:
        value: of the objective, the mean over the seeds that it was trained with.
        user: attributes.
        state: PRUNED where its value would make it the best, which it is not.
    """

    value: float
    user: Mapping[str, Any]
    state: Any


@dataclass
class _Times:
    started: datetime = field(default_factory=datetime.now)
    completed: datetime | None = None


class OptunaStudy:
    """Writes an Optuna study, which any process can load: `optuna.load_study(storage="sqlite:///...", study_name=...)`.

    Value, direction and metric name are those of the objective. The attributes `resource` and `points` say what steps
    are: step n is the n-th of `points`. Trials have the attributes `trial` (the id), `seed`, `fixed` (all
    hyperparameters that are no parameters here), and in the end `state`, `verdict` and `error`. A trial that failed,
    diverged or ran out of memory is FAIL, one that is paused WAITING; at the end of the search it is PRUNED.

    Replicates are no trials: the one that they repeat has the attribute `replicates`, and as value the mean over its
    seeds. The best trial is the search's own: one of better value that ranks behind it is PRUNED, as dashboards heed no
    constraint, and `ranks_behind` says why. See `salt_tune.callbacks.base.Callback`; `StudyFile` bears what becomes of
    the file.

    Args:
        run: the run directory; its name is that of the study.
        space: what is searched.
    """

    def __init__(self, run: RunDirectory, space: SearchSpace) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._run, self._objective = run, space.objective
        self._distributions = {name: parameter.distribution() for name, parameter in space.parameters.items()}
        self._steps = {point: step for step, point in enumerate(space.schedule.report_points())}
        self._rungs = space.schedule.rung_points()
        self._attributes = {
            "objective": space.objective.name,
            "mode": space.objective.mode,
            "resource": space.schedule.resource,
            "points": [*space.schedule.report_points()],
        }
        self._trials: Mapping[str, Trial] = {}
        self._times: dict[str, _Times] = {}
        self._finals: dict[str, _Final] = {}  # as the file has them
        self._numbers: dict[str, int] = {}  # trial -> its number in the file
        self._over = False
        self._file = StudyFile(run.study, self._fill)

    def on_search_start(self, trials: Trials) -> None:
        """Writes what is known so far, in place of whatever is there."""
        self._trials, self._times = trials, _reported_times(self._run, trials)
        self._file.show()

    def on_trial_start(self, trial: Trial) -> None:
        """Adds a trial; one that goes on is there already."""
        if trial.replicate_of is not None:
            self._file.write(self._amend)
            return
        if trial.id in self._times:
            self._file.write(lambda storage: set_state(storage, self._numbers[trial.id], OptunaState.RUNNING))
            return
        self._times[trial.id] = _Times()
        self._file.write(lambda storage: self._add(storage, trial))

    def on_trial_result(self, trial: Trial, report: Report) -> None:
        """Adds the objective at a rung."""
        point = float(report["resource"])
        if point in self._rungs_of(trial) and not ends_lost(report["status"]) and trial.replicate_of is None:
            step, value = self._steps[point], self._value(trial.scores[point])
            self._file.write(lambda storage: storage.set_trial_intermediate_value(self._numbers[trial.id], step, value))

    def on_trial_pause(self, trial: Trial) -> None:
        """Says that a trial waits: Optuna knows no pause."""
        if trial.replicate_of is None and trial.state is TrialState.PAUSED:
            self._file.write(lambda storage: set_state(storage, self._numbers[trial.id], OptunaState.WAITING))

    def on_trial_restart(self, trial: Trial, why: str) -> None:
        """Leaves the trial RUNNING."""

    def on_trial_end(self, trial: Trial) -> None:
        """Writes how a trial has ended, and what that means for the others."""
        if trial.replicate_of is None and self._times[trial.id].completed is None:
            self._times[trial.id].completed = datetime.now()
            self._file.write(lambda storage: self._end(storage, trial))
        self._file.write(self._amend)

    def on_search_end(self, trials: Trials, *, over: bool) -> None:  # noqa: ARG002
        """Lets go of the file; no trial runs any more, and at the end of the search none will go on."""
        self._over = over
        self._file.write(self._leave)
        self._file.close()

    # --- what the file says of a trial

    def _fill(self, storage: RDBStorage) -> None:
        """Writes all that is known into an empty storage."""
        minimise = self._objective.mode == "min"
        direction = StudyDirection.MINIMIZE if minimise else StudyDirection.MAXIMIZE
        number = storage.create_new_study([direction], self._run.path.name)
        study = optuna.load_study(study_name=self._run.path.name, storage=storage)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([self._objective.name])
        for key, value in self._attributes.items():
            storage.set_study_user_attr(number, key, value)
        self._finals = self._known_finals()
        own = [trial for trial in self._trials.values() if trial.replicate_of is None]
        for trial in own:
            self._times.setdefault(trial.id, _Times())
        added = add_trials(storage, number, [self._frozen(trial, self._finals) for trial in own])
        self._numbers = dict(zip((trial.id for trial in own), added, strict=True))

    def _add(self, storage: RDBStorage, trial: Trial) -> None:
        (study,) = storage.get_all_studies()
        self._numbers[trial.id] = storage.create_new_trial(study._study_id, self._frozen(trial, {}))

    def _end(self, storage: RDBStorage, trial: Trial) -> None:
        number, frozen = self._numbers[trial.id], self._frozen(trial, self._known_finals())
        for name, value in frozen.user_attrs.items():
            storage.set_trial_user_attr(number, name, value)
        storage.set_trial_state_values(number, frozen.state, frozen.values)

    def _amend(self, storage: RDBStorage) -> None:
        """Writes what has changed of the complete trials."""
        for name, final in self._known_finals().items():
            if self._finals.get(name) != final:
                amend(storage, self._numbers[name], final.value, final.state, final.user)
                self._finals[name] = final

    def _leave(self, storage: RDBStorage) -> None:
        """Says of the trials that have not ended that nothing trains them; at the end of the search, nothing will."""
        for name, number in self._numbers.items():
            trial = self._trials[name]
            if trial.state.ended:
                continue
            if self._over and trial.state is TrialState.PAUSED:
                value = self._finite(trial.score)
                storage.set_trial_user_attr(number, "state", str(TrialState.PRUNED))
                storage.set_trial_state_values(number, OptunaState.PRUNED, None if value is None else [value])
            else:
                set_state(storage, number, OptunaState.WAITING)

    def _frozen(self, trial: Trial, finals: Mapping[str, _Final]) -> FrozenTrial:
        params = {
            name: value
            for name, value in trial.parameters.items()
            if name in self._distributions and fits(self._distributions[name], value)
        }
        final, times = finals.get(trial.id), self._times[trial.id]
        state = final.state if final else STATES.get(trial.state, OptunaState.FAIL)
        if state == OptunaState.COMPLETE and final is None:  # it has no score
            state = OptunaState.FAIL
        scored = state == OptunaState.PRUNED and math.isfinite(trial.score)
        said = {
            "trial": trial.id,
            "seed": trial.seed,
            "fixed": {name: value for name, value in trial.config.items() if name not in params},
            "origin": trial.origin,
            "state": str(trial.state) if trial.state.ended else None,
            "verdict": trial.verdict,
            "error": trial.error,
            **(final.user if final else {}),
        }
        frozen = create_trial(
            state=state,
            value=final.value if final else self._value(trial.score) if scored else None,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            user_attrs={name: value for name, value in said.items() if value is not None},
            intermediate_values={
                self._steps[point]: self._value(trial.scores[point]) for point in self._rungs_of(trial)
            },
        )
        frozen.datetime_start = times.started
        frozen.datetime_complete = (times.completed or datetime.now()) if state.is_finished() else None
        return frozen

    def _rungs_of(self, trial: Trial) -> list[float]:
        """Returns the rungs at which a trial has a score to show."""
        return [point for point in self._rungs if math.isfinite(trial.scores.get(point, math.inf))]

    def _value(self, score: float) -> float:
        """Returns the objective itself, of which a score has the sign turned where it is to be high."""
        return score if self._objective.mode == "min" else -score

    def _known_finals(self) -> dict[str, _Final]:
        """Returns what is to be said of each complete trial, from the search's own ranking."""
        known = [*self._trials.values()]
        ordered, seeds = standing(known), scores_by_seed(known)
        means = {name: fmean(scores) for name, scores in seeds.items()}
        scores = {trial.id: means[trial.id] if math.isfinite(means[trial.id]) else trial.score for trial in ordered}
        finals, repeated = {}, dict[str, dict[str, Any]]()
        for trial in known:
            if trial.replicate_of is not None:
                said = {"seed": trial.seed, "state": str(trial.state), "value": self._finite(trial.score)}
                repeated.setdefault(trial.replicate_of, {})[trial.id] = said
        for place, trial in enumerate(ordered):
            behind = place > 0 and scores[trial.id] <= scores[ordered[0].id]
            user = {"replicates": repeated[trial.id]} if trial.id in repeated else {}
            why = _why_behind(trial, ordered[0], lost=not math.isfinite(means[trial.id])) if behind else None
            finals[trial.id] = _Final(
                self._value(scores[trial.id]),
                {**user, "ranks_behind": why},
                OptunaState.PRUNED if behind else OptunaState.COMPLETE,
            )
        return finals

    def _finite(self, score: float) -> float | None:
        return self._value(score) if math.isfinite(score) else None


def _why_behind(trial: Trial, best: Trial, *, lost: bool) -> str:
    if trial.unfit and not best.unfit:
        return str(trial.verdict)
    return "one of its seeds was lost" if lost else "trained with fewer seeds, or with a higher val_loss"


def _reported_times(run: RunDirectory, trials: Mapping[str, Trial]) -> dict[str, _Times]:
    """Returns when each trial began, and when those that have ended reported last; local time, as Optuna has it."""
    times: dict[str, _Times] = {}
    for report in read_lines(run.reports, live=True):
        trial, said = trials.get(report["trial"]), report.get("time")
        if trial is not None and said is not None:
            time = datetime.fromisoformat(str(said)).astimezone().replace(tzinfo=None)
            began = time - timedelta(seconds=report.get("training_seconds") or 0.0)
            found = times.setdefault(trial.id, _Times(began))
            found.completed = time if trial.state.ended else None
    return times
