"""Processes that hold the lock of a run, for tests of the commands that look at runs."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from salt_tune.runs.holder import Holder
from tests.conftest import ROOT

HOLDER = """
import signal
import sys
from pathlib import Path
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
from salt_tune.runs.lock import locked
with locked(Path(sys.argv[1]), goes_on=tuple(sys.argv[3:])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(lock: Path, *goes_on: str, stubborn: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a lock until it is told to end; a stubborn one does not care for SIGTERM."""
    words = [sys.executable, "-c", HOLDER, str(lock), "stubborn" if stubborn else "", *goes_on]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def rewrite(lock: Path, **changes: Any) -> Holder:
    """Changes what the file of a lock says of its holder; what it said."""
    said = Holder.read(lock)
    assert said is not None
    lock.write_bytes(replace(said, **changes).line())
    return said
