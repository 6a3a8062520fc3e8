"""The search as an Optuna study in the run directory, to be looked at while it runs (`optuna-dashboard`).

Nothing is ever read from it: the journal is what a search remembers, and a resumed one writes its study anew. So
nothing that happens to the file ends a search, or holds it up.
"""

import contextlib
import math
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial

from analysis.run_directory.events import Trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial, TrialState, ends_lost
from salt_tune.callbacks.base import Report
from salt_tune.space.sampling import fits
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from salt_tune.ui.full_disk import RESUME, comes_from_full_disk, no_space

LOCKED_SECONDS = 0.5  # that a write waits for a reader
RETRY_SECONDS = 10.0  # after which a file that could not be written is written anew
RETRY_SHARE = 20  # of the time that writing it anew takes, at least, lies between two tries

STATES = {
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
}  # of Optuna; a lost trial is FAIL


@dataclass
class _Shown:
    """A trial as the study has it, or will."""

    params: dict[str, Any]
    attributes: dict[str, Any]
    steps: dict[int, float] = field(default_factory=dict)
    state: Any = optuna.trial.TrialState.RUNNING
    value: float | None = None
    started: datetime = field(default_factory=datetime.now)
    completed: datetime | None = None

    @property
    def ended(self) -> bool:
        return bool(self.state != optuna.trial.TrialState.RUNNING)


