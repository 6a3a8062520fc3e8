"""One reducer: what a journal says of the trials at any line is what the search itself knew there."""

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.run_directory.events import Trials
from analysis.run_directory.journal import read_events, read_trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial
from salt_tune.controller.controller import Controller
from salt_tune.controller.settings import Settings
from salt_tune.runs.journal import Journal
from tests.salt_tune.controlled import World
from tests.salt_tune.driving import choices
from tests.salt_tune.made_trials import make_space

SCHEDULES: dict[str, dict[str, Any]] = {
    "asha": {"epochs": 3, "rungs": [0.5, 1], "reports": 6},
    "freeze_thaw": {"epochs": 3, "first_rung": 1, "reports": 3},
    "none": {"epochs": 3, "reports": 3},
}
POINTS = (0.5, 1.0, 1.5, 3.0)

places = st.tuples(st.integers(0, 4).map("T{}".format), st.sampled_from(POINTS))
lost = st.dictionaries(places, st.sampled_from(["diverged", "failed"]), max_size=2)
memory_errors = st.dictionaries(places, st.integers(1, 3), max_size=2)


class Watched(Journal):
    """A journal that keeps what its search knew of the trials before each line, and so after the one before it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.search: Controller | None = None
        self.known: list[dict[str, Trial]] = []

    def append(self, entry: dict[str, Any]) -> None:
        """See `Journal`."""
        assert self.search is not None
        self.known.append(deepcopy(dict(self.search.trials)))
        super().append(entry)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@settings(max_examples=25, deadline=None)
@given(
    scheduler=st.sampled_from(sorted(SCHEDULES)),
    lost=lost,
    memory_errors=memory_errors,
    workers=st.integers(1, 3),
    order=st.lists(st.integers(0, 2), min_size=1, max_size=5),
    cut=st.floats(0, 1),
)
def test_any_prefix_of_a_journal_is_what_the_search_knew_at_that_line(
    tmp_path_factory: pytest.TempPathFactory,
    scheduler: str,
    lost: dict[tuple[str, float], str],
    memory_errors: dict[tuple[str, float], int],
    workers: int,
    order: list[int],
    cut: float,
) -> None:
    space = make_space(trials=5, schedule={**SCHEDULES[scheduler], "scheduler": scheduler})
    world = World(space, Settings(oom_retries=1, replicates=1), lost, memory_errors)
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    search = world.controller(run.path)
    search.journal = journal = Watched(run.decisions)
    journal.search = search
    world.run(search, workers, choices(order))
    known = [*journal.known, deepcopy(dict(search.trials))]

    trials = Trials()
    assert dict(trials) == known[0]
    for event, now in zip(read_events(run), known[1:], strict=True):
        trials.apply(event)
        assert dict(trials) == now

    lines = run.decisions.read_bytes().splitlines(keepends=True)
    number = int(cut * (len(lines) - 1))
    run.decisions.write_bytes(b"".join(lines[:number]) + lines[number][: len(lines[number]) // 2])
    assert dict(read_trials(run, live=True)) == known[number]
