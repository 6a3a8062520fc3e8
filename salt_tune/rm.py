"""`python -m salt_tune.rm`: removes a run that nothing holds."""

import contextlib
import sys
from pathlib import Path

import click

from analysis.run_directory.paths import FinalDirectory, RunDirectory, find_directory
from salt_tune.options import Folder
from salt_tune.runs.create import STAGING
from salt_tune.runs.lock import locked, locked_folder
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console
from salt_tune.ui.format import byte_size, counted
from salt_tune.ui.listing import JSON, print_json
from trainable.errors import UserError
from trainable.files import folder_size

HELD = "process {holder} holds it; stop it before it is removed"


@click.command(cls=Command, example="python -m salt_tune.rm runs/first")
@click.argument("path", metavar="RUN", type=Folder())
@click.option("--yes", cls=Flag, is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", cls=Flag, is_flag=True, help=JSON)
def main(path: Path, *, yes: bool, as_json: bool) -> int:
    """Remove RUN, a search with its promoted models, or one of these; asks before, and says how many bytes that is."""
    run = RunDirectory(path)
    directory = run if run.manifest.is_file() else find_directory(path)  # one of another version can be removed too
    finals = directory.finals() if isinstance(directory, RunDirectory) else []
    size = folder_size(directory.path)
    with contextlib.ExitStack() as held:
        for each in (directory, *finals):
            held.enter_context(locked(each.lock, HELD))
        also = f" and {counted(len(finals), 'promoted model')}" if finals else ""
        if not yes:
            _ask(directory, f"{directory.path}: {byte_size(size)} ({size:,} bytes){also} will be removed")
        with locked_folder(directory.path.parent, STAGING) as staging:  # what a kill leaves there is swept later
            directory.path.rename(staging / "removed")
    if as_json:
        print_json({"run": str(directory.path), "bytes": size, "finals": [final.path.name for final in finals]})
    else:
        console.print(f"{directory.path}: removed, {byte_size(size)} are free")
    return 0


def _ask(directory: RunDirectory | FinalDirectory, what: str) -> None:
    """Asks whether to go on.

    Raises:
        UserError: the answer is no, or there is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        raise UserError(f"{what}; where there is no terminal to ask at, --yes does so")
    console.print(what)
    if not click.confirm("Remove it?", default=False):
        raise UserError(f"{directory.path}: nothing was removed")


if __name__ == "__main__":
    main()
