"""What people see of study.db in `optuna-dashboard`: the search's best trial, its states and the metric's name."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from analysis.run_directory.ranking import standing
from analysis.run_directory.trials import TrialState
from tests.salt_tune.callbacks.test_optuna_study import Search, complete

pytestmark = pytest.mark.slow  # a browser, for what Optuna says of the same file in a moment


class Quiet(WSGIRequestHandler):
    """Says nothing of single requests."""

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def search(tmp_path: Path) -> Search:
    """A search whose highest value is of a collapsed trial, with a replicate, a pruned and a failed trial."""
    search = Search(tmp_path / "study.db")
    complete(search, "T0", 0.5, verdict="collapsed")
    complete(search, "T1", 0.48)
    complete(search, "T1-seed1", 0.46, seed=6, replicate_of="T1")
    complete(search, "T2", 0.2)
    for name, state in (("T3", TrialState.PRUNED), ("T4", TrialState.FAILED)):
        search.start(name)
        search.report(name, 1.0, 0.1)
        search.end(name, state, "of its own")
    search.leave()
    return search


@pytest.fixture
def address(search: Search, tmp_path: Path) -> Iterator[str]:
    """Where the dashboard shows it."""
    dashboard = pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard")
    application = dashboard.wsgi(f"sqlite:///{tmp_path / 'study.db'}")
    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/dashboard/studies/1"
        server.shutdown()
        thread.join()


def test_it_shows_what_the_search_says(search: Search, address: str, browser: Any) -> None:
    winner = standing(search.trials.values())[0].id
    assert winner == "T1"
    page = browser.new_page()
    page.goto(address)
    card = page.locator(".MuiCard-root", has_text="Best Trial (number=").last
    assert "Best Trial (number=1)\n0.47" in card.inner_text()
    page.get_by_text("val_r2").first.wait_for()  # the metric is named
    assert "Objective 0" not in page.inner_text("body")
    page.goto(f"{address}/trials?numbers=1")
    page.get_by_text(f"trial {winner}").wait_for()
    entries = page.locator("li", has_text=re.compile(r"^Trial \d"))
    assert [each.inner_text().split("\n") for each in entries.all()] == [
        ["Trial 0", "Pruned"],  # it ranks behind, as its attributes say
        ["Trial 1", "Complete", "Best Trial"],
        ["Trial 2", "Complete"],
        ["Trial 3", "Pruned"],
        ["Trial 4", "Fail"],
    ]
    page.close()
