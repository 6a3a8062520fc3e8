"""What reaches a terminal is text, and names of any kind take no effect there; a closed output ends in order."""

import io
import subprocess
import sys

import pytest
from rich.table import Table
from rich.text import Text

from salt_tune.ui.console import PlainConsole, fail
from salt_tune.ui.format import heading
from tests.conftest import ROOT

HOSTILE = "a\x1b[31m\nb\t\x07\x9b\u202e\ud800"
SHOWN = r"a\x1b[31m\nb\t\x07\x9b\u202e\ud800"


def terminal() -> tuple[PlainConsole, io.StringIO]:
    written = io.StringIO()
    return PlainConsole(file=written, force_terminal=True, color_system="standard", width=200), written


def test_a_line_is_printed_letter_by_letter() -> None:
    console, written = terminal()
    console.print(f"clip {HOSTILE}")
    console.print("[bold]x[/bold] :dog: 走る 12")
    assert written.getvalue() == f"clip {SHOWN}\n[bold]x[/bold] :dog: 走る 12\n"


def test_a_table_keeps_its_rows_its_columns_and_its_styles() -> None:
    console, written = terminal()
    table = Table(box=None, pad_edge=False)
    table.add_column(heading("mask_ratio"))
    table.add_column("state")
    table.add_row(HOSTILE, Text("running", "cyan"))
    table.add_row("y" * len(SHOWN), "z")
    console.print(table)
    lines = written.getvalue().splitlines()
    assert len(lines) == 4, "two of the heading, which breaks its line itself"
    assert lines[2].startswith(SHOWN) and "\x1b[36mrunning" in lines[2]
    assert lines[3].index("z") == lines[2].index("\x1b[36m") == len(SHOWN) + 2


@pytest.mark.parametrize("message", [f"{HOSTILE}: no such file", f"  {HOSTILE}: no such file\n"])
def test_an_error_is_one_line_and_names_the_file_as_it_is(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        fail(message)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {SHOWN}: no such file\n"


COMMAND = """
import sys, threading, time
import click
from salt_tune.ui.console import INTERRUPTED, Deserted, OneLineErrors, console

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
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)


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
    program = "import os; import salt_tune.ui.console; assert os.open('/dev/null', os.O_RDONLY) > 2"
    done = subprocess.run(
        ["/bin/bash", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, program], cwd=ROOT, check=False, timeout=600
    )
    assert done.returncode == 0


def test_hushed_it_says_warnings_and_last_words_on_the_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    hushed = PlainConsole()
    hushed.print("before")
    hushed.hush()
    hushed.print("nothing")
    hushed.warn("clip 'a\x1b' is gone")
    hushed.last_words("To go on: ...")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("before\n", "warning: clip 'a\\x1b' is gone\nTo go on: ...\n")


@pytest.mark.parametrize(("shown", "aside"), [(False, False), (False, True), (True, False), (True, True)])
def test_a_warning_stands_on_the_standard_error_unless_both_are_terminals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, shown: bool, aside: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: aside)
    PlainConsole(force_terminal=shown).warn("clip 'a\x1b' is gone")
    said, line = capsys.readouterr(), "warning: clip 'a\\x1b' is gone\n"
    assert (said.out, said.err) == ((line, "") if shown and aside else ("", line))
