"""`python -m salt_tune.logs`: what a run has printed that goes on without a terminal."""

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from analysis.run_directory.held import is_held
from salt_tune.options import Folder
from salt_tune.runs.watch import Watched, watch_path
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console
from trainable.errors import UserError

LOOKS_UP = 0.3  # seconds between looks at the file


@click.command(cls=Command, example="python -m salt_tune.logs runs/first --follow")
@click.argument("path", metavar="RUN", type=Folder())
@click.option("--follow", cls=Flag, is_flag=True, help="Go on with what it prints, until its process has ended.")
@click.option(
    "--lines", cls=Flag, type=click.IntRange(min=0), help="Begin with so many of the last lines [default: all]."
)
def main(path: Path, *, follow: bool, lines: int | None) -> int:
    """Print what the search or final run in RUN has printed since it was started with --detach."""
    watched = watch_path(path)
    log = watched.directory.log
    if not log.exists():
        others = "".join(f"; {final.path} has one" for final in watched.finals if final.log.exists())
        raise UserError(f"{watched.directory.path}: has no {log.name}, as it was not started with --detach{others}")
    with log.open("rb") as file:
        runs = follow and _runs(watched)
        for line in deque(_whole_lines(file) if runs else file, maxlen=lines):
            _print(line)
        while runs:
            time.sleep(LOOKS_UP)
            runs = _runs(watched)
            for line in _whole_lines(file):
                _print(line)
        for line in file:  # one that was cut off, too
            _print(line)
    return 0


def _runs(watched: Watched) -> bool:
    """Tells whether the process that ran it when the command began still does; its last words come after its run."""
    if not watched.running:
        return False
    return is_held(watched.directory.lock) if watched.elsewhere else watched.holder is not None and watched.holder.alive


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yields the lines that have come; one that is being written waits for the next call."""
    while (line := file.readline()).endswith(b"\n"):
        yield line
    file.seek(-len(line), os.SEEK_CUR)


def _print(line: bytes) -> None:
    console.print(line.decode(errors="replace").removesuffix("\n"))


if __name__ == "__main__":
    main()
