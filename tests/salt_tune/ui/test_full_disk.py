"""A full disk is told from other errors, however it is said."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from salt_tune.ui import full_disk
from salt_tune.ui.full_disk import RESUME, comes_from_full_disk, full_disk_line


def caused(error: BaseException) -> BaseException:
    outer = RuntimeError("the trial failed")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "reports.jsonl"),
        caused(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
        sqlite3.OperationalError("database or disk is full"),
        OSError("8192 requested and 512 written"),
        "RayTaskError: OSError: [Errno 28] No space left on device",
    ],
)
def test_it_is_known_by_any_of_its_words(error: BaseException | str, tmp_path: Path) -> None:
    assert comes_from_full_disk(error)
    assert comes_from_full_disk(error, tmp_path)


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), ValueError("x"), "its process died"])
def test_other_errors_are_none_where_there_is_room(
    error: BaseException | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not comes_from_full_disk(error)
    assert not comes_from_full_disk(error, tmp_path)
    monkeypatch.setattr(full_disk, "LEAST_FREE", 2**80)
    assert comes_from_full_disk(error, tmp_path), "a disk without room lets programs fail in any words"


def test_the_line_says_where_and_what_to_do() -> None:
    assert full_disk_line("runs/x", RESUME) == (
        "runs/x: No space left on device; free some space, then resume the search"
    )
