"""A node's own copy of the dataset, for a cluster with a slow shared disk; runs on the nodes."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainable.errors import UserError
from trainable.files import free_bytes, sync_folder
from trainable.task import find_task


def open_on_node(task: str, data: str, facts: dict[str, Any], copies: str | None) -> str:
    """Opens the dataset on this node, as a copy where one is asked for.

    Args:
        task: name of the task.
        data: where the dataset lies.
        facts: of the driver's, see `trainable.worker.Dataset.facts`.
        copies: folder for the copy, on a disk of the node's own; None: no copy.

    Returns:
        Where it lies for this node.

    Raises:
        UserError: it is not there or is another one, or the copy does not fit or is damaged.
    """
    path = Path(data)
    _check_same(task, path, facts)
    if copies is None:
        return data
    folder = Path(copies)
    copy = folder / f"{path.resolve().name}-{_digest(facts)}"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / f".{copy.name}.lock"):
        if not copy.exists():
            _copy(task, path, copy)
    _check_same(task, copy, facts)
    return str(copy)


def _check_same(task: str, path: Path, facts: dict[str, Any]) -> None:
    there = json.loads(json.dumps(find_task(task).open_data(path).facts()))
    for name, value in facts.items():
        if name != "path" and there.get(name) != value:
            raise UserError(f"{path}: is another store: {name} = {there.get(name)!r}, and {value!r} for the search")


def _digest(facts: dict[str, Any]) -> str:
    """Names a dataset: another one of the same name, or one that has grown, gets another copy."""
    known = {name: value for name, value in facts.items() if name != "path"}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:8]


def _copy(task: str, path: Path, copy: Path) -> None:
    """Copies a dataset; the copy takes its name when all of it has been compared with its checksums.

    Raises:
        UserError: it does not fit, or differs.
    """
    sizes = {file: file.stat().st_size for file in path.rglob("*") if file.is_file()}
    needed, free = sum(sizes.values()), free_bytes(copy.parent)
    if needed > free:
        raise UserError(
            f"--store-copy = {copy.parent}: the store takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} are free"
        )
    partial = copy.with_name(f"{copy.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        shutil.copytree(path, partial)
        for file, size in sizes.items():
            there = partial / file.relative_to(path)
            if not there.is_file() or there.stat().st_size != size:
                raise UserError(f"{there}: is not as {file} was; did the store change while it was copied?")
        if damage := find_task(task).damage(partial):
            raise UserError(f"{copy}: {damage}")
        partial.rename(copy)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(copy.parent)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Waits for other processes of this node that make the same copy."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
