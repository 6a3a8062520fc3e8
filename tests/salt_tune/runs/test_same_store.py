"""A run finds its store again where it was moved to, and takes no other one for it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from analysis.run_directory.paths import RunDirectory
from salt_tune.runs.same_store import reopen_data
from tests.small_store import build_store
from trainable.data.store.dataset import StoreDataset
from trainable.errors import UserError
from trainable.task import find_task


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "first")


def refusal(run: RunDirectory, facts: dict[str, Any], moved_to: Path | None) -> str:
    with pytest.raises(UserError) as refused:
        reopen_data(run, find_task("salt"), facts, moved_to)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_it_is_found_where_it_lay_and_where_it_lies(run: RunDirectory, dataset: StoreDataset, tmp_path: Path) -> None:
    facts = dataset.facts()
    assert reopen_data(run, find_task("salt"), facts, None).path == dataset.path
    moved = shutil.copytree(dataset.path, tmp_path / "moved")
    assert reopen_data(run, find_task("salt"), {**facts, "path": "/gone"}, moved).path == moved


def test_where_it_is_missing_the_flag_is_named(run: RunDirectory, dataset: StoreDataset) -> None:
    line = refusal(run, {**dataset.facts(), "path": "/gone"}, None)
    assert line == "/gone: no such clip store; where it was moved, say where to with --store PATH"
    assert refusal(run, dataset.facts(), Path("/nowhere")).startswith("/nowhere: no such clip store")


def test_another_store_of_the_same_shape_is_refused(
    run: RunDirectory, dataset: StoreDataset, videos: Path, tmp_path: Path
) -> None:
    other = build_store(tmp_path / "other", videos)
    assert len(other.train) == dataset.train_size
    line = refusal(run, dataset.facts(), other.path)
    assert line.startswith(f"{other.path}: is another store than first's: teacher = 'random', and was 'pixel'")


def test_one_byte_of_other_content_is_another_store(run: RunDirectory, dataset: StoreDataset, tmp_path: Path) -> None:
    changed = shutil.copytree(dataset.path, tmp_path / "changed")
    manifest = json.loads((changed / "manifest.json").read_text())
    (changed / "manifest.json").write_text(json.dumps({**manifest, "fingerprint": "f" * 64}))
    line = refusal(run, {**dataset.facts(), "path": str(changed)}, None)
    assert line.startswith(f"{changed}: has changed since the run began: fingerprint = 'ffff")


@pytest.mark.parametrize("moved", [False, True])
def test_a_store_that_has_grown_is_another_one(run: RunDirectory, dataset: StoreDataset, moved: bool) -> None:
    before = {**dataset.facts(), "train_clips": dataset.train_size - 4, "fingerprint": "0" * 64}
    line = refusal(run, before, dataset.path if moved else None)
    assert line.endswith(f": train_clips = {dataset.train_size}, and was {dataset.train_size - 4}")
