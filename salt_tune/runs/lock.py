"""Locks that the system itself gives back when their holder dies, however it dies.

They are Linux's locks of open files, see "open file description locks" in fcntl(2). `analysis.run_directory.held` asks
about one without taking it.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis.run_directory.held import WHOLE_FILE, is_held
from salt_tune.runs.holder import Holder
from trainable.errors import UserError

SEARCHES = "process {holder} runs this search; wait for it, or stop it"
LOCK = "lock"  # the file in a folder of `locked_folder`
LOOKS, LOOK_SECONDS = 10, 0.02  # until a process that has just taken a lock has written its number


@contextmanager
def locked(
    path: Path,
    busy: str = SEARCHES,
    *,
    of: Path | None = None,
    remove: bool = False,
    goes_on: tuple[str, ...] = (),
) -> Iterator[None]:
    """Holds a lock.

    The file says which process holds it, or was the last to: a file without a holder is no lock.

    Args:
        path: the lock's file.
        busy: what is said where another process, the `{holder}`, has it.
        of: what is locked; None: the folder of the file.
        remove: take the file away at the end.
        goes_on: see `Holder`.

    Raises:
        UserError: another process holds it.
    """
    holder = Holder.this_process(goes_on)
    descriptor = _take(path, holder)
    if descriptor is None:
        raise UserError(f"{of or path.parent}: {busy.format(holder=find_holder(path) or '?')}")
    try:
        yield
    finally:
        if remove:
            path.unlink(missing_ok=True)
        else:
            with contextlib.suppress(OSError):  # the disk is full; nothing but the time would follow from it
                _write(descriptor, holder.leaving())
        os.close(descriptor)


def find_holder(path: Path) -> Holder | None:
    """Returns the process that holds a lock; None where its file does not say. See also `is_held`."""
    holder = Holder.read(path)
    for _ in range(LOOKS):
        if holder is not None and ((holder.alive and holder.until is None) or not is_held(path)):
            break
        time.sleep(LOOK_SECONDS)
        holder = Holder.read(path)
    return holder


def _write(descriptor: int, holder: Holder) -> None:
    line = holder.line()
    os.pwrite(descriptor, line, 0)
    os.ftruncate(descriptor, len(line))


def _take(path: Path, holder: Holder | None = None) -> int | None:
    """Returns a descriptor that holds the lock for as long as it is open; None where another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, WHOLE_FILE)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if os.fstat(descriptor).st_nlink:
            _write(descriptor, holder or Holder.this_process())
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
