"""A sign of life of a process that trains: a file whose time of change moves as it gets on.

A process can stop without dying: a GPU that no longer answers, a file system that hangs, SIGSTOP. Nothing in it could
tell, so the search looks at the file. Whatever takes long calls `beat` between its steps: each batch of a loader, each
fold of a probe, each look at a lock.
"""

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Final

SILENT_SECONDS: Final = 300.0  # without a sign of life: loading torch, opening a store and a slow disk take less
EVERY: Final = 1.0  # seconds between two signs, at least

_file: Path | None = None
_next = 0.0


def begin(file: Path) -> None:
    """Writes which process lives here, and has `beat` touch the file from now on.

    Args:
        file: its folder exists; what the file holds is replaced.

    Raises:
        OSError: it cannot be written.
    """
    global _file, _next
    file.write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
    _file, _next = file, time.monotonic() + EVERY


def end() -> None:
    """Has `beat` touch nothing any more."""
    global _file
    _file = None


def beat() -> None:
    """Touches the file, where there is one, at most once a second."""
    global _next
    if _file is None or (now := time.monotonic()) < _next:
        return
    _next = now + EVERY
    with contextlib.suppress(OSError):  # without it the search takes this process for a hung one, and starts another
        os.utime(_file)
