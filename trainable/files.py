"""Atomic writes: a file is there whole, or it is not there."""

import contextlib
import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# As the system, numpy and SQLite say it.
FULL_DISK = re.compile(r"No space left on device|\d+ requested and \d+ written|database or disk is full")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there takes its name when the block ends well.

    The content is on the disk (fsync) before the rename, and the temporary file is gone after an error.

    Raises:
        OSError: the disk is full, read-only or broken.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        try:
            yield temporary
        except Exception as error:
            # numpy and safetensors have words of their own for it, and none of them says where.
            if FULL_DISK.search(str(error)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames within `folder` last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def free_bytes(path: Path) -> int:
    """Returns the bytes free on the disk that `path` is on, or will be."""
    return shutil.disk_usage(next(folder for folder in (path, *path.absolute().parents) if folder.exists())).free


def copy_folder(source: Path, target: Path) -> None:
    """Copies the files of a folder into another, over those that are there.

    Raises:
        OSError: names the first file that could not be copied.
    """
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
    except shutil.Error as error:  # a list of all files and what became of them, in words
        _, where, why = error.args[0][0]
        full = FULL_DISK.search(why)
        raise OSError(errno.ENOSPC if full else errno.EIO, os.strerror(errno.ENOSPC) if full else why, where) from error


def folder_size(path: Path) -> int:
    """Returns the bytes of all files below a folder, as they are there now."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):  # it is being replaced
                total += (Path(folder) / name).lstat().st_size
    return total
