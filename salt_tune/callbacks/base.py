"""What follows a search as it goes, and never steers it."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, get_args

from analysis.run_directory.events import Trials
from analysis.run_directory.trials import Trial

Mode = Literal["off", "offline", "online"]  # of Weights & Biases
MODES: Final[tuple[str, ...]] = get_args(Mode)

Report = Mapping[str, Any]  # as a worker gave it, numbers that are not finite included; docs/run-directory.md


class Callback(Protocol):
    """Is told what happens in a search, in this order; a trial and the trials are to be read, never changed.

    A callback of the registry `CALLBACKS` is made by `Class(run, space, **settings)`. It gets the run directory, what
    is searched, and what the command line says of this callback. It must bear that what it writes to is broken: an
    error that it raises ends the search.
    """

    def on_search_start(self, trials: Trials) -> None:
        """Is told that trials will run from now on.

        Args:
            trials: all that is known already, of a search that is resumed; what comes later is added to it.
        """

    def on_trial_start(self, trial: Trial) -> None:
        """Is told that a trial starts, or goes on after a pause."""

    def on_trial_result(self, trial: Trial, report: Report) -> None:
        """Is told that a trial has reported; `trial` knows the report already."""

    def on_trial_pause(self, trial: Trial) -> None:
        """Is told that a trial has paused, and its worker is free for another."""

    def on_trial_restart(self, trial: Trial, why: str) -> None:
        """Is told that a trial goes on from its checkpoint in another process.

        Args:
            trial: the trial, which is running.
            why: it left the one before, in a line.
        """

    def on_trial_end(self, trial: Trial) -> None:
        """Is told that a trial has ended, see its state; pruned ones end while they are paused."""

    def on_search_end(self, trials: Trials, *, over: bool) -> None:
        """Is told that this process leaves the search; nothing more is told.

        Args:
            trials: all that is known.
            over: nothing was left to do.
        """
