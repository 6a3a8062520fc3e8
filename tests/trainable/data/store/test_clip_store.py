"""An open store is whole; what is not whole says in one line what is wrong with it."""

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import torch

from tests.trainable.conftest import THREE_VIEWS, StoreOf
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import LatentFormat, PixelFormat
from trainable.data.store.shards import allow_files
from trainable.data.store.targets import normalise
from trainable.data.video.crops import cuts_of
from trainable.data.video.reader import read_clip
from trainable.data.video.video_dataset import Split, find_source
from trainable.data.video.view import View
from trainable.errors import StoreError
from trainable.hashing import clip_key, digest
from trainable.teachers.pixel import PixelTeacher

SPLITS: tuple[Split, Split] = ("train", "val")


@pytest.fixture
def copy(store_path: Path, tmp_path: Path) -> Path:
    """A copy of the store, to be damaged."""
    return Path(shutil.copytree(store_path, tmp_path / "store"))


def test_an_open_store_says_what_it_holds(store: ClipStore, videos: Path) -> None:
    assert store.view == View(frames=8, size=32, patch=8, tubelet=2)
    source = find_source(videos)
    for split in SPLITS:
        expected = sorted((clip.id, source.labels.index(clip.label)) for clip in source.clips if clip.split == split)
        clips = store.clips(split)
        assert sorted(zip(clips.ids, clips.labels.tolist(), strict=True)) == expected
        assert clips.keys.tolist() == [clip_key(name) for name in clips.ids]
    assert (len(store.train), len(store.val)) == (32, 16)
    assert tuple(store.labels) == source.labels
    assert store.teacher.name == "pixel"
    assert store.teacher.mean.shape == store.teacher.variance.shape == (store.teacher.dim,)


def test_pixels_are_the_videos(store: ClipStore, videos: Path) -> None:
    for split in SPLITS:
        clips = store.clips(split)
        for clip, name in enumerate(clips.ids):
            (tokens,), _ = read_clip(videos / f"{name}.webm", store.view)
            assert (store.pixels(clips, clip) == tokens).all(), name


def test_latents_are_the_teachers_of_the_same_clip(store: ClipStore) -> None:
    teacher = PixelTeacher(store.path / "teacher", "cpu")
    assert (teacher.sha256, teacher.dim) == (store.teacher.sha256, store.teacher.dim)
    for split in SPLITS:
        clips = store.clips(split)
        for clip in range(len(clips)):
            pixels = torch.from_numpy(np.array(store.pixels(clips, clip)))
            expected = normalise(teacher.latents(pixels[None]), "layer_norm")[0].numpy()
            assert store.stored_latents(clips, clip)[0].dtype == np.float16
            stored = store.latents(clips, clip)
            assert stored.dtype == np.float32
            np.testing.assert_allclose(stored, expected, atol=4e-3)
            other = store.latents(clips, (clip + 1) % len(clips))
            assert np.abs(other - expected).max() > 0.1, "the comparison could not tell two clips apart"


def test_the_index_holds_the_frames_and_checksums_of_each_clip(store: ClipStore, videos: Path) -> None:
    for row in pq.read_table(store.path / "index.parquet").to_pylist():
        clips = store.clips(row["split"])
        clip = clips.ids.index(row["id"])
        assert row["frames"] == read_clip(videos / f"{row['id']}.webm", store.view)[1].tolist()
        assert row["pixels_xxh3"] == digest(store.pixels(clips, clip))
        assert row["latents_xxh3"] == digest(store.stored_latents(clips, clip)[0])
        assert (videos / row["video"]).stat().st_size == row["video_bytes"]


def test_rows_are_mapped_not_read(store: ClipStore) -> None:
    pixels = store.shard(store.train.shards[0], "pixels")
    assert not pixels.flags.writeable
    assert not pixels.flags.owndata
    assert store.shard(store.train.shards[0], "pixels") is pixels


FORMATS: list[tuple[PixelFormat, LatentFormat]] = [
    ("raw", "float16"),
    ("none", "float16"),
    ("raw", "int8"),
    ("jpeg", "float16"),
    ("jpeg", "int8"),
]


