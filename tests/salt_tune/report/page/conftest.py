"""Pages of small runs."""

from pathlib import Path

import pytest

from analysis import Run, load
from salt_tune.report.page.page import write_page
from salt_tune.write_report import sources
from tests.analysis.fake_run import summary, write_run
from tests.analysis.made_search import spread, write_search

NASTY = "<script>alert('x')</script> \U0001f600 \x1b[31m"


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search with complete, pruned, failed and diverged trials and replicates, whose names are nasty."""
    trials = [{**trial, "error": NASTY} if trial["state"] == "failed" else trial for trial in summary()["trials"]]
    folder = tmp_path_factory.mktemp("runs") / "fake"
    directory = write_run(folder, trials=trials, store={"path": f"/stores/{NASTY}", "view_hash": "abc"})
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
