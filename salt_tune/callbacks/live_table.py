"""What a search shows while it runs: a screen on a terminal, plain lines with their times when piped."""

import time
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.live import Live

from analysis.run_directory.events import Trials
from analysis.run_directory.now import search_now
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.progress import budget, time_left
from analysis.run_directory.trials import Trial
from salt_tune.callbacks.base import Report
from salt_tune.space.description import describe
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from salt_tune.ui.format import UNITS, amount, number, progress, quantity
from salt_tune.ui.search_screen import RunScreen


class LiveTable:
    """Shows how far a search is, and its trials; see `salt_tune.callbacks.base.Callback`.

    Args:
        run: the run directory, in which it writes nothing.
        space: what is searched.
        limits: where this process ends early, as `session.limits` of run.json; None: nowhere.
    """

    def __init__(self, run: RunDirectory, space: SearchSpace, limits: dict[str, Any] | None = None) -> None:
        self._run, self._space = run, space
        self._trials = Trials()
        self._description = {**describe(space), "session": {"limits": limits}}
        self._parameters = tuple(space.searched())
        self._rungs = space.schedule.rung_points()
        self._shown = [name for name in ("val_loss", "val_r2") if name in space.task.metrics]
        self._training: set[str] = set()
        self._began, self._before = time.monotonic(), 0.0
        screen = RunScreen(self._facts)
        self._live = Live(screen, console=console, refresh_per_second=2) if console.is_terminal else None

    def on_search_start(self, trials: Trials) -> None:
        """Begins to draw, on a terminal."""
        self._trials, self._began = trials, time.monotonic()
        self._before = sum(trial.resource for trial in trials.values())
        if self._live and not console.quiet:
            self._live.start()

    def on_trial_start(self, trial: Trial) -> None:
        """Says, when piped, that a trial starts or goes on; without a pause before, at rungs and whole epochs."""
        told = trial.id not in self._training or self._is_told(trial.resource)
        self._training.add(trial.id)
        if not told:
            return
        if not trial.scores:
            given = trial.parameters
            values = "  ".join(f"{name} {number(given[name])}" for name in self._parameters if name in given)
            again = f"seed {trial.seed} of {trial.replicate_of}, to tell it from luck"
            self._say(trial, f"starts    {again if trial.replicate_of else values}")
            return
        ahead = [rung for rung in self._rungs if rung > trial.resource] or [trial.resource]
        self._say(trial, f"goes on to {quantity(ahead[-1 if trial.replicate_of else 0])}")

    def on_trial_result(self, trial: Trial, report: Report) -> None:
        """Says, when piped, what came at rungs and whole epochs."""
        resource, reached = self._space.schedule.resource, float(report["resource"])
        if self._is_told(reached) and trial.value("val_loss") is not None:
            point = f"{UNITS[resource][0]} {quantity(reached)}"
            self._say(trial, f"{point}   {progress(report, self._shown)}")

    def on_trial_pause(self, trial: Trial) -> None:
        """Says, when piped, where a trial has paused."""
        self._training.discard(trial.id)
        self._say(trial, f"paused at {quantity(trial.resource)}")

    def on_trial_restart(self, trial: Trial, why: str) -> None:
        """Says that a trial goes on in another process, and from where."""
        reached = amount(trial.resource, self._space.schedule.resource)
        self._print(f"{trial.id:<4} {why}; goes on from {reached} in a new process")

    def on_trial_end(self, trial: Trial) -> None:
        """Says, when piped, how a trial has ended."""
        self._training.discard(trial.id)
        reason = f": {trial.error}" if trial.error else ""
        self._say(trial, f"{trial.state} after {amount(trial.resource, self._space.schedule.resource)}{reason}")

    def on_search_end(self, trials: Trials, *, over: bool) -> None:  # noqa: ARG002
        """Leaves the screen as it was last."""
        if self._live:
            self._live.stop()

    def _is_told(self, point: float) -> bool:
        return point in self._rungs or (self._space.schedule.resource == "epoch" and point.is_integer())

    def _say(self, trial: Trial, what: str) -> None:
        if self._live is None:
            self._print(f"{trial.id:<4} {what}".rstrip())

    def _print(self, line: str) -> None:
        console.print(line if self._live else f"{datetime.now():%Y-%m-%d %H:%M:%S}  {line}")

    def _facts(self) -> dict[str, Any]:
        """Returns what `salt_tune.status` would show, from what this process knows."""
        known, seconds = search_now(self._description, self._trials), time.monotonic() - self._began
        trained = known["spent"]["trained"] - self._before
        trials, asked = [*self._trials.values()], self._trials.allowed
        left = time_left(self._description, trials, asked, trained=trained, seconds=seconds)
        known["trials"]["asked"] = asked
        known["spent"] |= {"wall_seconds": self._trials.seconds + seconds, "budget": budget(self._description)}
        return {
            "kind": "search",
            "run": self._run.path.name,
            "running": True,
            "state": "running",
            "holder": None,
            **known,
            "time_left": left and asdict(left),
            "last_report": None,
            "finals": [],
            "goes_on": None,
        }
