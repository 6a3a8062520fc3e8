"""A run is taken up again: as it was, and where its store lies now."""

from dataclasses import asdict
from pathlib import Path

import pytest

from analysis.errors import RunError
from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory, read_manifest
from salt_tune.controller.settings import Settings
from salt_tune.runs.create import claimed, created, new_run
from salt_tune.runs.reopen import remember, reopen
from tests.salt_tune.made_trials import BASELINES, make_space
from trainable.data.store.dataset import StoreDataset
from trainable.errors import UserError


@pytest.fixture
def run(tmp_path: Path, dataset: StoreDataset) -> RunDirectory:
    """A run that has begun."""
    begun = new_run(tmp_path, "first", make_space())
    with claimed(begun), created(begun, make_space(), dataset, asdict(Settings()), BASELINES, [], {}):
        return begun


def test_a_store_that_was_moved_is_remembered(tmp_path: Path, run: RunDirectory, dataset: StoreDataset) -> None:
    (tmp_path / "moved").symlink_to(dataset.path)
    manifest, _, found = reopen(run, tmp_path / "moved")
    assert remember(run, {**manifest, "store": found.facts()}) == read_manifest(run)
    assert read_manifest(run)["store"] == {**dataset.facts(), "path": str(tmp_path / "moved")}
    assert reopen(run)[2].path == tmp_path / "moved"


def test_a_space_that_was_changed_is_refused(run: RunDirectory) -> None:
    assert reopen(run)[1] == make_space()
    run.space.write_text(run.space.read_text().replace("trials: 9", "trials: 8"), encoding="utf-8")
    with pytest.raises(UserError, match=r"space\.yaml: has changed since the run began"):
        reopen(run)


def test_a_run_of_an_earlier_format_is_refused(run: RunDirectory) -> None:
    now, before = f'"format_version": {FORMAT_VERSION}', f'"format_version": {FORMAT_VERSION - 1}'
    run.manifest.write_text(run.manifest.read_text().replace(now, before), encoding="utf-8")
    with pytest.raises(RunError, match=f"has format_version {FORMAT_VERSION - 1}, and this version"):
        reopen(run)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such run"):
        reopen(RunDirectory(tmp_path / "absent"))
