"""Weights & Biases: one run a trial, and one for the promoted model."""

import contextlib
from pathlib import Path
from typing import Any, Literal, get_args

from salt_tune.records import TrialRecord

Mode = Literal["off", "offline", "online"]
MODES = get_args(Mode)
PROJECT = "salt_tune"


class WandbRun:
    """Logs one training to Weights & Biases.

    Args:
        mode: "offline" or "online".
        folder: where its files go, in a folder `wandb`.
        group: name of the search.
        name: name of the training.
        config: hyperparameters.
        resume: go on with the run of this name and group, where there is one.
    """

    def __init__(
        self, mode: Mode, folder: Path, group: str, name: str, config: dict[str, Any], *, resume: bool = False
    ) -> None:
        import wandb  # takes a second, and most searches do without

        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=PROJECT,
            group=group,
            name=name,
            config=config,
            dir=folder,
            mode=None if mode == "off" else mode,
            id=f"{group}-{name}" if resume else None,
            resume="allow" if resume and mode == "online" else None,
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )
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

    Args:
        mode: "offline" or "online".
        folder: the run directory.
        group: name of the search.
    """

    def __init__(self, mode: Mode, folder: Path, group: str) -> None:
        self._mode, self._folder, self._group = mode, folder, group
        self._open: dict[str, WandbRun] = {}

    def on_start(self, record: TrialRecord) -> None:
        """A trial starts."""
        self._open[record.id] = WandbRun(
            self._mode, self._folder, self._group, record.id, record.proposal.config.to_dict()
        )

    def on_report(self, record: TrialRecord, report: dict[str, Any]) -> None:
        """A trial has reported."""
        self._open[record.id].log(report)

    def on_end(self, record: TrialRecord) -> None:
        """A trial has ended."""
        if record.id in self._open:
            self._open.pop(record.id).finish(int(record.state in ("failed", "diverged", "out_of_memory")))

    def __exit__(self, *error: object) -> None:
        for run in self._open.values():
            run.finish(1)
        self._open.clear()
