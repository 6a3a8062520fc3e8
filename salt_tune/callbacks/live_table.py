"""The live table of a search on a terminal, and plain lines when piped."""

from collections.abc import Mapping

from rich.live import Live
from rich.table import Table
from rich.text import Text

from analysis.run_directory.events import Trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.callbacks.base import Report
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from salt_tune.ui.format import UNITS, amount, heading, number, progress, quantity

STATE_STYLES = {
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.WAITING: "dim",
    TrialState.PAUSED: "dim",
}


class LiveTable:
    """Shows all trials while they run; see `salt_tune.callbacks.base.Callback`.

    Args:
        run: the run directory, in which it writes nothing.
        space: what is searched.
    """

    def __init__(self, run: RunDirectory, space: SearchSpace) -> None:  # noqa: ARG002  as all callbacks are made
        self._space = space
        self._trials: Mapping[str, Trial] = {}
        self._parameters = tuple(space.searched())
        self._rungs = space.schedule.rung_points()
        self._shown = [name for name in ("val_loss", "val_r2") if name in space.task.metrics]
        self._training: set[str] = set()
        self._live = (
            Live(get_renderable=self._table, console=console, refresh_per_second=2) if console.is_terminal else None
        )

    def on_search_start(self, trials: Trials) -> None:
        """Begins to draw, on a terminal."""
        self._trials = trials
        if self._live:
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
        console.print(f"{trial.id:<4} {why}; goes on from {reached} in a new process")

    def on_trial_end(self, trial: Trial) -> None:
        """Says, when piped, how a trial has ended."""
        self._training.discard(trial.id)
        reason = f": {trial.error}" if trial.error else ""
        self._say(trial, f"{trial.state} after {amount(trial.resource, self._space.schedule.resource)}{reason}")

    def on_search_end(self, trials: Trials, *, over: bool) -> None:  # noqa: ARG002
        """Leaves the table as it was last."""
        if self._live:
            self._live.stop()

    def _is_told(self, point: float) -> bool:
        return point in self._rungs or (self._space.schedule.resource == "epoch" and point.is_integer())

    def _say(self, trial: Trial, what: str) -> None:
        if self._live is None:
            console.print(f"{trial.id:<4} {what}".rstrip())

    def _table(self) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("trial")
        unit = UNITS[self._space.schedule.resource][1]
        for name in (*self._parameters, unit, self._space.objective.name, "clips/s"):
            table.add_column(heading(name), justify="right", no_wrap=True)
        table.add_column("state")
        for trial in list(self._trials.values()):  # a copy, as the search adds trials while this is drawn
            table.add_row(
                trial.id,
                *(number(trial.parameters.get(name)) for name in self._parameters),
                *self._measures(trial),
                Text(trial.state, STATE_STYLES.get(trial.state, "red")),
            )
        return table

    def _measures(self, trial: Trial) -> list[str]:
        """Returns how far a trial is, its objective, and its speed."""
        if not trial.metrics:
            return ["-"] * 3
        measures = (self._space.objective.value(trial.metrics), trial.value("clips_per_second"))
        return [quantity(trial.resource), *(number(value, digits=4) for value in measures)]
