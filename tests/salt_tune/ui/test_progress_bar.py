"""How far a stage is: a bar on a terminal, lines when piped."""

import io

import pytest

from salt_tune.ui import progress_bar
from salt_tune.ui.console import PlainConsole
from salt_tune.ui.progress_bar import progress


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    terminal = PlainConsole(file=written, force_terminal=True, color_system="standard", width=200)
    monkeypatch.setattr(progress_bar, "console", terminal)
    with progress("decode", 2) as advance:
        advance(2)
    assert "decode" in written.getvalue() and "2/2" in written.getvalue()


def test_a_pipe_gets_a_line_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("repair", 3, done=1, unit="rows") as advance:
        advance(2)
    with progress("verify", 3_500_000, unit="bytes") as advance:
        advance(3_500_000)
    rows, size = capsys.readouterr().out.splitlines()
    assert rows.startswith("repair    3/3 rows, ") and rows.endswith(" rows/s")
    assert size.startswith("verify    3.5 MB of 3.5 MB, ") and size.endswith("/s")


def test_a_long_stage_gets_a_line_a_minute(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "LINE_EVERY", -1)
    with progress("decode", 10) as advance:
        advance(5)
    first, _ = capsys.readouterr().out.splitlines()
    assert first.startswith("decode    5/10 clips, ") and first.endswith(" left")
