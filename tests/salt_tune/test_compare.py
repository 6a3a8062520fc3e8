"""Runs and trials beside each other."""

import json
from pathlib import Path

import analysis
from tests.conftest import Command
from tests.salt_tune.looking import BEST, begin_run, make_run


def test_it_prints_what_analysis_compares(tmp_path: Path, here: Command) -> None:
    one, two = make_run(tmp_path / "one"), make_run(tmp_path / "two:2")
    done = here("compare", one.path, f"{one.path}:T2", two.path, f"{two.path}:{BEST}", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    first, second = analysis.load(one.path), analysis.load(two.path)
    wanted = analysis.compare([first, (first, "T2"), second, (second, BEST)])
    assert (
        [row["name"] for row in rows]
        == wanted["name"].tolist()
        == [f"one {BEST}", "one T2", f"two:2 {BEST}", f"two:2 {BEST}"]
    )
    assert rows[0].keys() == set(wanted.columns)
    assert rows[1]["difference"] > 0 and rows[2]["difference"] == 0
    assert "difference: val_loss less that of one " in here("compare", one.path, two.path).stdout


def test_what_cannot_be_compared_is_a_line(tmp_path: Path, here: Command) -> None:
    one, empty = make_run(tmp_path / "one"), begin_run(tmp_path / "empty")
    for words, said in (
        ((one.path,), "at least two runs or trials are needed"),
        ((one.path, f"{one.path}:T77"), "trial 'T77': must be one of"),
        ((one.path, empty.path), "no trial has a score"),
        ((one.path, tmp_path / "nowhere"), "no such folder"),
    ):
        done = here("compare", *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert said in done.stderr
