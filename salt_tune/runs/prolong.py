"""A final run that goes on from where the search left its trial."""

import shutil
from typing import Any

from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import FinalDirectory, RunDirectory
from salt_tune.runs.journal import Journal
from salt_tune.ui.full_disk import RUN_AGAIN
from trainable.errors import UserError
from trainable.files import atomic_write
from trainable.task import Task


def trained_before(run: RunDirectory, task: Task, trial: dict[str, Any], epochs: float) -> float:
    """Returns the epochs of a trial that a final run can go on from; 0 where it has to begin anew.

    Args:
        run: of the search.
        task: that was searched.
        trial: its entry in the summary.
        epochs: of the final run.

    Raises:
        UserError: the trial has been trained for as long already.
    """
    if not task.prolongs(trial["config"]) or not run.checkpoint(trial["id"]).exists():
        return 0.0
    trained = float(trial["epochs"])
    if trained >= epochs:
        raise UserError(
            f"--epochs = {epochs:g}: must be above the {trained:g} that {trial['id']} was trained for, "
            "or --from-scratch be given"
        )
    return trained


def go_on_from(run: RunDirectory, trial: str, final: FinalDirectory) -> list[dict[str, Any]]:
    """Gives a final run the reports and the checkpoint of a trial, where it has no checkpoint yet.

    The checkpoint comes last: where it is, the reports are.

    Returns:
        The reports that were given.

    Raises:
        UserError: the disk is full.
    """
    if final.checkpoint.exists():
        return []
    final.reports.unlink(missing_ok=True)
    reports, given = Journal(final.reports, RUN_AGAIN), []
    for report in read_lines(run.reports):
        if report.pop("trial") == trial:
            del report["resource"]  # of the search, which need not count in epochs
            given.append({"trial": trial, **report})
            reports.append(given[-1])
    with atomic_write(final.checkpoint) as temporary:
        shutil.copyfile(run.checkpoint(trial), temporary)
    return given
