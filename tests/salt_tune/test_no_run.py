"""What the commands that look at runs say of folders that are none, or of another version: a line each."""

import json
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.salt_tune.looking import begin_run

LOOKS = {
    "show": (),
    "status": (),
    "watch": (),
    "suggest": (),
    "export": ("--card", "card.md"),
    "reproduce": ("T0",),
    "compare": ("other",),
}


@pytest.mark.parametrize("command", LOOKS)
def test_no_folder_no_run_and_another_version_are_a_line(tmp_path: Path, here: Command, command: str) -> None:
    (tmp_path / "notes").mkdir()
    begin_run(tmp_path / "other", format_version=1)
    broken = begin_run(tmp_path / "broken")
    broken.manifest.write_text("{")
    for name, said in (
        ("nowhere", "nowhere: no such "),
        ("notes", "notes: has no "),
        ("other", "has format_version 1, and this version of salt_tune reads "),
        ("broken", "run.json: not written by a search"),
    ):
        done = here(command, tmp_path / name, *LOOKS[command])
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert done.stderr.startswith("error: ") and said in done.stderr


def test_a_run_of_another_version_can_be_removed(tmp_path: Path, here: Command) -> None:
    other = begin_run(tmp_path / "other", format_version=1)
    assert json.loads(here("rm", other.path, "--yes", "--json").stdout)["run"] == str(other.path)
    assert not other.path.exists()
