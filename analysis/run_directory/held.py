"""Whether a process holds the lock of a run: asked without taking it, so that a look never stands in a search's way.

Locks are those of open files on Linux, see "open file description locks" in fcntl(2); `salt_tune.runs.lock` takes them.
"""

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

FLOCK: Final = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length (0: the whole file), pid
WHOLE_FILE: Final = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def is_held(path: Path) -> bool:
    """Tells whether a process holds a lock, here or on another machine that shares the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, WHOLE_FILE)
    finally:
        os.close(descriptor)
    return bool(struct.unpack(FLOCK, found)[0] != fcntl.F_UNLCK)
