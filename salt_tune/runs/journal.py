"""Writes the journal of a search: what was decided, in order, one JSON object a line.

It is the search's memory. Everything else that a search knows (rungs, paused trials, the next suggestion) is a function
of these lines and of the reports. So a search that died is taken up by reading them again: `analysis.run_directory` has
the events and reads them. Each line is on the disk before anything follows from it, and has the same size whether ten
trials came before it or ten thousand.
"""

import errno
import json
import os
from pathlib import Path
from typing import Any

from salt_tune.ui.full_disk import RESUME, full_disk_line
from trainable.errors import UserError


class Journal:
    """Appends to one file of lines.

    Args:
        path: the file; it is made with the first line.
        remedy: what to do after space was made on a full disk.
    """

    def __init__(self, path: Path, remedy: str = RESUME) -> None:
        self.path, self._remedy = path, remedy

    def append(self, entry: dict[str, Any]) -> None:
        """Adds a line and waits until it is on the disk.

        Raises:
            UserError: the disk is full or broken; nothing is left of the line.
        """
        line = (json.dumps(entry, allow_nan=False) + "\n").encode()
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                _write_whole(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            full = error.errno == errno.ENOSPC
            what = full_disk_line(self.path, self._remedy) if full else f"{self.path}: {error.strerror}"
            raise UserError(what) from error


def _write_whole(descriptor: int, line: bytes) -> None:
    """Writes the line and waits for the disk; where that fails, the file is as long as before."""
    size = os.fstat(descriptor).st_size
    try:
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
