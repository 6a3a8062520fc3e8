"""Runs a command of the user's at the end of a search, when a trial fails, and at a new best."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from typing import Any, Final

from analysis.run_directory.events import Trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.ranking import standing
from analysis.run_directory.trials import Trial
from salt_tune.callbacks.base import Report
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from salt_tune.ui.format import exact

PATIENCE: Final = 30.0  # seconds that a command may take


class Notify:
    """Runs a shell command, one after the other, beside the search; see `salt_tune.callbacks.base.Callback`.

    The facts are in the environment (SALT_TUNE_EVENT, _RUN, _TRIAL, _METRIC, _VALUE, _STATE, _TEXT), and as a JSON
    object on the standard input. A command that fails, or takes longer than 30 s and is killed, is a warning.

    Args:
        run: the run directory.
        space: what is searched.
        command: what `sh -c` runs.
        patience: seconds that it may take.
    """

    def __init__(self, run: RunDirectory, space: SearchSpace, command: str, patience: float = PATIENCE) -> None:
        self._run, self._objective, self._command, self._patience = run, space.objective, command, patience
        self._trials = Trials()
        self._best: str | None = None
        self._facts: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def on_search_start(self, trials: Trials) -> None:
        """Remembers which trial is the best already."""
        self._trials = trials
        self._best = self._winner()

    def on_trial_start(self, trial: Trial) -> None:
        """Says nothing."""

    def on_trial_result(self, trial: Trial, report: Report) -> None:
        """Says nothing: how good a trial is shows at its end."""

    def on_trial_pause(self, trial: Trial) -> None:
        """Says nothing."""

    def on_trial_restart(self, trial: Trial, why: str) -> None:
        """Says nothing: it goes on."""

    def on_trial_end(self, trial: Trial) -> None:
        """Says that a trial is lost, or that there is a new best."""
        if trial.state.lost:
            why = f": {trial.error}" if trial.error else ""
            self._tell("failure", f"{trial.id} {trial.state}{why}", trial)
        best = self._winner()
        if best is not None and best != self._best:
            self._best = best
            value = exact(self._objective.value(self._trials[best].metrics))
            self._tell("new_best", f"{best} is the best: {self._objective.name} {value}", self._trials[best])

    def on_search_end(self, trials: Trials, *, over: bool) -> None:  # noqa: ARG002
        """Says that the search has ended or was left, and waits until all is said."""
        best = self._trials[self._best] if self._best else None
        won = f"{best.id} is the best" if best else "no trial is complete"
        self._tell("end", f"the search {'is over' if over else 'was stopped'}: {won}", best, over=over)
        self._facts.put(None)
        if self._thread is not None:
            self._thread.join()  # each command has its time

    def _winner(self) -> str | None:
        return next((trial.id for trial in standing(self._trials.values())), None)

    def _tell(self, event: str, text: str, trial: Trial | None, **more: Any) -> None:
        value = self._objective.value(trial.metrics) if trial else None
        about = {"trial": trial and trial.id, "state": trial and str(trial.state), "value": value}
        facts = {"event": event, "run": str(self._run.path), "metric": self._objective.name, **about, "text": text}
        self._facts.put({**facts, **more})
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (facts := self._facts.get()) is not None:
            if (why := self._call(facts)) is not None:
                console.warn(f"--notify, {facts['event']}: {why}; the search goes on")

    def _call(self, facts: dict[str, Any]) -> str | None:
        """Runs the command; returns what went wrong."""
        said = {f"SALT_TUNE_{name.upper()}": "" if fact is None else str(fact) for name, fact in facts.items()}
        environment = {**os.environ, **{name: fact.replace("\0", "") for name, fact in said.items()}}
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", self._command], env=environment, start_new_session=True, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, errors="replace",
            )  # fmt: skip
        except (OSError, ValueError) as error:
            return f"cannot be started: {error}"
        try:
            _, errors = process.communicate(json.dumps(facts), timeout=self._patience)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"was killed after {self._patience:g} s"
        if process.returncode == 0:
            return None
        last = errors.strip().splitlines()[-1:] or ["it says nothing"]
        return f"ended with exit code {process.returncode}: {last[0]}"
