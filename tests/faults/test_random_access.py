"""A store whose frames were read by random access is named as such, takes no new latents, and is mended by `repair`."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salt_tune.stores import maintain
from tests.faults.conftest import SMALL, assert_well, content, refusal
from tests.trainable.data.video.stamped import Kind, write
from trainable.data.build.decoding import Decoders
from trainable.data.build.plan import Plan
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.video_dataset import find_source
from trainable.data.video.view import View

Here = Callable[..., subprocess.CompletedProcess[str]]

FORMATS = {
    "raw": ("--pixels", "raw", "--latents", "float16"),
    "jpeg": ("--pixels", "jpeg", "--latents", "int8", "--views", 3),
    "none": ("--pixels", "none", "--latents", "int8"),
}
OTHER = ("class 0/a", "class 1/e")  # the clips of which other frames are held, one of each split

KIND = Kind("a.webm", "libvpx-vp9", {"cpu-used": "8"})


class StoppedError(Exception):
    """Where a process is killed."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`videos`, and `before`, where two of them show other frames."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("class 0/a", "class 0/b", "class 0/c", "class 1/d", "class 1/e", "class 1/f"):
        for place in ("videos", "before"):
            path = folder / place / f"{name}.webm"
            path.parent.mkdir(parents=True, exist_ok=True)
            first = ord(name[-1]) * (1 + (place == "before" and name in OTHER))
            write(path, KIND, range(first, first + 12))
    return folder


@pytest.fixture(params=["none", *(pytest.param(name, marks=pytest.mark.slow) for name in ("raw", "jpeg"))])
def flags(request: pytest.FixtureRequest, store_path: Path) -> tuple[object, ...]:
    return (*SMALL, *FORMATS[request.param], "--val-fraction", 0.3, "--teacher-weights", store_path)


@pytest.fixture
def old(folders: Path, flags: tuple[object, ...], here: Here, tmp_path: Path) -> Path:
    """A store of an earlier version, which holds other frames than the videos' own."""
    shutil.copytree(folders, tmp_path, dirs_exist_ok=True)
    assert_well(here("before", "--store", "s", *flags))
    shutil.rmtree(tmp_path / "before")
    file = tmp_path / "s" / "manifest.json"
    manifest = json.loads(file.read_text())
    for place in (manifest, manifest["plan"]):
        del place["reading"]
    source = find_source(tmp_path / "videos", val_fraction=0.3)
    as_planned = Plan(source, View(), "raw", "float16", {}, "layer_norm", 0).describe()
    manifest["plan"]["videos"] = as_planned["videos"]
    file.write_text(json.dumps({**manifest, "format_version": 2, "videos": str(tmp_path / "videos")}))
    return tmp_path / "s"


def said_in(output: str) -> bool:
    return "its frames were read by random access" in output and "python -m salt_tune.prepare repair" in output


def test_it_is_named_and_takes_no_new_latents(
    old: Path,
    flags: tuple[object, ...],
    here: Here,
    refused: Callable[..., str],
    tmp_path: Path,
) -> None:
    done = here("verify", old)
    assert done.returncode == 1
    assert said_in(done.stdout)
    write(tmp_path / "videos" / "class 0" / "new.webm", KIND, range(9))
    assert said_in(refused("append", "videos", "--store", old))
    (tmp_path / "videos" / "class 0" / "new.webm").unlink()
    assert said_in(refused("videos", "--store", old, *flags))


def test_repair_reads_the_videos_again_and_rewrites_what_differs(
    old: Path,
    flags: tuple[object, ...],
    here: Here,
    tmp_path: Path,
) -> None:
    before = ClipStore.open(old)
    assert_well(here("videos", "--store", "fresh", *flags))
    done = here("repair", old)
    assert_well(done)
    changed = sum(clips.views for clips in (before.train, before.val) for name in clips.ids if name in OTHER)
    rows = sum(shard["rows"] for shard in before.manifest["shards"])
    assert f"{changed} of {rows} rows held other frames than the video's own" in done.stdout
    store, fresh = ClipStore.open(old), ClipStore.open(tmp_path / "fresh")
    assert store.manifest["plan"] == fresh.manifest["plan"]
    for clips, wanted in ((store.train, fresh.train), (store.val, fresh.val)):
        assert clips.ids == wanted.ids
        assert (clips.digests == wanted.digests).all()
        for number in range(len(clips)):
            for view in range(clips.views):
                np.testing.assert_array_equal(store.pixels(clips, number, view), fresh.pixels(wanted, number, view))
                np.testing.assert_array_equal(store.latents(clips, number, view), fresh.latents(wanted, number, view))
    np.testing.assert_allclose(store.teacher.mean, fresh.teacher.mean, atol=1e-4)
    np.testing.assert_allclose(store.position_mean, fresh.position_mean, atol=1e-4)
    for again in (("verify", old), ("videos", "--store", old, *flags)):
        assert_well(here(*again))


def test_a_repair_that_is_killed_goes_on(
    old: Path,
    here: Here,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(maintain, "repair", stop)
        with pytest.raises(StoppedError):
            maintain.repair_store(old, None, Decoders(1))
    assert here("verify", old).returncode == 1
    assert_well(here("repair", old))
    assert_well(here("verify", old))


@pytest.mark.parametrize("flags", ["raw"], indirect=True)
def test_nothing_is_written_where_it_cannot_be_mended(
    old: Path,
    flags: tuple[object, ...],
    here: Here,
    tmp_path: Path,
) -> None:
    shutil.move(old / "teacher", tmp_path / "teacher")
    before = content(old)
    assert "its teacher pixel is needed: name its weights" in refusal(here("repair", old))
    video = tmp_path / "videos" / "class 0" / "b.webm"
    whole = video.read_bytes()
    video.write_bytes(whole[: len(whole) // 2])
    line = refusal(here("repair", old, "--teacher-weights", "teacher"))
    assert "b.webm: is cut short" in line
    assert "put a whole copy back" in line
    assert content(old) == before
    video.write_bytes(whole)
    assert_well(here("repair", old, "--teacher-weights", "teacher"))
