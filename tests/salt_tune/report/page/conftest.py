"""Pages of small runs, and a browser that opens them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis import Run, load
from salt_tune.report.page.page import write_page
from salt_tune.stores.data_on_page import describe_data
from tests.analysis.fake_run import summary, write_run
from tests.analysis.made_search import spread, write_search

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
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
    write_page({"forty": forty}, forty.directory.path / "page.html", describe_data)
    return forty.directory.path / "page.html"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window, from the system's packages."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        # Without its sandbox it also starts as root, as in a container; it opens our own files alone.
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()
