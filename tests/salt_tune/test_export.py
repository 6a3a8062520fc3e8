"""The tables of a run in files of other programs."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

import analysis
from tests.conftest import Command
from tests.salt_tune.looking import BEST, begin_run, documented, make_run

TABLES = documented("export", "table")


def test_its_tables_read_as_they_were(tmp_path: Path, here: Command) -> None:
    run = make_run(tmp_path / "run \U0001f600 {x}")
    done = here("export", run.path, "--csv", "c", "--parquet", "p", "--card", "card.md", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    written = {Path(each["path"]).name: each["rows"] for each in json.loads(done.stdout)}
    assert written.keys() == {f"{name}.{kind}" for name in TABLES for kind in ("csv", "parquet")} | {"card.md"}
    loaded = analysis.load(run.path)
    read = pd.read_parquet(tmp_path / "p" / "trials.parquet")
    assert read["trial"].tolist() == loaded.trials["trial"].tolist() and written["trials.csv"] == len(read) == 6
    decisions = pd.read_csv(tmp_path / "c" / "decisions.csv")
    assert {"predicted", "predicted_sd", "chance"} <= {*decisions.columns} and len(decisions) == len(loaded.decisions)
    assert len(pd.read_csv(tmp_path / "c" / "clip_losses.csv")) == written["clip_losses.parquet"] > 0
    card = (tmp_path / "card.md").read_text()
    assert (
        "# run \U0001f600 {x}\n" in card and "@misc{run-x," in card and f"The best is {BEST}, with val_loss 0." in card
    )
    assert "6 trials," in card and "fingerprint ffff" in card


def test_an_empty_run_has_empty_tables_and_a_card(tmp_path: Path, here: Command) -> None:
    run = begin_run(tmp_path / "run")
    assert here("export", run.path, "--csv", "c", "--card", "card.md").returncode == 0
    assert (
        pd.read_csv(tmp_path / "c" / "trials.csv").empty
        and "No trial is complete" in (tmp_path / "card.md").read_text()
    )


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc").exists(), reason="needs a folder that cannot be written")
def test_what_cannot_be_written_is_a_line(tmp_path: Path, here: Command) -> None:
    run = begin_run(tmp_path / "run")
    (tmp_path / "file").touch()
    for words in (("--csv", tmp_path / "file"), ("--card", "/proc/card.md"), ("--parquet", "/proc/x")):
        done = here("export", run.path, *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "cannot be written" in done.stderr
    assert "one of --csv DIR" in here("export", run.path).stderr
