"""Output that is read no more, or that was closed from the beginning, ends a command in order."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = """
import sys, threading, time
import click
from salt_tune.console import INTERRUPTED, Deserted, OneLineErrors, console

def chatter():
    for number in range(2000):
        console.print(f"line {number} {'x' * 500}")

@click.command(cls=OneLineErrors)
@click.argument("how")
def main(how):
    if how == "thread":
        thread = threading.Thread(target=chatter)
        thread.start()
        thread.join()
        time.sleep(60)
    elif how == "handled":
        try:
            chatter()
        except Deserted:
            console.print("nobody reads this")
            console.last_words("To go on: do this")
            return INTERRUPTED
    else:
        chatter()
    return 0

main()
"""


def run(how: str, redirected: str) -> "subprocess.CompletedProcess[str]":
    script = f'set -o pipefail; "$0" -c "$1" "$2" {redirected}'
    words = ["/bin/bash", "-c", script, sys.executable, COMMAND, how]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("how", ["plain", "thread"])
def test_a_reader_that_leaves_interrupts_the_command(how: str) -> None:
    done = run(how, "| head -2")
    assert done.returncode == 130
    assert [line[:6] for line in done.stdout.splitlines()] == ["line 0", "line 1"]
    assert done.stderr.strip() == "interrupted, as its output is read no more; the same command goes on"
    assert how == "thread" or done.stderr.count("\n") == 1


def test_the_last_words_go_to_the_standard_error() -> None:
    done = run("handled", "| head -1")
    assert (done.returncode, done.stderr) == (130, "To go on: do this\n")


def test_without_a_standard_error_either_it_ends_in_silence() -> None:
    done = run("handled", "2>&- | head -1")
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (130, 1, "")


def test_a_standard_output_that_is_closed_is_refused_in_a_line() -> None:
    done = run("plain", ">&-")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the standard output is closed; send it to a file, or to /dev/null\n"
    assert run("plain", ">&- 2>&-").returncode == 2


def test_a_standard_input_that_is_closed_is_nothing_special() -> None:
    done = run("handled", "<&- | tail -1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("line 1999 ")


def test_no_file_takes_the_place_of_a_closed_stream() -> None:
    program = "import os; import salt_tune.console; assert os.open('/dev/null', os.O_RDONLY) > 2"
    done = subprocess.run(
        ["/bin/bash", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, program], cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == 0
