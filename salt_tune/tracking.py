"""Weights & Biases: one run a trial, and one for the promoted model."""

import contextlib
from pathlib import Path
from typing import Any, Literal, get_args

from salt_tune.records import ENDED, TrialRecord
from trainable.errors import UserError

Mode = Literal["off", "offline", "online"]
MODES = get_args(Mode)
PROJECT = "salt_tune"

CRASHED = {"failed", *ENDED}


class WandbRun:
    """Logs one training to Weights & Biases.

    Its id there is made of group and name, so that it can be found again.

    Args:
        mode: "offline" or "online".
        folder: where its files go, in a folder `wandb`.
        group: name of the search.
        name: name of the training.
        config: hyperparameters.
        resume: go on with the run of this name and group, where there is one; offline, it gets further files. Without,
            a run of that id that W&B has already is left alone.

    Raises:
        UserError: W&B refuses.
    """

    def __init__(
        self, mode: Mode, folder: Path, group: str, name: str, config: dict[str, Any], *, resume: bool = False
    ) -> None:
        import wandb  # takes a second, and most searches do without

        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run = wandb.init(
                project=PROJECT,
                group=group,
                name=name,
                config=config,
                dir=folder,
                mode=None if mode == "off" else mode,
                id=f"{group}-{name}",
                resume=("allow" if resume else "never") if mode == "online" else None,
                reinit="create_new",
                settings=wandb.Settings(console="off", silent=True),
            )
        except wandb.Error as error:
            raise UserError(f"--wandb {mode}: {group}-{name} cannot be logged: {str(error).splitlines()[0]}") from error
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def log(self, report: dict[str, Any]) -> None:
        """Logs the numbers of a report, over its epoch."""
        self._run.log({name: value for name, value in report.items() if isinstance(value, int | float)})

    def finish(self, exit_code: int = 0) -> None:
        """Ends the run."""
        self._run.finish(exit_code=exit_code)


class WandbTracker(contextlib.AbstractContextManager["WandbTracker"]):
    """Follows a search, see `salt_tune.records.Listener`; as a context manager it ends what is still open.

    The run of a trial stays open while the trial is paused: it costs a file and no thread.

    Args:
        mode: "offline" or "online".
        folder: the run directory.
        group: name of the search.
        resume: the search goes on where another process left it.
    """

    def __init__(self, mode: Mode, folder: Path, group: str, *, resume: bool = False) -> None:
        self._mode, self._folder, self._group, self._resume = mode, folder, group, resume
        self._open: dict[str, WandbRun] = {}
        self._logged: dict[str, float] = {}  # how far each trial has been logged
        self._paused: set[str] = set()

    def on_start(self, record: TrialRecord) -> None:
        """A trial starts, or goes on after a pause."""
        self._paused.discard(record.id)
        if record.id not in self._open:
            self._open[record.id] = WandbRun(
                self._mode, self._folder, self._group, record.id, record.proposal.config, resume=self._resume
            )
            self._logged.setdefault(record.id, record.resource)

    def on_report(self, record: TrialRecord, report: dict[str, Any]) -> None:
        """A trial has reported; one that comes again, since its process had died, is not logged again."""
        if report["resource"] > self._logged[record.id] or report["status"] in ENDED:
            self._logged[record.id] = report["resource"]
            self._open[record.id].log(report)

    def on_end(self, record: TrialRecord) -> None:
        """A trial has paused or ended."""
        if record.state == "paused":
            self._paused.add(record.id)
        elif record.id in self._open:
            self._open.pop(record.id).finish(int(record.state in CRASHED))

    def __exit__(self, *error: object) -> None:
        for name, run in self._open.items():
            run.finish(int(name not in self._paused))
        self._open.clear()
