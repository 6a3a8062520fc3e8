"""What a real search prints as JSON lines and with --quiet, and what it leaves for the next session."""

import json
from pathlib import Path

import pytest
import yaml

from analysis.run_directory.paths import RunDirectory, read_manifest
from tests.conftest import Command
from tests.toy_task import SPACE

pytestmark = pytest.mark.slow  # callbacks/test_json_lines.py and controller/test_following.py cover its parts


def test_json_lines_and_nothing_else_then_quiet(tmp_path: Path, command: Command) -> None:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    (tmp_path / "data").mkdir()
    note = f"echo $SALT_TUNE_EVENT >> {tmp_path}/notes"
    given = ("--space", "space.yaml", "--store", "data", "--name", "one", "--trials", 2, "--replicates", 0, "--no-git")
    done = command("search", *given, "--json-lines", "--notify", note, "--time-limit", "1h", "--tensorboard")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [lines[0]["event"], lines[-1]["event"], lines[-1]["over"]] == ["search_start", "search_end", True]
    assert sum(line["event"] == "trial_end" for line in lines) == 2
    assert all(line.startswith("warning: ") for line in done.stderr.splitlines())
    run = RunDirectory(tmp_path / "runs" / "one")
    session = read_manifest(run)["session"]
    assert (session["notify"], session["tensorboard"], session["limits"]["seconds"]) == (note, True, 3600.0)
    again = command("search", "--resume", run.path, "--extend", 1, "--quiet")
    assert (again.returncode, again.stdout) == (0, "")
    assert (tmp_path / "notes").read_text().splitlines().count("end") == 1, "its command is given anew"
    assert {path.name for path in run.tensorboard.iterdir()} == {"T0", "T1", "T2"}
    assert read_manifest(run)["session"]["limits"]["seconds"] is None
