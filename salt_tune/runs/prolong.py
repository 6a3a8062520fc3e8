"""What a final run can go on from: the checkpoint of the search's trial, or the trunk of a shorter final run."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.run_directory.journal import read_counted
from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import FinalDirectory, RunDirectory
from salt_tune.runs.journal import Journal
from salt_tune.ui.full_disk import RUN_AGAIN
from trainable.errors import UserError
from trainable.files import atomic_write
from trainable.task import Task

SLACK = 1e-9  # relative, of epochs that were counted in steps


@dataclass(frozen=True)
class Trunk:
    """The beginning of a longer run.

    Attributes:
        epoch: up to which it was trained.
        checkpoint: that holds it.
        final: whose it is; None: the search's.
    """

    epoch: float
    checkpoint: Path
    final: FinalDirectory | None = None

    @property
    def origin(self) -> str:
        """Where it lies, for people."""
        return "where the search left it" if self.final is None else f"the trunk of {self.final.path.name}"


def longest_trunk(run: RunDirectory, task: Task, trial: dict[str, Any], config: dict[str, Any]) -> Trunk | None:
    """Finds the longest training of a trial that a final run can go on from; None where it has to begin anew.

    Args:
        run: of the search.
        task: that was searched.
        trial: its entry in the summary.
        config: hyperparameters of the final run.

    Raises:
        UserError: the search alone has trained it for longer than the final run may go on from.
    """
    most = task.trunk_epochs(config) * (1 + SLACK)
    known = [*_trunks(run, task, trial, config["epochs"])] if most else []
    fitting = [trunk for trunk in known if trunk.epoch <= most and trunk.epoch < config["epochs"]]
    if known and not fitting:
        searched = min(trunk.epoch for trunk in known)
        raise UserError(
            f"--epochs = {config['epochs']:g}: {trial['id']} was trained for {searched:g} already, and this has "
            f"{min(most, config['epochs']):.4g} to go on to; give more, or --from-scratch"
        )
    return max(fitting, key=lambda trunk: trunk.epoch, default=None)


def _trunks(run: RunDirectory, task: Task, trial: dict[str, Any], epochs: float) -> Iterator[Trunk]:
    if (checkpoint := run.checkpoint(trial["id"])).exists():
        yield Trunk(float(trial["epochs"]), checkpoint)
    for final in _finals(run, trial["id"]):
        if final.epochs < epochs and final.trunk.exists():  # its own, after an interruption, is no beginning
            yield Trunk(task.trained_epochs(final.trunk), final.trunk, final)


def _finals(run: RunDirectory, trial: str) -> list[FinalDirectory]:
    """Returns the final runs of a trial that begin where it could."""
    return [final for final in run.finals() if final.trial == trial and not final.anew]


def go_on_from(run: RunDirectory, trial: str, trunk: Trunk, final: FinalDirectory) -> list[dict[str, Any]]:
    """Gives a final run the reports, the steps and the checkpoint of a trunk, where it has no checkpoint yet.

    The checkpoint comes last: where it is, the others are. Steps that lie beyond it go with the first report.

    Returns:
        The reports that were given.

    Raises:
        UserError: the disk is full.
    """
    if final.checkpoint.exists():
        return []
    final.reports.unlink(missing_ok=True)
    reports, given = Journal(final.reports, RUN_AGAIN), []
    for report in _reports(run, trial, trunk):
        given.append(report)
        reports.append(report)
    final.steps.unlink(missing_ok=True)
    steps = run.steps(trial) if trunk.final is None else trunk.final.steps
    for source, target in ((steps, final.steps), (trunk.checkpoint, final.checkpoint)):
        if source is steps and not steps.exists():  # not every task keeps them
            continue
        with atomic_write(target) as temporary:
            shutil.copyfile(source, temporary)
    return given


def _reports(run: RunDirectory, trial: str, trunk: Trunk) -> Iterator[dict[str, Any]]:
    if trunk.final is not None:
        yield from (report for report in read_lines(trunk.final.reports) if report["epoch"] <= trunk.epoch)
        return
    for name, report in read_counted(run):
        if name == trial:  # the resource is the search's, which need not count in epochs
            yield {field: value for field, value in report.items() if field != "resource"}


def longest_final(run: RunDirectory, trial: str) -> float:
    """Returns the epochs of the longest final run of a trial that is finished.

    Raises:
        UserError: there is none.
    """
    finished = [final.epochs for final in _finals(run, trial) if final.card.exists()]
    if not finished:
        raise UserError(f"{run.path}: no final run of {trial} is finished that --more could prolong; promote it first")
    return max(finished)
