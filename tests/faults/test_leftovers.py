"""What an earlier preparation, or somebody else, left where a store is to grow."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import SMALL, assert_well, content, refusal

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def arguments(videos: Path, store_path: Path) -> tuple[object, ...]:
    return (videos, "--store", "store", *SMALL, "--workers", 1, "--teacher-weights", store_path)


def test_killed_before_the_plan_was_written(here: Run, arguments: tuple[object, ...], tmp_path: Path) -> None:
    (tmp_path / "store.partial" / "shards").mkdir(parents=True)
    assert_well(here(*arguments))


def test_killed_before_its_plan_was_taken_away(here: Run, arguments: tuple[object, ...], tmp_path: Path) -> None:
    assert_well(here(*arguments))
    whole = content(tmp_path / "store")
    # The moment after the store took its name.
    (tmp_path / "store" / "shards").mkdir()
    (tmp_path / "store" / "shards" / "train-00000.pixels.json").write_text('{"rows": [], "skipped": []}')
    (tmp_path / "store" / "plan.json").write_text("{}")
    shutil.copytree(tmp_path / "store", tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "store" / "replaced")
    done = here(*arguments)
    assert_well(done)
    assert "nothing to do" in done.stdout
    assert content(tmp_path / "store") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_what_somebody_else_keeps_there_is_never_deleted(
    here: Run, arguments: tuple[object, ...], tmp_path: Path
) -> None:
    for name in ("store", "store.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").write_text("precious")
        line = refusal(here(*arguments, "--overwrite"))
        assert f"{name}: holds something" in line
        assert (tmp_path / name / "thesis.tex").read_text() == "precious"
        shutil.rmtree(tmp_path / name)


def test_a_dry_run_never_deletes_what_is_not_finished(here: Run, arguments: tuple[object, ...], tmp_path: Path) -> None:
    (tmp_path / "store.partial").mkdir()
    (tmp_path / "store.partial" / "plan.json").write_text('{"plan": {"pixels": "raw"}}')
    before = content(tmp_path)
    assert_well(here(*arguments, "--overwrite", "--dry-run"))
    assert content(tmp_path) == before
