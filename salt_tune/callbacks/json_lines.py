"""What happens in a search as JSON, one object a line on the standard output; docs/runs.md has the fields."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

from analysis.run_directory.events import Trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.reports import plain_report
from analysis.run_directory.trials import Trial
from salt_tune.callbacks.base import Report
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console


class JsonLines:
    """Prints a line for each thing that happens; see `salt_tune.callbacks.base.Callback`.

    Args:
        run: the run directory.
        space: what is searched.
    """

    def __init__(self, run: RunDirectory, space: SearchSpace) -> None:  # noqa: ARG002  as all callbacks are made
        self._run = run

    def on_search_start(self, trials: Trials) -> None:
        """Says which search, and how many trials are known."""
        _print("search_start", run=str(self._run.path), trials=len(trials))

    def on_trial_start(self, trial: Trial) -> None:
        """Says which trial, from where, and with which values."""
        _print("trial_start", trial=trial.id, resource=trial.resource, milestone=trial.milestone,
               parameters=trial.parameters, seed=trial.seed, replicate_of=trial.replicate_of)  # fmt: skip

    def on_trial_result(self, trial: Trial, report: Report) -> None:
        """Gives the report as reports.jsonl has it."""
        _print("trial_result", **plain_report(trial.id, report) | {"reported": report.get("time")})

    def on_trial_pause(self, trial: Trial) -> None:
        """Says where a trial has paused."""
        _print("trial_pause", trial=trial.id, resource=trial.resource)

    def on_trial_restart(self, trial: Trial, why: str) -> None:
        """Says why a trial goes on in another process."""
        _print("trial_restart", trial=trial.id, resource=trial.resource, why=why)

    def on_trial_end(self, trial: Trial) -> None:
        """Says how a trial has ended."""
        _print("trial_end", trial=trial.id, resource=trial.resource, state=str(trial.state), error=trial.error)

    def on_search_end(self, trials: Trials, *, over: bool) -> None:
        """Says whether anything is left to do."""
        _print("search_end", run=str(self._run.path), trials=len(trials), over=over)


def _print(event: str, **fields: Any) -> None:
    line = {**fields, "time": datetime.now(UTC).isoformat(timespec="seconds"), "event": event}
    try:
        print(json.dumps(dict(reversed(line.items()))), file=sys.stdout, flush=True)
    except BrokenPipeError:
        console.on_broken_pipe()
