"""A node's own copy of the dataset: whole, checked, made once."""

import re
import shutil
from pathlib import Path

import pytest

from salt_tune.ray_backend.data_copies import open_on_node
from tests.toy_task import TOY, ToyData
from trainable.errors import UserError
from trainable.task import find_task


@pytest.fixture
def data(tmp_path: Path) -> ToyData:
    """A dataset with a file in a folder."""
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "train" / "shard").write_bytes(b"x" * 1000)
    return ToyData(tmp_path / "data")


def open_copy(data: ToyData, folder: Path) -> Path:
    return Path(open_on_node(TOY, str(data.path), data.facts(), str(folder)))


def test_without_a_copy_the_dataset_is_where_it_was(data: ToyData) -> None:
    assert open_on_node(TOY, str(data.path), data.facts(), None) == str(data.path)


def test_a_copy_is_made_once(data: ToyData, tmp_path: Path) -> None:
    copy = open_copy(data, tmp_path / "disk")
    assert copy.parent == tmp_path / "disk" and copy.name.startswith("data-")
    assert (copy / "train" / "shard").read_bytes() == b"x" * 1000
    before = (copy / "train" / "shard").stat().st_ino
    assert open_copy(data, tmp_path / "disk") == copy
    assert (copy / "train" / "shard").stat().st_ino == before


def test_another_dataset_of_the_same_name_gets_another_copy(data: ToyData, tmp_path: Path) -> None:
    copy = open_copy(data, tmp_path / "disk")
    (data.path / "mark").write_text("grown")
    assert open_copy(ToyData(data.path), tmp_path / "disk") != copy


def test_a_copy_that_was_cut_short_is_made_anew(data: ToyData, tmp_path: Path) -> None:
    copy = open_copy(data, tmp_path / "disk")
    copy.rename(copy.with_name(f"{copy.name}.partial"))
    (copy.with_name(f"{copy.name}.partial") / "train" / "shard").write_bytes(b"x")
    assert (open_copy(data, tmp_path / "disk") / "train" / "shard").read_bytes() == b"x" * 1000
    assert not copy.with_name(f"{copy.name}.partial").exists()


def test_a_damaged_copy_is_not_left(data: ToyData, tmp_path: Path) -> None:
    (data.path / "damaged").touch()
    with pytest.raises(UserError, match=r"data-\w{8}: it is damaged$"):
        open_copy(data, tmp_path / "disk")
    assert not [*(tmp_path / "disk").glob("data-*")]


def test_a_store_is_compared_with_its_checksums(store_path: Path, tmp_path: Path) -> None:
    task, copy = find_task("salt"), Path(shutil.copytree(store_path, tmp_path / "copy"))
    assert task.damage(copy) == ""
    shard = max(copy.rglob("*.npy"), key=lambda path: path.stat().st_size)
    with shard.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert re.match(r"1 rows differ from their checksums, the first of clip \S+$", task.damage(copy))


def test_what_does_not_fit_is_refused(data: ToyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salt_tune.ray_backend.data_copies.free_bytes", lambda _: 10)
    with pytest.raises(UserError, match=r"^--store-copy = .*disk: the store takes 0.0 GB, and 0.0 are free$"):
        open_copy(data, tmp_path / "disk")


def test_another_dataset_at_the_same_path_is_refused(data: ToyData) -> None:
    facts = data.facts()
    (data.path / "mark").write_text("other")
    with pytest.raises(UserError, match=r"data: is another store: mark = 'other', and '' for the search$"):
        open_on_node(TOY, str(data.path), facts, None)
