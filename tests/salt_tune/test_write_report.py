"""`salt-tune report` writes one file, or says in one line why not."""

import json
from pathlib import Path

import pytest

from analysis.run_directory.paths import FORMAT_VERSION
from tests.analysis.fake_run import write_run
from tests.conftest import Command


def test_the_page_lies_in_the_run_and_is_named(here: Command, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    done = here("write_report", "run")
    assert done.returncode == 0 and done.stdout.startswith(f"{run.path}/report.html: ")
    assert (run.path / "report.html").read_text().startswith("<!doctype html>")


def test_several_runs_are_one_page(here: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name)
    assert here("write_report", "a", "b", "--out", "both.html").returncode == 0
    assert "The runs beside each other" in (tmp_path / "both.html").read_text()


def test_a_run_that_is_being_written_is_a_page_with_a_warning(here: Command, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with run.reports.open("a") as file:
        file.write('{"trial": "T0", "reso')
    done = here("write_report", "run")
    assert done.returncode == 0 and "was cut off and is left out" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none"], "none: no such folder, and must be the run directory of a search"),
        (["run", "--out", "none/page.html"], "--out none/page.html: there is no folder none; make it"),
        (["run", "--out", "run"], "--out run: is a folder, and must be a file"),
        (["run", "--port", "1"], "--port: is of --follow, which is not given"),
        (["run", "--follow", "--out", "x.html"], "--out: cannot be given with --follow, which writes no file"),
        (["old"], f"summary.json: format_version is 99, and must be {FORMAT_VERSION}"),
    ],
)
def test_what_cannot_be_done_is_one_line(here: Command, tmp_path: Path, words: list[str], message: str) -> None:
    write_run(tmp_path / "run")
    old = write_run(tmp_path / "old")
    old.summary.write_text(json.dumps({**json.loads(old.summary.read_text()), "format_version": 99}))
    done = here("write_report", *words)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("*.html"))
