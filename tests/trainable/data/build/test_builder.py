"""Preparing a store: stopped anywhere it goes on, and a clip that does not decode shifts no other."""

import json
import multiprocessing
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainable.small import Projection, content, ignore, make_plan, prepare
from trainable.data.build.builder import StoreBuilder
from trainable.data.build.decoding import Decoders
from trainable.data.build.plan import Plan
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import LatentFormat, PixelFormat
from trainable.data.store.targets import normalise
from trainable.data.video.reader import read_clip
from trainable.data.video.video_dataset import find_source
from trainable.data.video.view import View
from trainable.errors import StoreError

VIEW = View(frames=4, size=16, patch=8)
CLIPS = 48

both_ways = pytest.mark.parametrize("two_passes", [False, True], ids=["side by side", "two passes"])


class StoppedError(Exception):
    """Stands for anything that ends a preparation."""


class Mortal(Projection):
    """A teacher that fails at its third batch."""

    batches = 0

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `FrozenTeacher.latents`."""
        self.batches += 1
        if self.batches == 3:
            raise StoppedError
        return super().latents(pixels)


def set_sizes(patch: pytest.MonkeyPatch) -> None:
    """6 shards of at most 10 clips: 4 of training clips, 2 of held-out ones."""
    patch.setattr("trainable.data.build.plan.SHARD_CLIPS", 10)
    patch.setattr("trainable.data.build.stages.BATCH_ROWS", 4)
    patch.setattr("trainable.data.build.builder.BATCH_ROWS", 4)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `set_sizes`."""
    set_sizes(monkeypatch)


@pytest.fixture
def plan(videos: Path) -> Plan:
    return make_plan(videos, VIEW)


