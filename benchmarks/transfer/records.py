"""The measurements on disk: a line of JSON each, which a second start goes on from.

The first line says what the experiment is. All others are of one point of one run, named by `config`, `seed`, `run` and
`epoch`. They have the metrics of the `trained` weights and, at a constant rate, of the `averaged` ones.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from salt_tune.runs.journal import Journal
from salt_tune.runs.lock import locked
from trainable.errors import UserError

BUSY = "process {holder} runs this experiment; wait for it, or stop it"
REMEDY = "free some space, then start the experiment again"

Record = dict[str, Any]
Key = tuple[int, int, str, float]


@contextmanager
def errors_in_a_line() -> Iterator[None]:
    """Ends the program with exit code 2 and one line where the block raises a `UserError`."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


@contextmanager
def recording(path: Path, experiment: dict[str, Any]) -> Iterator["Records"]:
    """Opens the file of an experiment, see `Records`, which no other process runs meanwhile; makes its folder.

    Raises:
        UserError: another process runs it; the file is of another experiment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock"), BUSY, of=path, remove=True):
        yield Records(path, experiment)


class Records:
    """The file of one experiment; several processes may append to it.

    Args:
        path: the file.
        experiment: what is measured, as JSON values; begins the file where it is new.

    Raises:
        UserError: the file is of another experiment.
    """

    def __init__(self, path: Path, experiment: dict[str, Any]) -> None:
        self.path, self._journal = path, Journal(path, REMEDY)
        if not self._cut_to_whole_lines():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._journal.append({"experiment": experiment})
        begun = self._lines()[0]["experiment"]
        for name, value in experiment.items():
            if begun.get(name) != value:
                words = f"is of another experiment: {name} = {begun.get(name)!r:.60} there, {value!r:.60} here"
                raise UserError(f"{path}: {words}; name another --out, or take the file away")

    def append(self, record: Record) -> None:
        """Adds a line and waits until it is on the disk.

        Raises:
            UserError: the disk is full or broken.
        """
        self._journal.append(record)

    def read(self) -> dict[Key, Record]:
        """Returns the measurements by run and point."""
        return {key_of(record): record for record in self.all()}

    def all(self) -> list[Record]:
        """Returns the measurements in the order in which they were made."""
        return self._lines()[1:]

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def _cut_to_whole_lines(self) -> bool:
        """Takes away a last line that was cut off; returns whether there is a line."""
        if not self.path.exists():
            return False
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self.path.open("r+b") as file:
                file.truncate(whole)
        return whole > 0


def key_of(record: Record) -> Key:
    """Returns what names a measurement: configuration, seed, kind of run, epoch."""
    return record["config"], record["seed"], record["run"], record["epoch"]
