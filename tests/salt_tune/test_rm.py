"""A run is removed whole, after a question, and never under a process that holds it."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, Command
from tests.salt_tune.looking import begin_run, documented
from tests.salt_tune.watching import held


def test_it_removes_what_was_asked_and_nothing_else(tmp_path: Path, here: Command) -> None:
    run, other = begin_run(tmp_path / "runs" / "one"), begin_run(tmp_path / "runs" / "two")
    (run.final("T0", 9).path).mkdir(parents=True)
    size = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    asked = here("rm", run.path)
    assert (asked.returncode, asked.stdout, asked.stderr.count("\n")) == (2, "", 1)
    assert f"({size:,} bytes) and 1 promoted model will be removed" in asked.stderr.replace(",", ",")
    done = here("rm", run.path, "--yes", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert shown.keys() == documented("rm") and shown["finals"] == ["T0-9epochs"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["two"] and other.manifest.exists()


def test_a_run_that_is_held_stays(tmp_path: Path, here: Command) -> None:
    run = begin_run(tmp_path / "one")
    final = run.final("T0", 9)
    final.path.mkdir(parents=True)
    for lock in (run.lock, final.lock):
        with held(lock) as process:
            done = here("rm", run.path, "--yes")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert f"process {process.pid} holds it" in done.stderr
        assert run.manifest.exists()


def test_a_folder_that_is_no_run_stays(tmp_path: Path, here: Command) -> None:
    (tmp_path / "photos").mkdir()
    done = here("rm", tmp_path / "photos", "--yes")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and (tmp_path / "photos").is_dir()


def test_at_a_terminal_it_asks(tmp_path: Path) -> None:
    run = begin_run(tmp_path / "one")
    for answer, left in (("n", True), ("y", False)):
        ours, theirs = pty.openpty()
        words = [sys.executable, "-m", "salt_tune.rm", str(run.path)]
        with subprocess.Popen(words, cwd=ROOT, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            os.write(ours, f"{answer}\n".encode())
            output, _ = process.communicate(timeout=120)
        os.close(ours)
        os.close(theirs)
        assert b"will be removed" in output and run.path.exists() is left
        assert process.returncode == (2 if left else 0)