@pytest.fixture(scope="module")
def straight(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was prepared in one go."""
    path = tmp_path_factory.mktemp("straight") / "store"
    with pytest.MonkeyPatch.context() as patch:
        set_sizes(patch)
        prepare(path, make_plan(videos, VIEW))
    return path


def stop_after(clips: int) -> Callable[[int], None]:
    """Ends the preparation when it has advanced by so many clips."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if done >= clips:
            raise StoppedError

    return advance


def assert_same_but_for_rounding(one: Path, other: Path) -> None:
    """The same bytes in all files, but for sums that were taken in another order."""
    manifests = []
    for path in (one, other):
        manifest = json.loads((path / "manifest.json").read_text())
        numbers = [manifest["teacher"].pop(name) for name in ("mean", "variance")]
        numbers += [[manifest["latents"].pop(name)] for name in ("relative_error", "val_loss_added")]
        for sums in manifest["latents"].pop("sums").values():
            numbers += [sums["total"], sums["square_total"], [sums["tokens"], sums["squared_error"]]]
        manifests.append((manifest, np.concatenate(numbers)))
    assert manifests[0][0] == manifests[1][0]
    np.testing.assert_allclose(manifests[0][1], manifests[1][1], rtol=1e-5, atol=1e-4)
    assert content(one) | {"manifest.json": b""} == content(other) | {"manifest.json": b""}


def test_a_store_holds_every_clip_in_its_place(straight: Path, videos: Path) -> None:
    store, teacher = ClipStore.open(straight), Projection(VIEW)
    assert (len(store.train), len(store.val)) == (32, 16)
    assert {shard["name"]: shard["rows"] for shard in store.manifest["shards"]} == {
        "train-00000": 10, "train-00001": 10, "train-00002": 10, "train-00003": 2, "val-00000": 10, "val-00001": 6,
    }  # fmt: skip
    for split in ("train", "val"):
        clips = store.clips(split)
        for clip, name in enumerate(clips.ids):
            (tokens,), _ = read_clip(videos / f"{name}.webm", VIEW)
            assert (store.pixels(clips, clip) == tokens).all()
            expected = normalise(teacher.latents(torch.from_numpy(tokens)), "layer_norm").numpy()
            np.testing.assert_allclose(store.latents(clips, clip), expected, atol=4e-3)
    assert store.manifest["skipped"] == []
    assert {file.name for file in straight.parent.iterdir()} == {"store"}
    assert not (straight / "shards").exists()
    assert not (straight / "plan.json").exists()


FORMATS = [
    ("none", "int8", 2),
    pytest.param("raw", "float16", 1, marks=pytest.mark.slow),
    pytest.param("jpeg", "int8", 3, marks=pytest.mark.slow),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("pixels", "latents", "views"), FORMATS)
def test_stopped_anywhere_it_goes_on_to_the_same_store_both_ways(
    videos: Path, tmp_path: Path, pixels: PixelFormat, latents: LatentFormat, views: int
) -> None:
    plan = make_plan(videos, View(4, 16, 8, 2, views=views), pixels=pixels, latents=latents)
    folder = Path(tmp_path / "straight")
    folder.mkdir()
    shown: dict[str, int] = {"written": 0, "looked at": 0}

    def show(what: str) -> Callable[[int], None]:
        return lambda count: shown.update({what: shown[what] + count})

    prepare(folder / "two", plan, two_passes=True, written=show("written"), looked_at=show("looked at"))
    assert shown == {"written": CLIPS, "looked at": CLIPS}
    prepare(folder / "one", plan, written=show("written"))
    assert shown["written"] == 2 * CLIPS

    for name, two_passes in (("one", False), ("two", True)):
        path, partial = tmp_path / name, tmp_path / f"{name}.partial"
        for clips in (1, 25):
            with pytest.raises(StoppedError):
                prepare(path, plan, two_passes=two_passes, written=stop_after(clips))
            assert not path.exists()
        assert StoreBuilder(path, plan).written() == 20
        assert StoreBuilder(path, plan).written("latents") == (0 if two_passes else 20)
        if two_passes:
            for clips in (1, 15, CLIPS - 10):
                with pytest.raises(StoppedError):
                    prepare(path, plan, two_passes=True, looked_at=stop_after(clips))
            assert StoreBuilder(path, plan).written("latents") == CLIPS - 6
        finished = {file.name: file.stat().st_mtime_ns for file in partial.glob("train-0000[01].*.npy")}
        assert len(finished) == 2 * ((pixels != "none") + 1 + (latents == "int8"))
        prepare(path, plan, two_passes=two_passes)
        assert {name: (path / name).stat().st_mtime_ns for name in finished} == finished, "made again"
        assert content(path) == content(folder / name)
    assert_same_but_for_rounding(tmp_path / "one", tmp_path / "two")
    assert {file.name for file in tmp_path.iterdir()} == {"straight", "one", "two"}


@both_ways
def test_a_teacher_that_fails_is_heard_and_the_next_one_goes_on(
    plan: Plan, straight: Path, tmp_path: Path, two_passes: bool
) -> None:
    path, before = tmp_path / "store", multiprocessing.active_children()

    def fail() -> None:
        builder, teacher = StoreBuilder(path, plan), Mortal(VIEW)
        builder.write(None if two_passes else teacher, Decoders(1), ignore)
        builder.add_latents(teacher, Decoders(1), ignore)

    with pytest.raises(StoppedError):
        fail()
    assert not path.exists()
    assert {*multiprocessing.active_children()} <= {*before}
    assert [thread.name for thread in threading.enumerate() if thread.name == "ahead"] == []
    prepare(path, plan, two_passes=two_passes)
    assert content(path) == content(straight)


def test_a_preparation_that_is_stopped_at_its_last_step_goes_on(plan: Plan, straight: Path, tmp_path: Path) -> None:
    """Something takes the store's place while it is prepared, so that it cannot get its name."""
    path = tmp_path / "store"
    builder = StoreBuilder(path, plan)
    builder.write(Projection(VIEW), Decoders(1), ignore)
    path.write_text("in the way")
    (builder.partial / "replaced").mkdir()
    with pytest.raises(OSError, match="store"):
        builder.finish(Projection(VIEW))
    path.unlink()
    prepare(path, plan)
    assert content(path) == content(straight)


def test_a_store_that_is_there_is_not_prepared_again(plan: Plan, straight: Path) -> None:
    before = content(straight)
    assert StoreBuilder(straight, plan).done
    assert content(straight) == before


def test_other_arguments_are_refused_unless_told_to_overwrite(plan: Plan, straight: Path, tmp_path: Path) -> None:
    path, other = tmp_path / "store", replace(plan, target_norm="none")
    shutil.copytree(straight, path)
    with pytest.raises(StoreError, match=r"store: holds a clip store prepared otherwise; .* --overwrite$"):
        StoreBuilder(path, other)
    with pytest.raises(StoppedError):
        prepare(path, other, written=stop_after(20), overwrite=True)
    assert content(path) == content(straight), "the old store goes before the new one is whole"
    (tmp_path / "store.old").mkdir()
    (tmp_path / "store.old" / "backup").write_text("of somebody")
    store = prepare(path, other, overwrite=True)
    assert store.teacher.target_norm == "none"
    assert content(path) != content(straight)
    assert {file.name for file in tmp_path.rglob("*") if file.is_dir()} == {"store", "store.old"}
    assert (tmp_path / "store.old" / "backup").exists()


def test_what_is_no_clip_store_is_never_replaced(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "thesis"
    path.mkdir()
    (path / "chapter.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(StoreError, match=r"holds something that is not a clip store; choose another --store$"):
            StoreBuilder(path, plan, overwrite=overwrite)
    assert (path / "chapter.tex").read_text() == "years of work"


def test_an_unfinished_preparation_with_other_arguments_is_refused_unless_told_to_overwrite(
    plan: Plan, straight: Path, tmp_path: Path
) -> None:
    path = tmp_path / "store"
    with pytest.raises(StoppedError):
        prepare(path, replace(plan, target_norm="none"), written=stop_after(20))
    with pytest.raises(StoreError, match=r"store\.partial: holds a preparation with other arguments .* --overwrite$"):
        StoreBuilder(path, plan)
    prepare(path, plan, overwrite=True)
    assert content(path) == content(straight)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_is_no_store_is_never_touched_without_being_told(plan: Plan, tmp_path: Path, what: str) -> None:
    path = tmp_path / "store"
    if what == "folder":
        path.mkdir()
        (path / "thesis.txt").write_text("years of work")
    else:
        path.write_text("years of work")
    with pytest.raises(StoreError, match=r"store: holds something that is not a clip store"):
        StoreBuilder(path, plan)


@both_ways
def test_an_undecodable_clip_is_named_and_shifts_no_other(videos: Path, tmp_path: Path, two_passes: bool) -> None:
    broken = shutil.copytree(videos, tmp_path / "videos")
    names = [clip.id for clip in find_source(broken).clips if clip.split == "train"]
    skipped = {names[0], names[4], names[5], names[-1]}
    for name in skipped:
        (broken / f"{name}.webm").write_bytes((broken / f"{name}.webm").read_bytes()[:700])
    plan = make_plan(broken, replace(VIEW, views=2), target_norm="none")
    store = prepare(tmp_path / "store", plan, two_passes=two_passes)
    named = {clip["id"]: clip["reason"] for clip in store.manifest["skipped"]}
    assert set(named) == skipped
    assert all(f"{name}.webm" in reason for name, reason in named.items())
    assert set(store.train.ids) == set(names) - skipped
    teacher = Projection(VIEW)
    cuts = {clip.id: plan.cuts(clip) for clip in plan.source.clips}
    for clip, name in enumerate(store.train.ids):
        for view, tokens in enumerate(read_clip(videos / f"{name}.webm", VIEW, cuts[name])[0]):
            assert (store.pixels(store.train, clip, view) == tokens).all()
            expected = teacher.latents(torch.from_numpy(tokens)).numpy()
            np.testing.assert_allclose(store.latents(store.train, clip, view), expected, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize(("split", "said"), [("train", "training"), ("val", "held-out")])
def test_a_split_without_a_clip_is_refused_and_leaves_nothing(
    videos: Path, tmp_path: Path, split: str, said: str
) -> None:
    broken = shutil.copytree(videos, tmp_path / "videos")
    for clip in find_source(broken).clips:
        if clip.split == split:
            clip.path.write_bytes(b"\x1a\x45\xdf\xa3")
    with pytest.raises(StoreError, match=rf"^no {said} clip could be prepared: .*\.webm: "):
        prepare(tmp_path / "store", make_plan(broken, VIEW))
    assert {file.name for file in tmp_path.iterdir()} == {"videos"}


def test_a_plan_knows_its_videos(plan: Plan, tmp_path: Path, videos: Path) -> None:
    changed = shutil.copytree(videos, tmp_path / "videos")
    same = replace(plan, source=find_source(changed))
    assert json.dumps(same.describe()) == json.dumps(plan.describe())
    (changed / "1.webm").write_bytes((videos / "1.webm").read_bytes() + b"\0")
    assert replace(plan, source=find_source(changed)).describe() != plan.describe()
