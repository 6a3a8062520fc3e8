"""A run, and a trial of it, with all that is known."""

import json
import re
from pathlib import Path

import pytest

from analysis.run_directory.paths import RunDirectory
from tests.conftest import ROOT, Command
from tests.salt_tune.controlled import World
from tests.salt_tune.looking import BEST, begin_run, documented, make_run, write_trials
from tests.salt_tune.made_trials import make_space


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A search that is over."""
    return make_run(tmp_path_factory.mktemp("show") / "done")


def test_a_run_has_what_was_asked_and_its_ranking(run: RunDirectory, here: Command) -> None:
    done, told = here("show", run.path, "--json"), here("show", run.path)
    assert (done.returncode, done.stderr, told.returncode, told.stderr) == (0, "", 0, "")
    shown = json.loads(done.stdout)
    assert shown.keys() == documented("show RUN")
    assert (shown["asked"]["command"], shown["best"]) == (["search", "--trials", "6"], BEST)
    assert [row["rank"] for row in shown["ranking"]][:2] == [1, 2]
    assert shown["ranking"][0]["parameters"]["lr"] > 0
    assert "search --trials 6" in told.stdout and "fingerprint ffffffffffff" in told.stdout


def test_a_trial_has_its_values_reports_and_decisions(run: RunDirectory, here: Command) -> None:
    shown = json.loads(here("show", run.path, BEST, "--json").stdout)
    assert documented("show RUN TRIAL") <= shown.keys()
    assert (shown["trial"], shown["state"], shown["traceback"]) == (BEST, "complete", None)
    assert shown["config"]["lr"] > 0 and len(shown["reports"]) == 6
    assert [line["event"] for line in shown["decisions"]][:2] == ["start", "run"]
    told = here("show", run.path, "T1").stdout
    assert "failed" in told and "OSError: its store has gone" in told


def test_a_decision_has_what_was_expected_as_documented(tmp_path: Path, here: Command) -> None:
    schedule = {"scheduler": "freeze_thaw", "epochs": 3, "first_rung": 0.5, "reports": 6}
    made = make_run(tmp_path / "run", World(make_space(trials=8, searcher="random", schedule=schedule)))
    page = (ROOT / "docs" / "run-directory.md").read_text().partition("## A decision\n")[2].partition("\n## ")[0]
    fields = set(re.findall(r"`(\w+)`", page.partition("\n\n`freeze_thaw`")[0]))
    lines = []
    for number in range(8):
        lines += json.loads(here("show", made.path, f"T{number}", "--json").stdout)["decisions"]
    assert {name for line in lines for name in line} <= fields | {"event"}
    expected = [line for line in lines if "predicted" in line]
    assert {line["event"] for line in expected} <= {"run", "drop", "left"} and len(expected) >= 4
    assert all(0 <= line["chance"] <= 1 and line["predicted_sd"] > 0 for line in expected)


def test_an_unknown_trial_is_a_line(run: RunDirectory, here: Command) -> None:
    done = here("show", run.path, "T99")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "trial 'T99': must be one of T0, " in done.stderr


@pytest.mark.parametrize("trials", [0, 1, 1000])
def test_runs_of_any_size(tmp_path: Path, here: Command, trials: int) -> None:
    begun = begin_run(tmp_path / "run")
    write_trials(begun, trials)
    begun.reports.write_bytes(begun.reports.read_bytes() + b'{"trial": "T0", "reso')  # it is being written
    done = here("show", begun.path, "--json")
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("warning: ") and "was cut off" in done.stderr
    shown = json.loads(done.stdout)
    assert len(shown["ranking"]) == trials and shown["best"] is None
    told = here("status", begun.path)
    assert (told.returncode, told.stderr) == (0, "")


def test_only_failures(tmp_path: Path, here: Command) -> None:
    begun = begin_run(tmp_path / "run")
    write_trials(begun, 2, failed=True)
    for words in (("show", begun.path), ("status", begun.path), ("show", begun.path, "T1"), ("suggest", begun.path)):
        done = here(*words)
        assert (done.returncode, done.stderr) == (0, "") and "\x1b" not in done.stdout
    assert "gone \\x1b[2J" in here("show", begun.path, "T1").stdout
