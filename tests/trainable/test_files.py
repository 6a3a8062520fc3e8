"""A file is there whole, or it is not there."""

import errno
import json
from pathlib import Path

import pytest

from trainable.files import atomic_write, copy_folder, write_json


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_what_was_written_takes_the_files_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in ("old", "new"):
        with atomic_write(path) as temporary:
            temporary.write_text(content)
            assert temporary.parent == tmp_path, "a rename from another disk is a copy"
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == content
    assert names(tmp_path) == ["file"]


def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "file"):
        pass
    assert names(tmp_path) == []


def test_two_writers_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as one, atomic_write(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    assert names(tmp_path) == ["file"]


def test_json_is_readable_and_keeps_letters(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"name": "Prüfung", "values": [1, 2.5, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "Prüfung", "values": [1, 2.5, None]}
    assert "Prüfung" in path.read_text(encoding="utf-8")
    with pytest.raises(TypeError):
        write_json(path, {"name": object()})
    assert json.loads(path.read_text(encoding="utf-8"))["name"] == "Prüfung"


def test_a_folder_that_does_not_fit_names_its_file(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target):
        folder.mkdir()
    (source / "fits").write_text("a")
    (source / "does not").write_text("b")
    (target / "does not").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as caught:
        copy_folder(source, target)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target / "does not"))
    assert (target / "fits").read_text() == "a"
