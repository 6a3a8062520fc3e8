"""What reaches a terminal is text: names of any kind are shown, and none takes effect."""

import io

import pytest
from rich.table import Table
from rich.text import Text

from salt_tune.console import PlainConsole, fail, progress
from salt_tune.progress import heading

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


def test_progress_and_status_still_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    console, written = terminal()
    monkeypatch.setattr("salt_tune.console.console", console)
    with progress("decode", 2) as advance:
        advance(2)
    assert "decode" in written.getvalue() and "2/2" in written.getvalue()


@pytest.mark.parametrize("message", [f"{HOSTILE}: no such file", f"  {HOSTILE}: no such file\n"])
def test_an_error_is_one_line_and_names_the_file_as_it_is(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        fail(message)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {SHOWN}: no such file\n"