class OptunaStudy:
    """Writes an Optuna study, which any process can load: `optuna.load_study(storage="sqlite:///...", study_name=...)`.

    The study minimises the score. Its attributes `objective` and `mode` say what that is made of; `resource` and
    `points` what its steps are: step n is the n-th of `points`. Trials have the attributes `trial` (the id), `seed`,
    `fixed` (all hyperparameters that are no parameters here), `replicate_of`, and in the end `state` and `error`. A
    trial that failed, diverged or ran out of memory is FAIL, one that is paused RUNNING.

    Nothing is written before the search starts: then the file is built from all that is known, replacing what is there.
    One warning names a file that cannot be written: a reader locks it, it is gone, or the disk is full. It is written
    anew some time later, and at the end. See `salt_tune.callbacks.base.Callback`.

    Args:
        run: the run directory; its name is that of the study.
        space: what is searched.
    """

    def __init__(self, run: RunDirectory, space: SearchSpace) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._path, self._name = run.study, run.path.name
        self._distributions = {name: parameter.distribution() for name, parameter in space.parameters.items()}
        self._steps = {point: step for step, point in enumerate(space.schedule.report_points())}
        self._rungs = space.schedule.rung_points()
        self._attributes = {
            "objective": space.objective.name,
            "mode": space.objective.mode,
            "score": "lower is better; an objective that is to be high has its sign turned",
            "resource": space.schedule.resource,
            "points": [*space.schedule.report_points()],
        }
        self._trials: dict[str, _Shown] = {}
        self._numbers: dict[str, int] = {}  # trial -> its number in the file
        self._storage: RDBStorage | None = None  # None: the file lacks something
        self._study = 0
        self._inode = 0
        self._retry_at = math.inf  # until the search starts
        self._warned = False

    def on_search_start(self, trials: Trials) -> None:
        """Writes what is known so far, in place of whatever is there, even of what a killed process left behind."""
        for trial in trials.values():
            self._trials[trial.id] = self._shown(trial)
        self._show()

    def on_trial_start(self, trial: Trial) -> None:
        """Adds a trial; one that goes on is there already."""
        if trial.id in self._trials:
            return
        shown = self._trials[trial.id] = self._shown(trial)

        def write(storage: RDBStorage) -> None:
            self._numbers[trial.id] = storage.create_new_trial(self._study, self._frozen(shown))

        self._write(write)

    def on_trial_result(self, trial: Trial, report: Report) -> None:
        """Adds the score at a rung."""
        point = float(report["resource"])
        if point in self._rungs_of(trial) and not ends_lost(report["status"]):
            step, score = self._steps[point], trial.scores[point]
            self._trials[trial.id].steps[step] = score
            self._write(lambda storage: storage.set_trial_intermediate_value(self._numbers[trial.id], step, score))

    def on_trial_pause(self, trial: Trial) -> None:
        """Leaves a paused trial RUNNING: Optuna knows no pause."""

    def on_trial_restart(self, trial: Trial, why: str) -> None:
        """Leaves the trial RUNNING."""

    def on_trial_end(self, trial: Trial) -> None:
        """Writes how a trial has ended."""
        shown = self._trials[trial.id]
        if shown.ended:
            return
        said = self._end(shown, trial)

        def write(storage: RDBStorage) -> None:
            number = self._numbers[trial.id]
            for name, value in said.items():
                storage.set_trial_user_attr(number, name, value)
            values = None if shown.value is None else [shown.value]
            storage.set_trial_state_values(number, shown.state, values)

        self._write(write)

    def on_search_end(self, trials: Trials, *, over: bool) -> None:  # noqa: ARG002
        """Lets go of the file, after it has been written anew where it lacks something."""
        if self._storage is None or not self._is_there():
            self._show()
        self._let_go()

    def _shown(self, trial: Trial) -> _Shown:
        """Returns a trial as the study has it, from all that is known of it."""
        params = {
            name: value
            for name, value in trial.parameters.items()
            if name in self._distributions and fits(self._distributions[name], value)
        }
        attributes = {
            "trial": trial.id,
            "seed": trial.seed,
            "fixed": {name: value for name, value in trial.config.items() if name not in params},
            "replicate_of": trial.replicate_of,
        }
        shown = _Shown(params, {name: value for name, value in attributes.items() if value is not None})
        shown.steps = {self._steps[point]: trial.scores[point] for point in self._rungs_of(trial)}
        if trial.state.ended:
            self._end(shown, trial)
        return shown

    def _rungs_of(self, trial: Trial) -> list[float]:
        """Returns the rungs at which a trial has a score to show; replicates, which no rung compares, show none."""
        if trial.replicate_of is not None:
            return []
        return [point for point in self._rungs if math.isfinite(trial.scores.get(point, math.inf))]

    def _end(self, shown: _Shown, trial: Trial) -> dict[str, Any]:
        """Takes how a trial has ended, and returns what of it are attributes."""
        said = {"state": str(trial.state)} if trial.error is None else {"state": str(trial.state), "error": trial.error}
        shown.attributes |= said
        lost = not math.isfinite(trial.score)
        shown.state = optuna.trial.TrialState.FAIL
        if not trial.state.lost and not (trial.state is TrialState.COMPLETE and lost):
            shown.state = STATES[trial.state]
        shown.value = None if shown.state == optuna.trial.TrialState.FAIL or lost else trial.score
        shown.completed = datetime.now()
        return said

    def _show(self) -> None:
        started = time.monotonic()
        self._let_go()
        try:
            self._write_anew()
        except Exception as error:  # as in `_write`
            self._give_up(error)
        took = time.monotonic() - started
        self._retry_at = time.monotonic() + max(RETRY_SECONDS, RETRY_SHARE * took)

    def _write(self, change: Callable[[RDBStorage], None]) -> None:
        """Changes the file; where it lacks something already, it is written anew, now or later."""
        if self._storage is None:
            if time.monotonic() >= self._retry_at:
                self._show()
            return
        try:
            if not self._is_there():  # SQLite would write to what is left of it
                raise FileNotFoundError("it was deleted or replaced")
            change(self._storage)
        except Exception as error:  # whatever became of a file that anybody may open
            self._give_up(error)

    def _write_anew(self) -> None:
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        self._remove_temporary()
        storage = _open(temporary)
        try:
            self._study = storage.create_new_study([StudyDirection.MINIMIZE], self._name)
            for key, value in self._attributes.items():
                storage.set_study_user_attr(self._study, key, value)
            for name, shown in self._trials.items():
                self._numbers[name] = storage.create_new_trial(self._study, self._frozen(shown))
        finally:
            storage.engine.dispose()
        # SQLite would undo in the new file what this one says of the old one.
        self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
        temporary.replace(self._path)
        self._inode = self._path.stat().st_ino
        self._storage = _open(self._path)

    def _is_there(self) -> bool:
        return self._path.exists() and self._path.stat().st_ino == self._inode

    def _remove_temporary(self) -> None:
        for rest in self._path.parent.glob(f".{self._path.name}.tmp*"):
            rest.unlink()

    def _frozen(self, shown: _Shown) -> FrozenTrial:
        trial = create_trial(
            state=shown.state,
            value=shown.value,
            params=shown.params,
            distributions={name: self._distributions[name] for name in shown.params},
            user_attrs=shown.attributes,
            intermediate_values=shown.steps,
        )
        trial.datetime_start, trial.datetime_complete = shown.started, shown.completed
        return trial

    def _give_up(self, error: Exception) -> None:
        """Leaves the file as it is, for now."""
        self._let_go()
        self._retry_at = time.monotonic() + RETRY_SECONDS
        with contextlib.suppress(OSError):  # it takes room that may be what is wanted
            self._remove_temporary()
        if not self._warned:
            self._warned = True
            wrapped = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
            cause = getattr(wrapped, "orig", None) or wrapped or error
            reason = " ".join(str(cause).split()) or type(cause).__name__
            if comes_from_full_disk(cause, self._path.parent):
                reason = f"{no_space(RESUME)} should it stop"
            console.print(
                f"warning: {self._path}: cannot be written: {reason}; "
                "the search goes on without it, and writes it anew when it can"
            )

    def _let_go(self) -> None:
        if self._storage is not None:
            self._storage.engine.dispose()
            self._storage = None


def _open(path: Path) -> RDBStorage:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=LOCKED_SECONDS, check_same_thread=False)
        # Does not wait for the disk: a killed process leaves the file whole, and after a power cut it is written anew.
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    # Not by a URL with the path in it, which may hold a question mark or a brace.
    return RDBStorage("sqlite:///study.db", engine_kwargs={"creator": connect})
