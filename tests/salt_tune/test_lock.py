"""One process a run: a second one is refused, and a dead one holds nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from salt_tune.lock import locked
from trainable.errors import UserError

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from salt_tune.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def assert_refused(path: Path, pid: int) -> None:
    with pytest.raises(UserError) as caught, locked(path):
        pass
    message = str(caught.value)
    assert message.startswith(f"{path.parent}: ") and f"process {pid} " in message and "\n" not in message


def test_a_second_process_is_refused_until_the_first_leaves(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_process(path) as holder:
        assert_refused(path, holder.pid)
        assert_refused(path, holder.pid)  # who was refused has taken nothing
        holder.communicate("")
        with locked(path):
            assert path.read_text() == f"{os.getpid()}\n"


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_process(path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert path.read_text() == f"{holder.pid}\n"
        with locked(path):
            pass


def test_an_error_gives_the_lock_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(KeyboardInterrupt), locked(path):
        raise KeyboardInterrupt
    with locked(path):
        assert_refused(path, os.getpid())


def test_what_the_file_said_before_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("123456789012345678901234567890\n" * 3)
    with locked(path):
        assert path.read_text() == f"{os.getpid()}\n"
        with locked(tmp_path / "another"):
            pass


def test_programs_that_the_holder_starts_do_not_hold_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with child, locked(path):
        child.kill()
