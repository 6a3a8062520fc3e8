"""Pages of small runs."""

from pathlib import Path

import pytest

from analysis import Run, load
from salt_tune.report.page.page import write_page
from salt_tune.write_report import sources
from tests.analysis.fake_run import POINTS, TRIALS, summary, write_run
from tests.analysis.fake_steps import write_steps, write_time_slots
from tests.analysis.made_search import spread, write_search

NASTY = "<script>alert('x')</script> \U0001f600 \x1b[31m"


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search with complete, pruned, failed and diverged trials and replicates, whose names are nasty.

    It keeps training steps and losses by time slot.
    """
    trials = [{**trial, "error": NASTY} if trial["state"] == "failed" else trial for trial in summary()["trials"]]
    folder = tmp_path_factory.mktemp("runs") / "fake"
    directory = write_run(folder, trials=trials, store={"path": f"/stores/{NASTY}", "view_hash": "abc"})
    write_steps(directory, TRIALS)
    write_time_slots(directory, TRIALS, POINTS)
    directory.errors.mkdir()
    directory.error("T6").write_text(f"Traceback\n{NASTY}")
    return load(directory.path)


@pytest.fixture(scope="session")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search of 40 trials on two workers, whose loss follows one parameter."""
    folder = tmp_path_factory.mktemp("runs") / "forty"
    return load(write_search(folder, spread(40), lambda values: values["mask_ratio"]).path)


@pytest.fixture(scope="session")
def file(forty: Run) -> Path:
    """The page of `forty`."""
    write_page({"forty": forty}, forty.directory.path / "page.html", sources())
    return forty.directory.path / "page.html"
