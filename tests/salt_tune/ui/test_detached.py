"""A command that is detached is watched until it has settled, and then goes on without whatever started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, complaints

# A command that says where it is in its folder, and waits there for what the test puts into it.
COMMAND = """
import os, subprocess, sys, time
from pathlib import Path
import click
from salt_tune.options import detach_flag
from salt_tune.ui.commands import Command
from salt_tune.ui.console import console
from trainable.errors import UserError

def wait_for(path):
    while not path.exists():
        time.sleep(0.01)

@click.command(cls=Command)
@click.argument("how")
@click.option("--run", type=Path)
@detach_flag("small")
def main(how, run, *, settled):
    console.print("begins")
    (run / "pid").write_text(str(os.getpid()))
    (run / "begun").touch()
    if how == "wrong":
        raise UserError("run: is wrong")
    if how == "nothing":
        console.print("nothing to do")
        return 0
    if how == "killed":
        os.abort()
    wait_for(run / "go")
    settled(run, run / "log.txt")
    console.print("goes on")
    program = "import os; print(*sorted(name for name in os.environ if name.startswith('SALT_TUNE')), 'none')"
    subprocess.run([sys.executable, "-c", program])
    print(os.getsid(0) == os.getpid(), os.read(0, 1), flush=True)
    print("to stderr", file=sys.stderr)
    (run / "settled").touch()
    wait_for(run / "end")
    console.print("ends")

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "small.py").write_text(COMMAND, encoding="utf-8")
    yield tmp_path
    if (pid := tmp_path / "pid").exists() and is_there(pid):
        os.kill(int(pid.read_text()), signal.SIGKILL)


def begin(folder: Path, how: str, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "small", how, "--run", str(folder), "--detach", *more],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def is_there(pid: Path) -> bool:
    stat = Path(f"/proc/{pid.read_text()}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pid: Path) -> None:
    limit = time.monotonic() + 300
    while is_there(pid):
        assert time.monotonic() < limit, "it does not end"
        time.sleep(0.01)


def wait_for(path: Path, process: subprocess.Popen[str] | None = None) -> None:
    limit = time.monotonic() + 300
    while not path.exists():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < limit, f"{path} does not come"
        time.sleep(0.01)


SAID = ["begins", "goes on", "none", "True b''", "to stderr"]


def test_it_settles_and_the_command_ends_well(folder: Path) -> None:
    (folder / "go").touch()
    process = begin(folder, "settles")
    output, errors = process.communicate(timeout=300)
    assert (process.returncode, complaints(errors)) == (0, "")
    pid = (folder / "pid").read_text()
    assert output.splitlines() == [
        "begins",
        f"{folder}: runs as process {pid}, without this terminal",
        f"look:  python -m salt_tune.status {folder}",
        f"read:  python -m salt_tune.logs {folder} --follow",
        f"stop:  python -m salt_tune.stop {folder}",
    ]
    wait_for(folder / "settled")
    header, *said = (folder / "log.txt").read_text().splitlines()
    assert header.startswith(f"--- process {pid}, ") and said == SAID
    os.kill(int(pid), signal.SIGHUP)  # of a terminal that is closed
    assert is_there(folder / "pid")
    (folder / "end").touch()
    wait_until_gone(folder / "pid")
    assert (folder / "log.txt").read_text().splitlines() == [header, *SAID, "ends"]
    again = begin(folder, "settles")
    assert again.communicate(timeout=300)[1] == "" and again.returncode == 0
    wait_until_gone(folder / "pid")
    assert (folder / "log.txt").read_text().count("--- process ") == 2


@pytest.mark.parametrize(
    ("how", "code", "output", "errors"),
    [
        ("wrong", 2, "begins\n", "error: run: is wrong\n"),
        ("nothing", 0, "begins\nnothing to do\n", ""),
        ("killed", 128 + signal.SIGABRT, "begins\n", ""),
    ],
)
def test_one_that_ends_before_is_as_if_it_had_not_been_detached(
    folder: Path, how: str, code: int, output: str, errors: str
) -> None:
    process = begin(folder, how)
    assert (*process.communicate(timeout=300), process.returncode) == (output, errors, code)
    assert not (folder / "log.txt").exists()


def test_a_wrong_flag_starts_nothing(folder: Path) -> None:
    process = begin(folder, "settles", "--detatch")
    output, errors = process.communicate(timeout=300)
    assert (process.returncode, output, errors.count("\n")) == (2, "", 1) and "--detach" in errors
    assert not (folder / "begun").exists()


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_before_it_has_settled_ends_it(folder: Path, number: int, code: int, word: str) -> None:
    process = begin(folder, "settles")
    wait_for(folder / "begun", process)
    process.send_signal(number)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == code
    assert output in ("", "begins\n") and set(errors.split()) == {word}
    wait_until_gone(folder / "pid")
    (folder / "go").touch()
    assert not (folder / "log.txt").exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_it_goes_on_where_what_started_it_is_killed(folder: Path, number: int) -> None:
    process = begin(folder, "settles")
    wait_for(folder / "begun", process)
    os.killpg(process.pid, number)  # as a shell that logs out does to its jobs
    process.communicate(timeout=300)
    assert process.returncode == -number
    (folder / "go").touch()
    wait_for(folder / "settled")
    assert (folder / "log.txt").read_text().splitlines()[1:] == SAID
    (folder / "end").touch()
    wait_until_gone(folder / "pid")


def test_it_goes_on_where_nobody_reads_what_it_says(folder: Path) -> None:
    process = begin(folder, "settles")
    wait_for(folder / "begun", process)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    (folder / "go").touch()
    assert (process.wait(300), process.stderr.read()) == (0, "")
    wait_for(folder / "settled")
    assert is_there(folder / "pid")
