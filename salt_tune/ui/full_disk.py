"""A full disk: how it is told from other errors, and the one line that every writer says."""

import errno
import shutil
import traceback
from pathlib import Path
from typing import Final

from trainable.files import FULL_DISK

NO_SPACE: Final = "No space left on device"
RESUME: Final = "resume the search"
RUN_AGAIN: Final = "run the same command again"
LEAST_FREE: Final = 2**17  # bytes; with less, errors of a disk that is full may not even say so


def full_disk_line(path: object, then: str) -> str:
    """Says that there is no room for `path`, and what to do; see `no_space`."""
    return f"{path}: {no_space(then)}"


def no_space(then: str) -> str:
    """Says that a disk is full, and what to do.

    Args:
        then: what follows when there is room: `RESUME` or `RUN_AGAIN`.
    """
    return f"{NO_SPACE}; free some space, then {then}"


def comes_from_full_disk(error: BaseException | str, folder: Path | None = None) -> bool:
    """Tells whether an error, or one that it follows from, comes from a full disk.

    Args:
        error: the exception, or what it said.
        folder: where was written to. A disk without room for the error itself lets programs fail in any words.
    """
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return True
    text = error if isinstance(error, str) else "".join(traceback.format_exception(error))
    return FULL_DISK.search(text) is not None or (folder is not None and shutil.disk_usage(folder).free < LEAST_FREE)
