"""A final run that goes on from where the search left its trial."""

import shutil
from typing import Any

from analysis.run_directory.events import ResultReported
from analysis.run_directory.journal import read_events
from analysis.run_directory.paths import FinalDirectory, RunDirectory
from analysis.run_directory.trials import ends_lost
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
    for event in read_events(run, live=True):  # the journal knows which reports count; the search is left alone
        if not isinstance(event, ResultReported) or event.trial != trial or ends_lost(event.status):
            continue
        if event.report is None:
            continue
        # The resource is the search's, which need not count in epochs.
        given.append({name: value for name, value in event.report.items() if name != "resource"})
        reports.append(given[-1])
    with atomic_write(final.checkpoint) as temporary:
        shutil.copyfile(run.checkpoint(trial), temporary)
    return given
