"""Locks that the system itself gives back when their holder dies, however it dies."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainable.errors import UserError

SEARCHES = "process {holder} runs this search; wait for it, or stop it"
LOCK = "lock"  # the file in a folder of `locked_folder`


@contextmanager
def locked(path: Path, busy: str = SEARCHES, *, of: Path | None = None, remove: bool = False) -> Iterator[None]:
    """Holds a lock.

    The file has the process id of its holder, or of the last one: a file without a holder is no lock.

    Args:
        path: the lock's file.
        busy: what is said where another process, the `{holder}`, has it.
        of: what is locked; None: the folder of the file.
        remove: take the file away at the end.

    Raises:
        UserError: another process holds it.
    """
    descriptor = _take(path)
    if descriptor is None:
        raise UserError(f"{of or path.parent}: {busy.format(holder=_holder(path))}")
    try:
        yield
    finally:
        if remove:
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _holder(path: Path) -> str:
    """Returns what the file says of the process that holds it; "?" where that has just left."""
    try:
        return path.read_bytes()[:20].decode(errors="replace").strip() or "?"
    except FileNotFoundError:
        return "?"


def _take(path: Path) -> int | None:
    """Returns a descriptor that holds the lock for as long as it is open; None where another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if os.fstat(descriptor).st_nlink:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor
        os.close(descriptor)  # its holder took the file away as it was opened here


@contextmanager
def locked_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Makes a new folder for this user alone, with a lock in it; it is removed at the end.

    A process that is killed leaves it behind; `sweep` takes such folders away.
    """
    folder, descriptor = _new_locked_folder(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what other processes still write there goes with the next sweep
        os.close(descriptor)


def _new_locked_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            descriptor = _take(folder / LOCK)
        except FileNotFoundError:  # a sweeper took the folder for one that was left, as its lock was not held yet
            continue
        if descriptor is not None:
            return folder, descriptor


def sweep(parent: Path, prefix: str, keep: str | None = None) -> None:
    """Removes what killed processes left of their `locked_folder`s.

    Args:
        parent: where they lie.
        prefix: of their names.
        keep: a folder that holds a file of this name is never removed.
    """
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # it is another user's, or another sweeper was faster
            if folder.is_symlink() or folder.lstat().st_uid != os.geteuid() or not (folder / LOCK).is_file():
                continue
            if keep is not None and (folder / keep).exists():
                continue
            if (descriptor := _take(folder / LOCK)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)
