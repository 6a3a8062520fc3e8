"""Videos to a clip store: layouts, what is skipped, and that no interruption changes the store."""

import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import Command, complaints, start_command
from tests.salt_tune.conftest import read_json, wait_for
from trainable.data.store.clip_store import ClipStore

SMALL = ("--frames", 8, "--size", 32, "--patch", 8, "--teacher-epochs", 1, "--workers", 1)


def assert_same_store(one: Path, other: Path) -> None:
    assert pq.read_table(one / "index.parquet") == pq.read_table(other / "index.parquet")
    assert read_json(one / "manifest.json") == read_json(other / "manifest.json")
    arrays = sorted(path.name for path in one.glob("*.npy"))
    assert arrays == sorted(path.name for path in other.glob("*.npy"))
    assert arrays
    for name in arrays:
        np.testing.assert_array_equal(np.load(one / name), np.load(other / name))


@pytest.mark.slow  # trainable/data/build/test_builder.py stops it anywhere by default
def test_killed_again_and_again_it_comes_to_the_same_store(
    store_path: Path, videos: Path, tmp_path: Path, here: Command
) -> None:
    partial = tmp_path / "shapes.partial"
    moments = ("shards/*.pixels.json", "teacher", "shards/*.latents.json")
    for moment in moments:
        process = start_command(tmp_path, "prepare", videos, "--store", "shapes", *SMALL)
        wait_for(lambda moment=moment: any(partial.glob(moment)), process)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=600)  # ends when the workers have, which hold its output open
        assert not (tmp_path / "shapes").exists()
    done = here("prepare", videos, "--store", "shapes", *SMALL)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert_same_store(tmp_path / "shapes", store_path)
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]


def test_the_same_again_has_nothing_to_do(store_path: Path, videos: Path, here: Command) -> None:
    before = {path: path.stat().st_mtime_ns for path in store_path.rglob("*")}
    done = here("prepare", videos, "--store", store_path, *SMALL)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert "nothing to do" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in store_path.rglob("*")} == before


def test_another_store_is_replaced_only_when_told_to(
    store_path: Path, videos: Path, here: Command, tmp_path: Path
) -> None:
    store = shutil.copytree(store_path, tmp_path / "store")
    other = (*SMALL, "--target-norm", "none")
    refused = here("prepare", videos, "--store", store, *other)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--overwrite" in refused.stderr
    assert_same_store(store, store_path)
    done = here("prepare", videos, "--store", store, *other, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert ClipStore.open(store).teacher.target_norm == "none"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_synthetic_videos_go_the_same_way(here: Command, tmp_path: Path) -> None:
    arguments = ("prepare", "shapes", "--synthetic", 16, "--size", 16, "--store", "stores/s", "--teacher-epochs", 1)
    done = here(*arguments)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert len(list((tmp_path / "shapes").glob("*.webm"))) == 16
    assert {"train.json", "validation.json", "labels.json"} <= {path.name for path in (tmp_path / "shapes").iterdir()}
    store = ClipStore.open(tmp_path / "stores" / "s")
    assert (len(store.train), len(store.val), len(store.labels)) == (8, 8, 8)
    assert (store.view.frames, store.view.size, store.view.patch) == (8, 16, 8)
    assert "warning: the teacher explains" in done.stderr  # 8 clips and an epoch teach nothing
    assert "nothing to do" in here(*arguments).stdout


def test_progress_is_plain_when_piped(command: Command, videos: Path, tmp_path: Path) -> None:
    official = tmp_path / "ssv2"
    shutil.copytree(videos, official / "20bn-something-something-v2", ignore=shutil.ignore_patterns("*.json"))
    (official / "labels").mkdir()
    for name in ("labels", "train", "validation"):
        shutil.copy(videos / f"{name}.json", official / "labels" / f"something-something-v2-{name}.json")
    done = command("prepare", official, *SMALL)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    for what in ("decode", "latents"):
        assert re.search(rf"^{what} +48/48 clips, [\d,]+(\.\d)? clips/s$", done.stdout, re.MULTILINE)
    assert not {"\x1b", "\r"} & set(done.stdout)
    store = ClipStore.open(tmp_path / "stores" / "ssv2")
    assert f"{len(store.train)} training and {len(store.val)} held-out clips of 8 classes" in done.stdout
    assert (len(store.train), len(store.val)) == (32, 16)


@pytest.fixture
def class_folders(videos: Path, tmp_path: Path) -> Path:
    """Eleven videos of two classes, and `up/c.webm` that is no video."""
    folder = tmp_path / "classes"
    for number, path in enumerate(sorted(videos.glob("*.webm"))[:11]):
        target = folder / ("up" if number % 2 else "down") / f"{chr(ord('a') + number)}{path.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (folder / "up" / "c.webm").write_text("not a video")
    return folder


def test_a_clip_that_does_not_decode_is_named_and_moves_no_other(
    class_folders: Path, here: Command, tmp_path: Path
) -> None:
    done = here("prepare", class_folders, "--store", "store", "--val-fraction", 0.4, *SMALL)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert re.search(r"skipped up/c: .*up/c\.webm: ", done.stdout)
    assert "1 skipped" in done.stdout
    store = ClipStore.open(tmp_path / "store")
    (skipped,) = store.manifest["skipped"]
    assert skipped["id"] == "up/c"
    assert store.labels == ["down", "up"]
    assert sorted(store.train.ids + store.val.ids) == sorted(
        path.relative_to(class_folders).with_suffix("").as_posix()
        for path in class_folders.rglob("*.webm")
        if path.stem != "c" or path.parent.name != "up"
    )

    from trainable.data.store.targets import normalise
    from trainable.data.video.reader import read_clip
    from trainable.teachers.pixel import PixelTeacher

    torch = pytest.importorskip("torch")
    teacher = PixelTeacher(store.path / "teacher", "cpu")
    for clips in (store.train, store.val):
        for number, name in enumerate(clips.ids):
            (pixels,), _ = read_clip(class_folders / f"{name}.webm", store.view)
            np.testing.assert_array_equal(store.pixels(clips, number), pixels)
            assert store.labels[clips.labels[number]] == name.split("/")[0]
            latents = normalise(teacher.latents(torch.from_numpy(pixels)[None]), "layer_norm")[0].numpy()
            np.testing.assert_allclose(store.latents(clips, number), latents, atol=5e-3)
