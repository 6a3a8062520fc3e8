"""Kills (SIGKILL) what changes a folder at chosen moments, lets it go on, and says what came of it.

The moments are the changes to files below the folder, as Python's audit hooks report them: a process is killed just
before one of them. Processes are forked off one that has imported everything and computed nothing, which is this
module as a command. Decoding workers import it as well, so it imports no torch.
"""

import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")

Work = Callable[[Path, Path], None]
OnChange = Callable[[str], None]


def kill_often(
    work: str, template: Path, argument: Path, *, step: int = 1, always: str = "", never: str = ""
) -> dict[str, str]:
    """Runs some work on copies of a folder: killed before a change, then again to its end.

    Args:
        work: "MODULE:FUNCTION" of a function of the copy and `argument`.
        template: the folder to copy, beside which the copies are made.
        argument: whatever the function needs.
        step: it is killed before every so manieth change.
        always: it is killed before all changes to files and folders whose names match this expression, too.
        never: it is not killed before changes to these.

    Returns:
        The hash of the folder's content by the number and the name of the change; that without a kill under "".
    """
    answer = _run("often", work, template, argument, str(step), always, never)
    contents: dict[str, str] = json.loads(answer.splitlines()[-1])
    return contents


def kill_before(work: str, folder: Path, argument: Path, name: str) -> None:
    """Runs some work on a folder and kills it before the first change to a file whose name matches."""
    _run("before", work, folder, argument, name)


def content_hash(folder: Path) -> str:
    """SHA-256 of the names and contents of all files and folders below a folder."""
    hashed = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        hashed.update(f"{path.relative_to(folder)}\0".encode())
        hashed.update(hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"folder")
    return hashed.hexdigest()


def _run(how: str, work: str, folder: Path, argument: Path, *more: str) -> str:
    command = [sys.executable, "-m", "tests.trainable.data.kills", how, work, str(folder), str(argument), *more]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _fork(work: Work, folder: Path, argument: Path, on_change: OnChange | None = None) -> bool:
    """Runs the work in a process of its own; says whether that was killed."""
    process = os.fork()
    if not process:
        try:
            if on_change is not None:
                _watch(folder, on_change)
            work(folder, argument)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, -signal.SIGKILL), f"{folder}: the process ended with {status}"
    return status != 0


def _watch(folder: Path, on_change: OnChange) -> None:
    """Calls `on_change` with the name of whatever is about to be changed below the folder."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in CHANGES:
            # shutil.rmtree names files below a folder that it has open.
            parent = "/" if event == "open" or arguments[-1] < 0 else f"/proc/self/fd/{arguments[-1]}"
            path = Path(os.path.realpath(parent), arguments[0])
            if path.is_relative_to(folder):
                on_change(re.sub(r"^\.(.+)\.[0-9a-f]{8}\.tmp$", r"\1", path.name))

    sys.addaudithook(hook)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_before(work: Work, folder: Path, argument: Path, name: str) -> None:
    def on_change(changed: str) -> None:
        if re.fullmatch(name, changed):
            _kill()

    assert _fork(work, folder, argument, on_change), f"{name}: not changed"


def _kill_often(work: Work, template: Path, argument: Path, step: str, always: str, never: str) -> None:
    copy, log = template.with_name(f"{template.name}-copy"), template.with_name(f"{template.name}-changes")

    def try_once(on_change: OnChange) -> str:
        shutil.copytree(template, copy)
        if _fork(work, copy, argument, on_change):
            assert not _fork(work, copy, argument)
        content = content_hash(copy)
        shutil.rmtree(copy)
        return content

    def note(name: str) -> None:
        with log.open("a") as file:
            file.write(f"{name}\n")

    contents = {"": try_once(note)}
    for number, name in enumerate(log.read_text().splitlines()):
        if (number % int(step) == 0 or re.fullmatch(always, name)) and not re.fullmatch(never, name):
            seen: list[str] = []

            def at_that_change(changed: str, seen: list[str] = seen, number: int = number) -> None:
                seen.append(changed)
                if len(seen) > number:
                    _kill()

            contents[f"{number} {name}"] = try_once(at_that_change)
    log.unlink()
    print(json.dumps(contents))


if __name__ == "__main__":
    how, work, *rest = sys.argv[1:]
    module, _, function = work.partition(":")
    importlib.import_module("pyarrow.dataset")  # with pandas: imported once here, not in every process
    commands: dict[str, Callable[..., None]] = {"often": _kill_often, "before": _kill_before}
    commands[how](getattr(importlib.import_module(module), function), *map(Path, rest[:2]), *rest[2:])
