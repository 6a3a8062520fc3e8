"""One process a run: a lock that the system itself gives back when its holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainable.errors import UserError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of a run.

    The file has the process id of its holder, or of the last one: a file that nobody holds is no lock.

    Args:
        path: the lock's file.

    Raises:
        UserError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode(errors="replace").strip()
            raise UserError(f"{path.parent}: process {holder} runs this search; wait for it, or stop it") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
