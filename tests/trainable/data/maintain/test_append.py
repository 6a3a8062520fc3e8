"""Adding clips to a finished store: what is there stays as it is, and a kill leaves the store before or after."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainable.data.kills import content_hash, kill_before, kill_often
from tests.trainable.small import SMALL, Projection, content, ignore, prepare
from trainable.data.build import plan
from trainable.data.build.builder import StoreBuilder
from trainable.data.build.decoding import Decoders
from trainable.data.build.plan import Plan
from trainable.data.build.precomputed import LatentFolder
from trainable.data.maintain.append import StoreAppender
from trainable.data.maintain.subset import subset
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import LatentFormat, PixelFormat
from trainable.data.video.crops import cuts_of
from trainable.data.video.reader import read_clip
from trainable.data.video.video_dataset import Source, Split, find_source
from trainable.data.video.view import View
from trainable.errors import StoreError
from trainable.train.training import Training

VIEW = View(frames=4, size=32, patch=8, tubelet=2)
SPLITS: tuple[Split, ...] = ("train", "val")
WORK = "tests.trainable.data.maintain.test_append:append_all"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SHARD_CLIPS", 10)


def some(videos: Path) -> Source:
    """The folder as it was when it held half of its videos, none of them of the first class."""
    source = find_source(videos)
    clips = tuple(clip for clip in source.clips[::2] if clip.label != source.labels[0])
    return Source(source.folder, clips, source.labels[1:])


def make(
    path: Path, source: Source, pixels: PixelFormat = "raw", latents: LatentFormat = "float16", views: int = 1
) -> ClipStore:
    view = replace(VIEW, views=views, flips="undirected")
    return prepare(path, Plan(source, view, pixels, latents, {"name": "projection"}, "layer_norm", 0))


def append_all(folder: Path, videos: Path) -> None:
    """What is killed."""
    plan.SHARD_CLIPS = 10
    StoreAppender(folder / "store", find_source(videos)).append(Projection(VIEW), Decoders(1), ignore)


def append(path: Path, source: Source, overwrite: bool = False) -> ClipStore:
    appender = StoreAppender(path, source, overwrite=overwrite)
    return appender.append(Projection(appender.store.view), Decoders(1), ignore)


def rows_of(store: ClipStore) -> dict[tuple[str, int], tuple[bytes, bytes]]:
    """Pixels and latents of all rows, each compared with its checksum."""
    return {
        (name, view): (store.pixels(clips, clip, view).tobytes(), store.latents(clips, clip, view).tobytes())
        for clips in (store.train, store.val)
        for clip, name in enumerate(clips.ids)
        for view in range(clips.views)
    }


@pytest.fixture(scope="module")
def template(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of half of the videos."""
    folder = tmp_path_factory.mktemp("template")
    make(folder / "store", some(videos))
    return folder


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    """A copy of that store."""
    return shutil.copytree(template / "store", tmp_path / "store")


@pytest.mark.parametrize(
    ("pixels", "latents", "views"), [("raw", "float16", 1), ("jpeg", "int8", 3), ("none", "int8", 1)]
)
def test_a_folder_that_has_grown_is_appended(
    pixels: PixelFormat, latents: LatentFormat, views: int, videos: Path, tmp_path: Path
) -> None:
    source, before = find_source(videos), make(tmp_path / "store", some(videos), pixels, latents, views)
    old_files, old_rows = content(before.path), rows_of(before)
    appender, shown = StoreAppender(before.path, source), list[int]()
    assert appender.clips == len(source.clips) - len(before.train) - len(before.val)
    store = appender.append(Projection(VIEW), Decoders(1), shown.append)
    assert sum(shown) == appender.clips
    files = content(store.path)
    of_generation_0 = {"index.parquet", "position_mean.npy"}
    assert {name for name in old_files if files.get(name) != old_files[name]} == {*of_generation_0, "manifest.json"}
    assert not of_generation_0 & files.keys()
    assert {file.name for file in tmp_path.iterdir()} == {"store"}
    assert old_rows.items() <= rows_of(store).items()
    assert sorted((*store.train.ids, *store.val.ids)) == [clip.id for clip in source.clips]
    assert store.labels == [*source.labels[1:], source.labels[0]]
    places = {name: (clips, clip) for clips in (store.train, store.val) for clip, name in enumerate(clips.ids)}
    for wanted in source.clips:
        clips, clip = places[wanted.id]
        assert (clips.split, store.labels[clips.labels[clip]]) == (wanted.split, wanted.label)
        assert store.videos / clips.videos[clip] == wanted.path
        if pixels != "jpeg":
            cuts = cuts_of(store.view, wanted.id, wanted.label, wanted.split)
            decoded, _ = read_clip(wanted.path, store.view, cuts)
            assert all((store.pixels(clips, clip, n) == decoded[n]).all() for n in range(len(cuts)))
    check_manifest(before, store)
    training = Training(SMALL, store, device="cpu")
    training.train_to(2)
    training.close()


