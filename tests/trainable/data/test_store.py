"""An open store is whole; what is not whole says in one line what is wrong with it."""

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from trainable.data.sources import find_source
from trainable.data.store import ClipStore, clip_key
from trainable.data.videos import read_clip
from trainable.data.view import View
from trainable.errors import StoreError
from trainable.teacher import PixelTeacher, normalise


@pytest.fixture
def copy(store_path: Path, tmp_path: Path) -> Path:
    """A copy of the store, to be damaged."""
    return Path(shutil.copytree(store_path, tmp_path / "store"))


def test_an_open_store_says_what_it_holds(store: ClipStore, videos: Path) -> None:
    assert store.view == View(frames=8, size=32, patch=8, tubelet=2)
    source = find_source(videos)
    for split in ("train", "val"):
        expected = sorted((clip.id, source.labels.index(clip.label)) for clip in source.clips if clip.split == split)
        clips = store.clips(split)
        assert sorted(zip(clips.ids, clips.labels.tolist(), strict=True)) == expected
        assert clips.keys.tolist() == [clip_key(name) for name in clips.ids]
    assert (len(store.train), len(store.val)) == (32, 16)
    assert tuple(store.labels) == source.labels
    assert store.teacher.name == "pixel"
    assert store.teacher.mean.shape == store.teacher.variance.shape == (store.teacher.dim,)


def test_pixels_are_the_videos(store: ClipStore, videos: Path) -> None:
    for split in ("train", "val"):
        clips = store.clips(split)
        for clip, name in enumerate(clips.ids):
            tokens, _ = read_clip(videos / f"{name}.webm", store.view)
            assert (store.row(clips, clip, "pixels") == tokens).all(), name


def test_latents_are_the_teachers_of_the_same_clip(store: ClipStore) -> None:
    teacher = PixelTeacher(store.path / "teacher", "cpu")
    assert (teacher.sha256, teacher.dim) == (store.teacher.sha256, store.teacher.dim)
    for split in ("train", "val"):
        clips = store.clips(split)
        for clip in range(len(clips)):
            pixels = torch.from_numpy(np.array(store.row(clips, clip, "pixels")))
            expected = normalise(teacher.latents(pixels[None]), "layer_norm")[0].numpy()
            stored = store.row(clips, clip, "latents")
            assert stored.dtype == np.float16
            np.testing.assert_allclose(stored, expected, atol=4e-3)
            other = store.row(clips, (clip + 1) % len(clips), "latents")
            assert np.abs(other - expected).max() > 0.1, "the comparison could not tell two clips apart"


def test_the_index_holds_the_frames_and_checksums_of_each_clip(store: ClipStore, videos: Path) -> None:
    for row in pq.read_table(store.path / "index.parquet").to_pylist():
        clips = store.clips(row["split"])
        clip = clips.ids.index(row["id"])
        assert row["frames"] == read_clip(videos / f"{row['id']}.webm", store.view)[1].tolist()
        assert row["pixels_crc32"] == zlib.crc32(store.row(clips, clip, "pixels").tobytes())
        assert row["latents_crc32"] == zlib.crc32(store.row(clips, clip, "latents").tobytes())


def test_rows_are_mapped_not_read(store: ClipStore) -> None:
    pixels = store.shard(store.train.shards[0], "pixels")
    assert not pixels.flags.writeable
    assert not pixels.flags.owndata
    assert store.shard(store.train.shards[0], "pixels") is pixels


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def truncate(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


def swap_index(path: Path, change: Callable[[Any], Any]) -> None:
    pq.write_table(change(pq.read_table(path / "index.parquet")), path / "index.parquet")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "newer format": (lambda p: rewrite(p, lambda m: m.update(format_version=2)), "format_version = 2: this version"),
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
    "other hash": (lambda p: rewrite(p, lambda m: m.update(view_hash="0" * 64)), "view_hash = '0000"),
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
    rewrite(copy, lambda manifest: manifest.update(teacher=None))
    store = ClipStore.open(copy)
    assert len(store.train) == 32
    with pytest.raises(StoreError, match="the store has no latents; finish preparing it"):
        _ = store.teacher


def test_keys_of_clips_are_the_same_on_every_machine() -> None:
    assert clip_key("1") == 0x7637BA9F0342FCF6
