"""Preparing a store: stopped anywhere it goes on, and a clip that does not decode shifts no other."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainable.small import SMALL
from trainable.data import build
from trainable.data.build import Plan, StoreBuilder
from trainable.data.sources import find_source
from trainable.data.store import ClipStore
from trainable.data.videos import read_clip
from trainable.data.view import View
from trainable.errors import StoreError
from trainable.teacher import normalise

VIEW = View(frames=4, size=16, patch=8)
CLIPS = 48


class StoppedError(Exception):
    """Stands for anything that ends a preparation."""


class Projection:
    """A teacher that need not be trained: fixed random features of a token's pixels."""

    name, dim = "projection", 12
    sha256 = hashlib.sha256(b"projection").hexdigest()

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(VIEW.token_values, self.dim, generator=generator) / 100

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `FrozenTeacher.latents`."""
        return pixels.float() @ self.weight


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """6 shards of at most 10 clips: 4 of training clips, 2 of held-out ones."""
    monkeypatch.setattr(build, "SHARD_CLIPS", 10)
    monkeypatch.setattr(build, "LATENT_BATCH", 4)


@pytest.fixture
def plan(videos: Path) -> Plan:
    return Plan(find_source(videos), VIEW, "projection", SMALL, "layer_norm", seed=0)


@pytest.fixture(scope="module")
def straight(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was prepared in one go."""
    path = tmp_path_factory.mktemp("straight") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "SHARD_CLIPS", 10)
        prepare(path, Plan(find_source(videos), VIEW, "projection", SMALL, "layer_norm", seed=0))
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


def ignore(count: int) -> None:
    """Shows no progress."""


def prepare(
    path: Path,
    plan: Plan,
    decoded: Callable[[int], None] = ignore,
    done: Callable[[int], None] = ignore,
    *,
    overwrite: bool = False,
) -> ClipStore:
    builder = StoreBuilder(path, plan, overwrite=overwrite)
    assert not builder.done
    builder.decode(1, decoded)
    builder.compute_latents(Projection(), done)
    return builder.finish(Projection())


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_store_holds_every_clip_in_its_place(straight: Path, videos: Path) -> None:
    store, teacher = ClipStore.open(straight), Projection()
    assert (len(store.train), len(store.val)) == (32, 16)
    assert {shard["name"]: shard["clips"] for shard in store.manifest["shards"]} == {
        "train-00000": 10, "train-00001": 10, "train-00002": 10, "train-00003": 2, "val-00000": 10, "val-00001": 6,
    }  # fmt: skip
    for split in ("train", "val"):
        clips = store.clips(split)
        for clip, name in enumerate(clips.ids):
            tokens, _ = read_clip(videos / f"{name}.webm", VIEW)
            assert (store.row(clips, clip, "pixels") == tokens).all()
            expected = normalise(teacher.latents(torch.from_numpy(tokens)), "layer_norm").numpy()
            np.testing.assert_allclose(store.row(clips, clip, "latents"), expected, atol=4e-3)
    assert store.manifest["skipped"] == []
    assert {file.name for file in straight.parent.iterdir()} == {"store"}
    assert not (straight / "shards").exists()
    assert not (straight / "plan.json").exists()


@pytest.mark.timeout(120)
def test_a_preparation_that_is_stopped_goes_on_to_the_same_store(plan: Plan, straight: Path, tmp_path: Path) -> None:
    path = tmp_path / "store"
    for clips in (1, 25):
        with pytest.raises(StoppedError):
            prepare(path, plan, decoded=stop_after(clips))
        assert not path.exists()
    finished_shards = {file: file.stat().st_mtime_ns for file in (tmp_path / "store.partial").glob("*.pixels.npy")}
    assert len(finished_shards) == 2
    for clips in (1, 15, CLIPS):
        with pytest.raises(StoppedError):
            prepare(path, plan, done=stop_after(clips))
    assert {file: file.stat().st_mtime_ns for file in finished_shards} == finished_shards, "decoded again"
    prepare(path, plan)
    assert content(path) == content(straight)
    assert {file.name for file in tmp_path.iterdir()} == {"store"}


def test_a_preparation_that_is_stopped_at_its_last_step_goes_on(plan: Plan, straight: Path, tmp_path: Path) -> None:
    """Something takes the store's place while it is prepared, so that it cannot get its name."""
    path = tmp_path / "store"
    builder = StoreBuilder(path, plan)
    builder.decode(1, ignore)
    builder.compute_latents(Projection(), ignore)
    (tmp_path / "store.old").write_text("in the way")
    path.mkdir()
    with pytest.raises(OSError, match="store"):
        builder.finish(Projection())
    (tmp_path / "store.old").unlink()
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
        prepare(path, other, decoded=stop_after(20), overwrite=True)
    assert content(path) == content(straight), "the old store goes before the new one is whole"
    (tmp_path / "store.old").mkdir()
    (tmp_path / "store.old" / "left").write_text("by a crash")
    store = prepare(path, other, overwrite=True)
    assert store.teacher.target_norm == "none"
    assert content(path) != content(straight)
    assert {file.name for file in tmp_path.iterdir()} == {"store"}


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
        prepare(path, replace(plan, target_norm="none"), done=stop_after(20))
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


def test_an_undecodable_clip_is_named_and_shifts_no_other(videos: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(videos, tmp_path / "videos")
    names = [clip.id for clip in find_source(broken).clips if clip.split == "train"]
    skipped = {names[0], names[4], names[5], names[-1]}
    for name in skipped:
        (broken / f"{name}.webm").write_bytes((broken / f"{name}.webm").read_bytes()[:700])
    plan = Plan(find_source(broken), VIEW, "projection", SMALL, "none", seed=0)
    store = prepare(tmp_path / "store", plan)
    named = {clip["id"]: clip["reason"] for clip in store.manifest["skipped"]}
    assert set(named) == skipped
    assert all(f"{name}.webm" in reason for name, reason in named.items())
    assert set(store.train.ids) == set(names) - skipped
    teacher = Projection()
    for clip, name in enumerate(store.train.ids):
        tokens, _ = read_clip(videos / f"{name}.webm", VIEW)
        assert (store.row(store.train, clip, "pixels") == tokens).all()
        expected = teacher.latents(torch.from_numpy(tokens)).numpy()
        np.testing.assert_allclose(store.row(store.train, clip, "latents"), expected, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize(("split", "said"), [("train", "training"), ("val", "held-out")])
def test_a_split_without_a_clip_is_refused_and_leaves_nothing(
    videos: Path, tmp_path: Path, split: str, said: str
) -> None:
    broken = shutil.copytree(videos, tmp_path / "videos")
    for clip in find_source(broken).clips:
        if clip.split == split:
            clip.path.write_bytes(b"\x1a\x45\xdf\xa3")
    plan = Plan(find_source(broken), VIEW, "projection", SMALL, "none", seed=0)
    with pytest.raises(StoreError, match=rf"^no {said} clip could be decoded: .*\.webm: "):
        prepare(tmp_path / "store", plan)
    assert {file.name for file in tmp_path.iterdir()} == {"videos"}


def test_a_plan_knows_its_videos(plan: Plan, tmp_path: Path, videos: Path) -> None:
    changed = shutil.copytree(videos, tmp_path / "videos")
    same = replace(plan, source=find_source(changed))
    assert json.dumps(same.describe()) == json.dumps(plan.describe())
    (changed / "1.webm").write_bytes((videos / "1.webm").read_bytes() + b"\0")
    assert replace(plan, source=find_source(changed)).describe() != plan.describe()
