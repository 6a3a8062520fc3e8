"""The list of runs, whatever lies beside them."""

import json
from pathlib import Path

from tests.conftest import Command
from tests.salt_tune.looking import BEST, begin_run, documented, make_run, write_trials
from tests.salt_tune.watching import held


def test_each_run_is_a_row_whatever_state_it_is_in(tmp_path: Path, here: Command) -> None:
    make_run(tmp_path / "runs" / "done", created="2026-12-02T10:00:00+00:00")
    begin_run(tmp_path / "runs" / "empty [red]\U0001f600")
    write_trials(begin_run(tmp_path / "runs" / "failures"), 3, failed=True)
    begin_run(tmp_path / "runs" / "other", format_version=1)
    going = begin_run(tmp_path / "runs" / "going")
    begin_run(tmp_path / "runs" / "x\x1b[2J\u202e", created="2026-12-03T10:00:00+00:00")
    (tmp_path / "runs" / "notes").mkdir()
    with held(going.lock):
        done = here("ls", "--json")
        told = here("ls")
    assert (done.returncode, done.stderr, told.returncode) == (0, "", 0)
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert list(rows) == ["other", "empty [red]\U0001f600", "failures", "going", "done", "x\x1b[2J\u202e"]
    assert all(row.keys() == documented("ls") for row in rows.values())
    assert {name: row["state"] for name, row in rows.items()} == {
        "other": None, "empty [red]\U0001f600": "stopped", "failures": "stopped", "going": "running",
        "done": "finished",
        "x\x1b[2J\u202e": "stopped",
    }  # fmt: skip
    assert (rows["done"]["best"], rows["done"]["begun"], rows["done"]["complete"] > 0) == (BEST, 6, True)
    assert rows["failures"]["best"] is None and rows["failures"]["begun"] == 3
    assert "has format_version 1" in rows["other"]["error"]
    assert "\x1b" not in told.stdout and r"x\x1b[2J\u202e" in told.stdout
    assert "empty [red]\U0001f600" in told.stdout and "6/6" in told.stdout


def test_no_folder_and_no_runs_are_a_line(tmp_path: Path, here: Command) -> None:
    done = here("ls")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "runs: no such folder" in done.stderr
    (tmp_path / "runs").mkdir()
    assert here("ls").stdout == "runs: no runs yet\n"
