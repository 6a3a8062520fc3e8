"""Reads files of JSON objects, one a line; their writer may have died in the last one."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis.errors import RunError


def read_lines(path: Path, *, live: bool = False) -> list[dict[str, Any]]:
    """Reads all whole lines; no file is no lines.

    Args:
        path: the file.
        live: another process may be writing: a last line that is cut off is left alone. Otherwise its writer has died
            in it, and it is taken away from the file.

    Raises:
        RunError: a line is no JSON object, or the file cannot be read.
    """
    if not path.is_file():
        return []
    try:
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content) and not live:
            os.truncate(path, whole)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    entries = []
    for number, line in enumerate(content[:whole].split(b"\n")[:-1], start=1):
        with damaged_line(path, number):
            entries.append(dict(json.loads(line)))
    return entries


def cut_last_line(path: Path) -> None:
    """Takes the last line, a whole one, away from a file.

    Raises:
        RunError: the file cannot be changed.
    """
    try:
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n", 0, len(content) - 1) + 1)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error


@contextmanager
def damaged_line(path: Path, number: int) -> Iterator[None]:
    """Raises what goes wrong with a line of `path`, counted from 1, as a `RunError` that names it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path}: line {number} is damaged: {type(error).__name__}: {error}") from error