@pytest.mark.parametrize(("pixels", "latents"), FORMATS)
def test_stores_of_all_formats_give_the_same(
    store_of: StoreOf, videos: Path, pixels: PixelFormat, latents: LatentFormat
) -> None:
    plain, other = store_of("raw", "float16"), store_of(pixels, latents)
    assert (other.pixel_format, other.latent_format) == (pixels, latents)
    assert other.train.ids == plain.train.ids
    assert (other.train.views, other.val.views) == (3, 1)
    assert bool(list(other.path.glob("*.pixels.npy"))) == (pixels != "none")
    assert bool(list(other.path.glob("*.scales.npy"))) == (latents == "int8")
    for split in SPLITS:
        clips, others = plain.clips(split), other.clips(split)
        for clip in range(0, len(clips), 5):
            name, label = clips.ids[clip], plain.labels[clips.labels[clip]]
            cuts = cuts_of(THREE_VIEWS, name, label, split)
            decoded, _ = read_clip(videos / clips.videos[clip], THREE_VIEWS, cuts)
            for view in range(clips.views):
                found = other.pixels(others, clip, view)
                error = np.abs(found.astype(int) - decoded[view])
                assert error.mean() < (3 if pixels == "jpeg" else 1e-9)
                wanted, values = plain.latents(clips, clip, view), other.latents(others, clip, view)
                rms = float(np.sqrt(np.square(values - wanted).mean() / np.square(wanted).mean()))
                if pixels != "jpeg":  # the teacher looks at what the student will see
                    assert rms < (0.01 if latents == "int8" else 1e-9)
                elif latents == "int8":
                    exact = store_of("jpeg", "float16").latents(others, clip, view)
                    assert np.sqrt(np.square(values - exact).mean() / np.square(exact).mean()) < 0.01


def all_latents(store: ClipStore, split: Split) -> npt.NDArray[np.float64]:
    """Shape (rows, tokens, teacher's width)."""
    clips = store.clips(split)
    places = [(clip, view) for clip in range(len(clips)) for view in range(clips.views)]
    return np.stack([store.latents(clips, *place) for place in places]).astype(np.float64)


