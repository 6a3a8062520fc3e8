"""What every callback of the registry keeps to: it follows a search, never steers it, and bears what is broken."""

import os
from pathlib import Path
from typing import Any

import pytest

from analysis.run_directory.paths import RunDirectory
from salt_tune.callbacks.base import Callback
from salt_tune.controller.controller import Controller
from salt_tune.controller.settings import Settings
from salt_tune.registry import CALLBACKS
from tests.salt_tune.controlled import World, decisions, known
from tests.salt_tune.made_trials import make_space

NEEDS: dict[str, dict[str, Any]] = {  # what the command line says of it
    "wandb_logger": {"mode": "offline"},
    "notify": {"command": "cat > /dev/null"},
}
WORLD = World(
    make_space(trials=5, schedule={"scheduler": "asha", "epochs": 3, "rungs": [0.5, 1], "reports": 6}),
    Settings(replicates=1, oom_retries=1),
    lost={("T1", 0.5): "failed", ("T2", 0.5): "diverged"},
    memory_errors={("T3", 0.5): 1},
)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(params=CALLBACKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(name: str, folder: Path) -> Callback:
    return CALLBACKS[name](RunDirectory(folder), WORLD.space, **NEEDS.get(name, {}))


def follow(name: str, folder: Path, reports: int = 10**6) -> Controller:
    """A search that the callback follows, as a process runs it: from its files to its end, or for so many reports."""
    folder.mkdir(exist_ok=True)
    search = WORLD.controller(folder, callbacks=[make(name, folder)])
    search.begin()
    WORLD.run(search, workers=2, reports=reports)
    search.pause(next(iter(search.trials)))
    search.close(1.0, over=search.over)
    search.callbacks[0].on_search_end(search.trials, over=search.over)
    return search


def test_it_never_steers(name: str, tmp_path: Path) -> None:
    alone = WORLD.run(WORLD.controller(tmp_path / "alone"), workers=2)
    alone.close(1.0, over=True)
    followed = follow(name, tmp_path / "followed")
    assert decisions(followed) == decisions(alone)
    assert known(followed) == known(alone)


def test_it_follows_a_search_that_is_resumed(name: str, tmp_path: Path) -> None:
    follow(name, tmp_path / "run", reports=7)
    resumed = follow(name, tmp_path / "run")
    assert resumed.over
    assert known(resumed) == known(WORLD.controller(tmp_path / "run"))


def test_it_follows_a_search_with_nothing_left_to_do(name: str, tmp_path: Path) -> None:
    follow(name, tmp_path / "run")
    before = decisions(follow(name, tmp_path / "run"), "run")
    assert decisions(follow(name, tmp_path / "run"), "run") == before


def test_what_it_cannot_write_ends_no_search(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "study.db").mkdir()
    (folder / "wandb").touch()
    (folder / "tensorboard").touch()
    (folder / "mlflow.db").mkdir()
    assert follow(name, folder).over
    assert capsys.readouterr().err.count("warning: ") <= 1
