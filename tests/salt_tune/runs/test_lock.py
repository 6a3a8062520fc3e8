"""One process a run: a second one is refused, and a dead one holds nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from analysis.run_directory.held import is_held
from salt_tune.runs.holder import Holder
from salt_tune.runs.lock import find_holder, locked, locked_folder, sweep
from tests.conftest import ROOT
from trainable.errors import UserError

HOLDER = """
import sys
from pathlib import Path
from salt_tune.runs.lock import locked, locked_folder, sweep
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


def pid_in(path: Path) -> int:
    holder = Holder.read(path)
    assert holder is not None
    return holder.pid


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
            assert pid_in(path) == os.getpid()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_process(path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert not is_held(path)
        found = find_holder(path)
        assert found is not None and (found.pid, found.alive, found.until) == (holder.pid, False, None)
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
        assert pid_in(path) == os.getpid()
        with locked(tmp_path / "another"):
            pass


def test_a_look_takes_nothing_and_says_who_and_since_when(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path) and find_holder(path) is None
    with another_process(path) as holder:
        with ThreadPoolExecutor() as lookers:
            looks = [lookers.submit(is_held, path) for _ in range(100)]
        assert all(look.result() for look in looks)
        found = find_holder(path)
        assert found is not None and (found.pid, found.alive, found.until) == (holder.pid, True, None)
        assert str(found) == str(holder.pid)
        assert abs(datetime.now().astimezone() - datetime.fromisoformat(found.since)) < timedelta(minutes=5)
    with locked(path, goes_on=("--trial", "T1")):
        pass
    left = find_holder(path)
    assert left is not None and left.goes_on == ("--trial", "T1") and left.until is not None
    assert not is_held(path) and left.alive  # this process, which has given it back


def test_a_later_process_of_the_same_number_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        own = Holder.read(path)
        assert own is not None and own.alive
        assert not replace(own, started=own.started - 1).alive
        assert not replace(own, boot="another").alive
        assert str(replace(own, boot="another", host="node7")) == f"{own.pid} on host node7"
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    stat = Path(f"/proc/{child.pid}/stat").read_text()
    there = replace(own, pid=child.pid, started=int(stat.rpartition(")")[2].split()[19]))
    assert there.alive
    child.kill()
    while "Z" not in Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2]:
        pass
    assert not there.alive  # it has ended, and its parent has not asked how
    child.communicate()
    assert not there.alive


@pytest.mark.parametrize("content", [b"", b"4711\n", b"{}\n", b'{"pid": "x"}', b"\xff\n", b"[]\n", b'{"goes_on": 3}\n'])
def test_a_file_that_says_nothing_names_nobody(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lock"
    path.write_bytes(content)
    assert Holder.read(path) is None and find_holder(path) is None
    with locked(path):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"process \? runs this search"), locked(path):
            pass


def test_programs_that_the_holder_starts_do_not_hold_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with child, locked(path):
        child.kill()


FOLDER_HOLDER = """
import sys
from pathlib import Path
from salt_tune.runs.lock import locked_folder
with locked_folder(Path(sys.argv[1]), "left-") as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def start_folder_holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", FOLDER_HOLDER, str(parent)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_lock_can_say_what_it_is_of_and_leave_nothing(tmp_path: Path) -> None:
    path, run = tmp_path / ".run.lock", tmp_path / "run"
    with locked(path, "is being started by {holder}", of=run, remove=True):
        with pytest.raises(UserError) as caught, locked(path, "is being started by {holder}", of=run, remove=True):
            pass
        assert str(caught.value) == f"{run}: is being started by {os.getpid()}"
        assert path.exists()  # who was refused has taken nothing away
    assert not path.exists()


def test_a_folder_goes_with_its_block_and_is_its_users_alone(tmp_path: Path) -> None:
    with locked_folder(tmp_path, "left-") as folder:
        (folder / "some" / "thing").mkdir(parents=True)
        assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
        sweep(tmp_path, "left-")
        assert (folder / "some" / "thing").exists()
    assert not folder.exists()


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    alive, held = start_folder_holder(tmp_path)
    dead, left = start_folder_holder(tmp_path)
    with alive, dead:
        dead.kill()
        dead.wait()
        others = [tmp_path / "left-without-a-lock", tmp_path / "another"]
        for folder in others:
            folder.mkdir()
        (others[1] / "lock").touch()
        (tmp_path / "left-link").symlink_to(others[1])
        sweep(tmp_path, "left-", keep="run.json")
        assert not left.exists()
        assert held.exists() and all(folder.exists() for folder in others)
        alive.communicate("")
    assert not held.exists()


def test_what_holds_a_run_is_never_swept(tmp_path: Path) -> None:
    dead, left = start_folder_holder(tmp_path)
    (left / "run.json").touch()
    with dead:
        dead.kill()
    sweep(tmp_path, "left-", keep="run.json")
    assert (left / "run.json").exists()


def test_many_sweepers_and_makers_do_not_disturb_each_other(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from salt_tune.runs.lock import locked_folder, sweep\n"
        "for _ in range(100):\n"
        "    sweep(Path(sys.argv[1]), 'left-')\n"
        "    with locked_folder(Path(sys.argv[1]), 'left-') as folder: (folder / 'x').write_text('x')\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0)] * 3
    assert list(tmp_path.iterdir()) == []