def test_what_the_manifest_says_of_the_latents_is_true(store_of: StoreOf) -> None:
    exact, rounded = store_of("raw", "float16"), store_of("raw", "int8")
    wanted = {split: all_latents(exact, split) for split in SPLITS}
    errors = {split: np.square(all_latents(rounded, split) - wanted[split]) for split in SPLITS}
    relative = (sum(e.sum() for e in errors.values()) / sum(np.square(w).sum() for w in wanted.values())) ** 0.5
    stated = rounded.manifest["latents"]
    assert stated["relative_error"] == pytest.approx(relative, rel=0.02)
    assert stated["val_loss_added"] == pytest.approx(errors["val"].mean(), rel=0.02)
    assert 0 < stated["relative_error"] < 0.01
    assert exact.manifest["latents"]["relative_error"] < stated["relative_error"] / 10
    for store in (exact, rounded):
        training = all_latents(store, "train")
        np.testing.assert_allclose(store.teacher.mean, training.mean(axis=(0, 1)), atol=1e-5)
        np.testing.assert_allclose(store.teacher.variance, training.var(axis=(0, 1)), atol=1e-5)
        np.testing.assert_allclose(store.position_mean, training[::3].mean(axis=0), atol=1e-5)


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def truncate(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


def swap_index(path: Path, change: Callable[[Any], Any]) -> None:
    pq.write_table(change(pq.read_table(path / "index.parquet")), path / "index.parquet")


OTHER = {"view_hash": "0" * 64}

DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "older format": (lambda p: rewrite(p, lambda m: m.update(format_version=1)), "format_version = 1: this version"),
    "newer format": (lambda p: rewrite(p, lambda m: m.update(format_version=4)), "format_version = 4: this version"),
    "no manifest": (lambda p: (p / "manifest.json").unlink(), "not a finished clip store"),
    "empty manifest": (lambda p: (p / "manifest.json").write_text(""), "not a clip store's manifest"),
    "half a manifest": (lambda p: truncate(p / "manifest.json", 0.5), "not a clip store's manifest"),
    "list as manifest": (lambda p: (p / "manifest.json").write_text("[]"), "not a clip store's manifest"),
    "no version": (lambda p: rewrite(p, lambda m: m.pop("format_version")), "not a clip store's manifest"),
    "no shards": (lambda p: rewrite(p, lambda m: m.pop("shards")), "shards is missing"),
    "shard without name": (lambda p: rewrite(p, lambda m: m["shards"][0].pop("name")), "prepare the store again"),
    "teacher without width": (lambda p: rewrite(p, lambda m: m["teacher"].pop("dim")), "prepare the store again"),
    "teacher without mean": (lambda p: rewrite(p, lambda m: m["teacher"].pop("mean")), "prepare the store again"),
    "impossible view": (lambda p: rewrite(p, lambda m: m["view"].update(patch=7)), "view: size = 32"),
    "other view": (lambda p: rewrite(p, lambda m: m["view"].update(patch=16)), "view_hash = "),
    "other crop": (lambda p: rewrite(p, lambda m: m["view"].update(crop_rule="none")), "view_hash = "),
    "other hash": (lambda p: rewrite(p, lambda m: m.update(OTHER)), "view_hash = '0000"),
    "other flips": (lambda p: rewrite(p, lambda m: m["view"].update(views=2, flips="some")), "view: flips = 'some'"),
    "more views": (lambda p: rewrite(p, lambda m: m["view"].update(views=2)), "view_hash = "),
    "pixels of another view": (lambda p: rewrite(p, lambda m: m["pixels"].update(OTHER)), "pixels.view_hash = '0000"),
    "latents of another view": (lambda p: rewrite(p, lambda m: m["latents"].update(OTHER)), "latents.view_hash = '00"),
    "latents of no view": (lambda p: rewrite(p, lambda m: m["latents"].pop("view_hash")), "prepare the store again"),
    "teacher without latents": (lambda p: rewrite(p, lambda m: m.update(latents=None)), "prepare the store again"),
    "no pixels": (lambda p: (p / "train-00000.pixels.npy").unlink(), "train-00000.pixels.npy: missing"),
    "half the latents": (lambda p: truncate(p / "val-00000.latents.npy", 0.5), "val-00000.latents.npy: truncated"),
    "empty pixels": (lambda p: truncate(p / "val-00000.pixels.npy", 0), "val-00000.pixels.npy: truncated"),
    "one byte less": (lambda p: truncate(p / "train-00000.pixels.npy", 0.999999), "train-00000.pixels.npy: truncated"),
    "fewer clips": (lambda p: np.save(p / "val-00000.pixels.npy", np.zeros((1, 64, 384), np.uint8)), "shape (1, 64,"),
    "no index": (lambda p: (p / "index.parquet").unlink(), "index.parquet: missing"),
    "half an index": (lambda p: truncate(p / "index.parquet", 0.5), "index.parquet: truncated"),
    "index of fewer clips": (lambda p: swap_index(p, lambda t: t.slice(1)), "index.parquet: "),
    "index without labels": (lambda p: swap_index(p, lambda t: t.drop_columns("label")), "index.parquet: "),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_refused_in_one_line(copy: Path, damage: str) -> None:
    change, expected = DAMAGES[damage]
    change(copy)
    with pytest.raises(StoreError) as caught:
        _ = ClipStore.open(copy).teacher
    message = str(caught.value)
    assert message.startswith(str(copy))
    assert expected in message
    assert "\n" not in message


def test_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no such clip store; make one with `python -m salt_tune.prepare`$"):
        ClipStore.open(tmp_path / "nothing")


def test_a_store_without_latents_opens_but_has_no_teacher(copy: Path) -> None:
    rewrite(copy, lambda manifest: manifest.update(teacher=None, latents=None))
    store = ClipStore.open(copy)
    assert len(store.train) == 32
    with pytest.raises(StoreError, match="the store has no latents; finish preparing it"):
        _ = store.teacher


def test_a_position_mean_that_is_missing_or_of_another_shape_is_named(copy: Path) -> None:
    np.save(copy / "position_mean.npy", np.zeros((3, 3), np.float32))
    with pytest.raises(StoreError, match=r"position_mean\.npy: shape \(3, 3\) of float32: the manifest says \(64, "):
        _ = ClipStore.open(copy).position_mean
    (copy / "position_mean.npy").unlink()
    with pytest.raises(StoreError, match=r"position_mean\.npy: missing"):
        _ = ClipStore.open(copy).position_mean


@pytest.mark.parametrize("half", ["pixels", "latents"])
def test_a_row_that_was_changed_is_named_when_it_is_read(copy: Path, half: Any) -> None:
    shard = np.load(copy / f"train-00000.{half}.npy", mmap_mode="r+")
    shard.view(np.uint8).reshape(len(shard), -1)[5, 77] ^= 1
    shard.flush()
    store = ClipStore.open(copy)  # reads no row
    clip = store.train.rows.tolist().index(5)
    read = store.pixels if half == "pixels" else store.latents
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            read(store.train, clip)
        assert str(caught.value) == (
            f"{copy / f'train-00000.{half}.npy'}: clip {store.train.ids[clip]!r}, row 5: {half} differ from their "
            f"checksum; rebuild it with `python -m salt_tune.prepare repair {copy}`"
        )
    for other in range(len(store.train)):
        if other != clip:
            read(store.train, other)
    assert (store.latents if half == "pixels" else store.pixels)(store.train, clip).any()


@pytest.mark.parametrize(("pixels", "latents"), [("jpeg", "float16"), ("raw", "int8")])
def test_a_jpeg_and_a_scale_that_were_changed_are_noticed(
    store_of: StoreOf, tmp_path: Path, pixels: PixelFormat, latents: LatentFormat
) -> None:
    damaged = shutil.copytree(store_of(pixels, latents).path, tmp_path / "store")
    part = "pixels" if pixels == "jpeg" else "scales"
    shard = np.load(damaged / f"train-00000.{part}.npy", mmap_mode="r+")
    shard.reshape(-1).view(np.uint8)[-1] ^= 1  # of the last view of the last clip
    shard.flush()
    store = ClipStore.open(damaged)
    read = store.pixels if pixels == "jpeg" else store.latents
    last = int(np.argmax(store.train.rows))
    for view in (0, 1):
        read(store.train, last, view)
    with pytest.raises(StoreError, match=rf"clip '{store.train.ids[last]}', view 2, row \d+: .* differ from"):
        read(store.train, last, 2)


def test_a_video_that_is_another_one_or_gone_is_named_where_pixels_are_not_stored(
    store_of: StoreOf, videos: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(store_of("none", "float16").path, tmp_path / "store")
    moved = shutil.copytree(videos, tmp_path / "videos")
    rewrite(path, lambda manifest: manifest.update(videos=str(moved)))
    store = ClipStore.open(path)
    name, clip = store.train.ids[0], moved / store.train.videos[0]
    assert store.pixels(store.train, 1).any()
    shutil.copy(moved / store.train.videos[1], clip)
    with pytest.raises(StoreError) as caught:
        store.pixels(store.train, 0)
    assert str(caught.value) == f"{clip}: clip '{name}': decodes to other pixels than when it was prepared"
    clip.unlink()
    with pytest.raises(StoreError, match=rf"store: clip '{name}': .*No such file.*; put the video back$"):
        store.pixels(store.train, 0)


def test_the_limit_of_open_files_is_raised_as_far_as_the_system_lets() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (900, hard))
        allow_files(800)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (900, hard)
        allow_files(1000)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1000, hard)
        if hard != resource.RLIM_INFINITY:
            with pytest.raises(StoreError, match=f"this store needs {hard + 1}; raise the limit with `ulimit -Hn"):
                allow_files(hard + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
