"""What the trackers of experiments share: a run of theirs for each trial, which pauses and resumes with it."""

from abc import abstractmethod
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Protocol

from analysis.run_directory.events import Trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.callbacks.base import Report
from salt_tune.callbacks.lenient import Lenient
from salt_tune.space.search_space import SearchSpace
from trainable.errors import UserError


class TrackedRun(Protocol):
    """A training as a tracker has it."""

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Logs the numbers of a report at a step of the training; steps never go back."""

    def finish(self, exit_code: int = 0) -> None:
        """Ends the run; 0 where its training went as it should."""


class Tracker:
    """Logs each trial of a search as a run; see `salt_tune.callbacks.base.Callback`.

    The run of a trial stays open while the trial is paused. Where the tracker fails, one line says so and nothing more
    is logged. A search that is resumed goes on with the same runs.

    Args:
        run: the run directory; its name is that of the runs' group.
        space: what is searched.
        lenient: calls the tracker.
    """

    def __init__(self, run: RunDirectory, space: SearchSpace, lenient: Lenient) -> None:
        self._directory, self._objective, self._try = run, space.objective, lenient
        self._resume = False  # whether there may be runs already, by a process before this one
        self._open: dict[str, TrackedRun] = {}
        self._logged: dict[str, float] = {}  # how far each trial has been logged

    @abstractmethod
    def _begin(self, trial: Trial, job: str, *, resume: bool) -> TrackedRun:
        """Begins the run of a trial.

        Args:
            trial: the trial.
            job: "trial" or "replicate".
            resume: there may be such a run already, to be gone on with.
        """

    def on_search_start(self, trials: Trials) -> None:
        """Remembers whether the search was begun by another process."""
        self._resume = bool(trials)

    def on_trial_start(self, trial: Trial) -> None:
        """Begins the run of a trial, unless it is open since before a pause."""
        if trial.id not in self._open:
            job = "trial" if trial.replicate_of is None else "replicate"
            run = self._try(lambda: self._begin(trial, job, resume=self._resume))
            if run is not None:
                self._open[trial.id] = run
                self._logged.setdefault(trial.id, trial.resource)

    def on_trial_result(self, trial: Trial, report: Report) -> None:
        """Logs a report and the objective; one that comes again, since its process had died, is not logged again."""
        if trial.id in self._open and report["resource"] > self._logged[trial.id]:
            self._logged[trial.id] = report["resource"]
            numbers, value = numbers_of(report), self._objective.value(trial.metrics)
            if value is not None:
                numbers["objective"] = value
            step = int(report.get("step", len(trial.scores)))
            self._try(lambda: self._open[trial.id].log(numbers, step))

    def on_trial_pause(self, trial: Trial) -> None:
        """Leaves the run open."""

    def on_trial_restart(self, trial: Trial, why: str) -> None:
        """Leaves the run open."""

    def on_trial_end(self, trial: Trial) -> None:
        """Ends the run of a trial; that of a lost one counts as crashed."""
        if (run := self._open.pop(trial.id, None)) is not None:
            self._try(lambda: run.finish(int(trial.state.lost)))

    def on_search_end(self, trials: Trials, *, over: bool) -> None:  # noqa: ARG002
        """Ends what is still open: paused trials as they should, running ones as crashed."""
        for name, run in self._open.items():
            paused = trials[name].state is TrialState.PAUSED
            self._try(lambda run=run, paused=paused: run.finish(int(not paused)))  # type: ignore[misc]
        self._open.clear()


def require_package(package: str, names: str) -> None:
    """Makes sure that the package of a tracker is there.

    Args:
        package: its module, which the flag and the extra are named after.
        names: of what can be installed.

    Raises:
        UserError: it is not there.
    """
    if find_spec(package) is None:
        raise UserError(f"--{package}: needs the package {names}: pip install 'salt_tune[{package}]'")


def numbers_of(report: Mapping[str, Any]) -> dict[str, float]:
    """Returns what of a report can be drawn."""
    return {name: value for name, value in report.items() if isinstance(value, int | float)}