def check_manifest(before: ClipStore, after: ClipStore) -> None:
    """The statistics are those of all latents, and what must not change has not."""
    old, new = before.manifest, after.manifest
    same = ("view", "view_hash", "pixels", "videos", "plan", "skipped", "format_version")
    assert {name: new[name] for name in same} == {name: old[name] for name in same}
    assert (new["generation"], len(new["appended"])) == (1, 1)
    assert new["latents"]["view"] == old["latents"]["view"]
    assert new["teacher"]["sha256"] == old["teacher"]["sha256"]
    clips = range(len(after.train))
    views = [[after.latents(after.train, clip, view) for view in range(after.train.views)] for clip in clips]
    values = np.array(views, dtype=np.float64)
    np.testing.assert_allclose(after.teacher.mean, values.mean(axis=(0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(after.teacher.variance, values.var(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(after.position_mean, values[:, 0].mean(axis=0), atol=1e-5)


def test_an_appended_store_says_of_rounding_what_one_prepared_at_once_does(videos: Path, tmp_path: Path) -> None:
    make(tmp_path / "store", some(videos), latents="int8")
    appended = append(tmp_path / "store", find_source(videos))
    whole = make(tmp_path / "whole", find_source(videos), latents="int8")
    for name in ("relative_error", "val_loss_added"):
        assert appended.manifest["latents"][name] == pytest.approx(whole.manifest["latents"][name], rel=1e-6)
    small = subset(appended, tmp_path / "small", 24, 0, overwrite=False, advance=ignore)
    again = append(small.path, find_source(videos))
    assert rows_of(again) == rows_of(whole)
    errors = [store.manifest["latents"]["relative_error"] for store in (again, whole)]
    assert errors[0] == pytest.approx(errors[1], rel=0.1)


def test_with_nothing_new_nothing_happens(path: Path, videos: Path) -> None:
    appender = StoreAppender(path, some(videos))
    assert appender.clips == 0
    assert appender.append(Projection(VIEW), Decoders(1), ignore).manifest["generation"] == 0
    append(path, find_source(videos))
    before = content_hash(path.parent)
    append(path, find_source(videos))
    assert content_hash(path.parent) == before


def test_clips_that_are_there_keep_their_split_and_label(path: Path, videos: Path) -> None:
    source, before = find_source(videos), ClipStore.open(path)
    moved: dict[Split, Split] = {"train": "val", "val": "train"}
    clips = tuple(replace(clip, split=moved[clip.split], label=source.labels[2]) for clip in source.clips)
    store = append(path, replace(source, clips=clips))
    assert set(before.train.ids) <= set(store.train.ids)
    assert set(before.val.ids) <= set(store.val.ids)
    labels = dict(zip(store.train.ids, store.train.labels, strict=True))
    assert [labels[name] for name in before.train.ids] == list(before.train.labels)


def test_videos_of_another_folder_are_found_where_they_are(videos: Path, tmp_path: Path) -> None:
    store, there = make(tmp_path / "store", some(videos), pixels="none"), {clip.id for clip in some(videos).clips}
    new = [clip for clip in find_source(videos).clips if clip.id not in there]
    (tmp_path / "new").mkdir()
    clips = tuple(replace(clip, path=Path(shutil.copy(clip.path, tmp_path / "new"))) for clip in new)
    store = append(store.path, Source(tmp_path / "new", clips, find_source(videos).labels))
    assert store.videos == videos
    by_id = {clip.id: clip.path for clip in clips}
    listed = {name: video for c in (store.train, store.val) for name, video in zip(c.ids, c.videos, strict=True)}
    assert {name: Path(video) for name, video in listed.items() if name in by_id} == by_id
    assert {video for name, video in listed.items() if name in there} == {f"{name}.webm" for name in there}
    assert len(rows_of(store)) == 48


def test_two_clips_with_one_id_are_refused(path: Path, videos: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(videos, tmp_path / "videos")
    name = ClipStore.open(path).train.ids[3]
    size = (changed / f"{name}.webm").stat().st_size
    (changed / f"{name}.webm").write_bytes((changed / f"{name}.webm").read_bytes()[:-1])
    before = content_hash(path)
    said = rf"videos/{name}\.webm: clip '{name}': video_bytes = {size - 1}: .*{name}\.webm when it had {size};"
    with pytest.raises(StoreError, match=said):
        StoreAppender(path, find_source(changed))
    assert content_hash(path) == before


def test_latents_of_another_teacher_are_refused(path: Path, videos: Path, tmp_path: Path) -> None:
    before = content_hash(tmp_path)
    other = Projection(VIEW)
    other.sha256 = "0" * 64
    with pytest.raises(StoreError, match=f"teacher.sha256 = {Projection.sha256} .*: the teacher given has {'0' * 64}"):
        StoreAppender(path, find_source(videos)).append(other, Decoders(1), ignore)
    assert content_hash(tmp_path) == before
    imported = write_latents(tmp_path / "latents", find_source(videos))
    with pytest.raises(StoreError, match=r"latents: these latents do not say their teacher; .* --teacher-weights$"):
        StoreAppender(path, find_source(videos)).append(imported, Decoders(1), ignore)


def write_latents(folder: Path, source: Source) -> LatentFolder:
    folder.mkdir()
    for number, clip in enumerate(source.clips):
        generator = torch.Generator().manual_seed(number)
        torch.save(torch.randn(VIEW.tokens, 12, generator=generator), folder / f"{clip.id}.pt")
    return LatentFolder(folder, VIEW)


def test_imported_latents_are_followed_by_imported_latents(videos: Path, tmp_path: Path) -> None:
    source, folder = find_source(videos), write_latents(tmp_path / "latents", find_source(videos))
    path = tmp_path / "store"
    builder = StoreBuilder(path, Plan(some(videos), VIEW, "raw", "float16", folder.describe(), "none", 0))
    builder.write(folder, Decoders(1), ignore)
    before = builder.finish(folder, "checked on 4 clips against projection", metadata={})
    with pytest.raises(StoreError, match=r"its latents were imported: .* --latents-from$"):
        append(path, source)
    store = StoreAppender(path, source).append(folder, Decoders(1), ignore)
    assert store.manifest["latents"]["view"] == "unverified"
    assert store.teacher.sha256 != before.teacher.sha256
    assert store.teacher.target_norm == "none"
    for clip, name in enumerate(store.val.ids):
        assert torch.equal(torch.from_numpy(store.latents(store.val, clip)), folder.fetch(name).half().float())


def test_appended_to_again_skipped_clips_are_named_once_and_tried_again(
    path: Path, videos: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(videos, tmp_path / "videos")
    there = {clip.id for clip in some(videos).clips}
    bad, *good = [clip for clip in find_source(broken).clips if clip.id not in there]
    whole = bad.path.read_bytes()
    bad.path.write_bytes(whole[:700])
    source = find_source(broken)
    before = content_hash(tmp_path / "store")
    with pytest.raises(StoreError, match=rf"^{path}: none of 1 new clips could be prepared: .*{bad.id}\.webm"):
        append(path, replace(source, clips=(bad,)))
    assert content_hash(path) == before
    assert not (tmp_path / "store.append").exists()
    store = append(path, replace(source, clips=(bad, *good[:3])))
    assert [clip["id"] for clip in store.manifest["skipped"]] == [bad.id]
    before = content_hash(path)
    append(path, replace(source, clips=(bad,)))
    assert content_hash(path) == before, "skipped again, as is known"
    store = append(path, replace(source, clips=(bad, *good[:6])))
    assert [clip["id"] for clip in store.manifest["skipped"]] == [bad.id]
    bad.path.write_bytes(whole)
    store = append(path, source)
    assert store.manifest["skipped"] == []
    assert (store.manifest["generation"], len(store.manifest["appended"])) == (3, 3)
    assert [file.name for file in path.glob("index*")] == ["index-3.parquet"]
    assert len(rows_of(store)) == 48


def test_another_append_that_did_not_finish_is_refused_unless_told_to_overwrite(
    path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        # What fails there does so before the manifest.
        patch.setattr("trainable.data.maintain.append.write_index", None)
        with pytest.raises(TypeError):
            append(path, find_source(videos))
    assert ClipStore.open(path).manifest["generation"] == 0
    source = find_source(videos)
    fewer = replace(source, clips=source.clips[:30])
    with pytest.raises(StoreError, match=r"store\.append: holds a preparation with other arguments .* --overwrite$"):
        append(path, fewer)
    store = append(path, fewer, overwrite=True)
    shards = {shard["name"] for shard in store.manifest["shards"]}
    assert {file.name.split(".")[0] for file in path.glob("*.pixels.npy")} == shards
    assert len(rows_of(store)) == len({clip.id for clip in fewer.clips} | {clip.id for clip in some(videos).clips})


@pytest.mark.slow  # shards are made as in build/test_builder.py
def test_killed_as_shards_are_made_it_goes_on_to_the_same_bytes(template: Path, videos: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(template, tmp_path / "template")
    contents = kill_often(WORK, copy, videos, step=25)
    assert len(contents) > 2
    assert {moment for moment, content in contents.items() if content != contents[""]} == set()


def test_killed_at_any_moment_of_the_commit_it_goes_on_to_the_same_bytes(
    template: Path, videos: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(template, tmp_path / "template")
    kill_before(WORK, copy, videos, r"manifest\.json")
    names = r"(manifest|index|position_mean)(-1)?\..*|store\.append"
    contents = kill_often(WORK, copy, videos, step=60, always=names)
    assert len(contents) > 12
    assert {moment for moment, content in contents.items() if content != contents[""]} == set()
    append_all(copy, videos)
    assert content_hash(copy) == contents[""]
