"""`python -m salt_tune.stop`: ends the process that runs a search or a promoted run, and says how to go on."""

import contextlib
import os
import signal
import time
from pathlib import Path

import click

from analysis.run_directory.held import is_held
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.progress import RunState, final_progress, search_progress
from salt_tune.options import Folder
from salt_tune.runs.holder import Holder
from salt_tune.runs.watch import Watched, watch, watch_path
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console
from salt_tune.ui.format import shell_command
from trainable.errors import UserError

LOOKS_UP = 0.1  # seconds between looks whether it has ended
PATIENCE = 60  # seconds until it is said how to end it at once


@click.command(cls=Command, example="python -m salt_tune.stop runs/first")
@click.argument("path", metavar="RUN", type=Folder())
@click.option(
    "--now", cls=Flag, is_flag=True, help="Kill it; what was trained since the last checkpoints is trained again."
)
def main(path: Path, *, now: bool) -> int:
    """Stop the process that runs the search or final run in RUN, and say how to go on.

    It is told by SIGTERM, and ends in order: what was reported is kept. Where nothing runs, nothing is done.
    """
    watched = watch_path(path)
    run = watched.directory.path
    if not watched.running:
        console.print(f"{run}: nothing runs here")
        _say_finals(watched)
        return 0
    holder = _tell(watched, signal.SIGKILL if now else signal.SIGTERM)
    _wait(watched, holder, now=now)
    console.print(f"{run}: process {holder} has left it")
    if _is_finished(watched):
        console.print("It had come to its end; nothing is left to do.")
    elif watched.goes_on:
        console.print(f"To go on: {watched.goes_on}")
    return 0


def _tell(watched: Watched, number: signal.Signals) -> Holder:
    """Sends a signal to the process that runs a run, and returns which it is.

    Raises:
        UserError: it cannot be reached from here.
    """
    holder, run = watched.holder, watched.directory.path
    if holder is None:
        raise UserError(f"{run}: is running, but {watched.directory.lock.name} does not say in which process")
    if watched.elsewhere:
        raise UserError(f"{run}: runs on host {holder.host} as process {holder.pid}; stop it there")
    try:
        with contextlib.suppress(ProcessLookupError):  # it has ended since
            os.kill(holder.pid, number)  # `elsewhere` has just made sure that it is the very process
    except PermissionError as error:
        raise UserError(f"{run}: process {holder.pid} is another user's, who alone can stop it") from error
    return holder


def _wait(watched: Watched, holder: Holder, *, now: bool) -> None:
    """Waits until a process has given its run back; says once what to do where that takes long.

    A process of many threads that was killed may be gone by its name, and hold its files for a moment more.
    """
    run, lock, said = watched.directory.path, watched.directory.lock, now
    began = time.monotonic()
    while is_held(lock) and Holder.read(lock) == holder:  # not another that has taken it since
        time.sleep(LOOKS_UP)
        if not said and time.monotonic() - began > PATIENCE:
            said = True
            console.print(f"Still waiting; to end it at once: {shell_command('salt_tune.stop', run, '--now')}")


def _is_finished(watched: Watched) -> bool:
    directory = watched.directory
    if isinstance(directory, RunDirectory):
        return search_progress(directory, running=False, killed=False)["state"] is RunState.FINISHED
    return final_progress(directory, running=False, killed=False)["state"] is RunState.FINISHED


def _say_finals(watched: Watched) -> None:
    """Names the promoted runs of a search that are running."""
    for final in watched.finals:
        if watch(final).running:
            console.print(f"{final.path.name} is running; to stop it: {shell_command('salt_tune.stop', final.path)}")


if __name__ == "__main__":
    main()
