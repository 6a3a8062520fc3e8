"""What is shown while a search runs: plain lines where it is piped, a table on a terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

import salt_tune.callbacks.live_table
from analysis.run_directory.trials import TrialRecord
from salt_tune.callbacks.live_table import LiveTable
from salt_tune.space.search_space import SearchSpace
from tests.salt_tune.made_records import make_record, make_report, make_space


def tell(
    table: LiveTable, record: TrialRecord, space: SearchSpace, *points: float, loss: float | None = 0.5, **changes: Any
) -> None:
    """A trial trains: it starts or goes on, and reports."""
    record.state = "running"
    table.on_start(record)
    for point in points:
        report = make_report(point, loss, **changes)
        record.add(report, space)
        table.on_report(record, report)


def end(table: LiveTable, record: TrialRecord, state: str, error: str | None = None) -> None:
    record.state, record.error = state, error
    table.on_end(record)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_piped_rungs_and_whole_epochs_are_lines_and_so_are_pauses(capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    with LiveTable({}, space) as table:
        record = make_record("T0", space=space, state="waiting")
        tell(table, record, space, 0.25, 0.5)
        end(table, record, "paused")
        tell(table, record, space, 0.75, 1.0, 2.0)
        tell(table, record, space, 2.5, 3.0)  # its process had died
        end(table, record, "finished")
    losses = "val_loss 0.5000  val_r2 0.233  210 clips/s"
    assert lines(capsys) == [
        "T0   starts    lr 0.001",
        f"T0   epoch 0.5   {losses}",
        "T0   paused at 0.5",
        "T0   goes on to 1",
        f"T0   epoch 1   {losses}",
        f"T0   epoch 2   {losses}",
        "T0   goes on to 3",
        f"T0   epoch 3   {losses}",
        "T0   finished after 3 epochs",
    ]


def test_piped_ends_have_their_reason_and_resources_their_unit(capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space(schedule={"tflops": 9000, "rungs": [1000], "reports": 9})
    with LiveTable({}, space) as table:
        names = ("T0", "T1", "T2")
        failed, diverged, interrupted = (make_record(name, space=space, parameters={}) for name in names)
        tell(table, failed, space, 1000)
        end(table, failed, "failed", "the disk is full")
        tell(table, diverged, space, 1000, 2000, loss=None)
        end(table, diverged, "diverged")
        end(table, interrupted, "interrupted")  # it never began
    assert lines(capsys) == [
        "T0   starts",
        "T0   TFLOP 1,000   val_loss 0.5000  val_r2 0.233  210 clips/s",
        "T0   failed after 1,000 TFLOP: the disk is full",
        "T1   starts",
        "T1   diverged after 2,000 TFLOP",
    ]


def test_an_error_that_names_a_clip_is_a_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    with LiveTable({}, space) as table:
        end(table, make_record("T0", space=space), "failed", "clip 'a\x1b[2J\nb\u202e' differs")
    assert lines(capsys)[-1].endswith(r"clip 'a\x1b[2J\nb\u202e' differs")


def test_the_table_shows_trials_that_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    terminal = Console(file=drawn, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(salt_tune.callbacks.live_table, "console", terminal)
    space = make_space(objective={"val_loss": 0.5, "probe_top1": 0.5}, schedule={"seconds": 60, "reports": 6})
    records: dict[str, TrialRecord] = {}
    with LiveTable(records, space) as table:
        records["T0"] = make_record("T0", space=space, state="waiting")
        tell(table, records["T0"], space, 10.0, probe_top1=0.3, effective_rank=4.0)
        end(table, records["T0"], "paused")
        records["T1"] = make_record("T1", space=space, state="waiting", parameters={})
    text = drawn.getvalue()
    assert "goes on" not in text and "starts" not in text
    assert "seconds" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["T0", "0.001", "10", "0.1", "210", "paused"] in rows
    assert ["T1", "-", "-", "-", "-", "waiting"] in rows
