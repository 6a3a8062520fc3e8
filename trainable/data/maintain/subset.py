"""A smaller store out of a store: rows are copied as they are stored, nothing is decoded and no teacher is asked."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainable.data.build.completed_shards import CompletedShards, Row
from trainable.data.build.finalize import (
    Sums,
    describe_latents,
    index_name,
    write_index,
    write_manifest,
    write_position_mean,
)
from trainable.data.build.plan import number_shards
from trainable.data.build.shard_writer import ShardWriter
from trainable.data.build.staging import StagedStore
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import dequantise
from trainable.data.store.index import INDEX_SCHEMA, SPLITS, Clips
from trainable.data.store.targets import Targets
from trainable.data.video.video_dataset import Split
from trainable.errors import ConfigError, StoreError
from trainable.files import copy_folder

Stratum = tuple[Split, int]  # split and label
T = TypeVar("T")


def subset(
    store: ClipStore, path: Path, clips: int, seed: int, *, overwrite: bool, advance: Callable[[int], None]
) -> ClipStore:
    """Makes a store of some clips of a store, in which every class keeps its share of each split.

    It is staged in `PATH.partial`; stopped at any moment, the same call goes on. The manifest's `relative_error` and
    `val_loss_added` are those of the store it is taken from: what the teacher gave before rounding is gone.

    Args:
        store: where the clips come from.
        path: the store to be.
        clips: how many, of both splits together.
        seed: chooses them. A smaller subset of the same seed lies within a larger one, but for the odd clip that a
            class loses to another by rounding.
        overwrite: replace a store, or an unfinished one, that was prepared otherwise.
        advance: called with a number of clips when that many more are there; at once with those of an earlier run.

    Returns:
        The new store; the one that is there already, where it is this subset.

    Raises:
        ConfigError: fewer than two clips, or more than there are.
        StoreError: `path` holds something else, or a row differs from its checksum.
    """
    there = len(store.train) + len(store.val)
    if clips > there:
        raise ConfigError("N", clips, f"the store has {there} clips")
    if clips < len(SPLITS):
        raise ConfigError("N", clips, "must be at least 2: a clip to train on and one to hold out")
    if path.resolve() == store.path.resolve():
        raise StoreError(f"{path}: is the store that the clips are taken from; choose another --store")
    plan = {
        "subset_of": store.manifest["fingerprint"],
        "clips": clips,
        "seed": seed,
        "group_by": store.manifest["plan"].get("group_by"),
    }
    staged = StagedStore(path, plan, overwrite=overwrite)
    if staged.done:
        advance(clips)
        return ClipStore.open(staged.path)
    staged.partial.begin()
    shards = list(_shards(store, clips, seed))
    completed = CompletedShards(staged.partial.completed, (shard.name for shard in shards))
    for shard in shards:
        if not completed.has(shard.name):
            _copy(store, shard, staged.partial.folder, completed)
        advance(len(shard.chosen))
    return _finish(store, staged, completed)


def choose(strata: Mapping[str, Stratum], clips: int, seed: int) -> set[str]:
    """Chooses clips so that each split keeps its share, at least one clip, and each label its share of the split.

    Args:
        strata: split and label of every clip, by its id, in any order.
        clips: how many to choose: not more than there are, nor fewer than there are splits.
        seed: chooses among the clips of a stratum, and between strata with equal claims.
    """
    members: dict[Split, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in sorted(strata, key=lambda name: _draw(seed, name)):
        split, label = strata[name]
        members[split][label].append(name)
    chosen: set[str] = set()
    sizes = {split: sum(map(len, labels.values())) for split, labels in members.items()}
    for split, seats in _share(sizes, clips, least=1).items():
        labels = members[split]
        for label, count in _share({label: len(names) for label, names in labels.items()}, seats).items():
            chosen.update(labels[label][:count])
    return chosen


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"subset:{seed}:{name}".encode(), digest_size=16).digest()


def _share(sizes: Mapping[T, int], seats: int, least: int = 0) -> dict[T, int]:
    """Shares out seats by the method of the largest remainder, in exact arithmetic; of equals the first comes first."""
    there = sum(sizes.values())
    shares = {name: max(least, seats * size // there) for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: seats * sizes[name] % there, reverse=True)
    for name in by_remainder[: max(0, seats - sum(shares.values()))]:
        shares[name] += 1
    return shares


@dataclass(frozen=True)
class _Shard:
    """What a shard of the new store is copied from.

    Attributes:
        name: of the new shard.
        clips: the split of the store.
        chosen: positions of its clips in the split.
        index: their rows of the store's index, in the same order.
    """

    name: str
    clips: Clips
    chosen: list[int]
    index: pa.Table


def _shards(store: ClipStore, clips: int, seed: int) -> Iterator[_Shard]:
    splits = [store.clips(split) for split in SPLITS]
    strata = {name: (s.split, int(label)) for s in splits for name, label in zip(s.ids, s.labels, strict=True)}
    ids = choose(strata, clips, seed)
    index = pq.read_table(store.path / store.manifest["index"], schema=INDEX_SCHEMA)
    index = index.filter(pc.is_in(index["id"], pa.array(sorted(ids))))
    index = index.sort_by([("split", "ascending"), ("id", "ascending"), ("view", "ascending")])
    start = 0
    for split in splits:
        chosen = [clip for clip, name in enumerate(split.ids) if name in ids]
        for name, part in number_shards(split.split, chosen):
            yield _Shard(name, split, part, index.slice(start, len(part) * split.views))
            start += len(part) * split.views


def _copy(store: ClipStore, shard: _Shard, folder: Path, completed: CompletedShards) -> None:
    # Opened anew for each shard, so that no more than what this one is made from stays mapped.
    store = ClipStore(store.path, store.manifest, store.view, store.train, store.val)
    places = ((clip, view) for clip in shard.chosen for view in range(shard.clips.views))
    rows: list[Row] = []
    with ShardWriter(folder, shard.name) as writer:
        for (clip, view), row in zip(places, shard.index.to_pylist(), strict=True):
            start = _copy_pixels(store, shard.clips, clip, view, writer)
            writer.add_latents(_stored_targets(*store.stored_latents(shard.clips, clip, view)))
            place = {"shard": shard.name, "row": len(rows), "pixels_start": start}
            rows.append({**row, **place})
    completed.write_latents(shard.name, writer.latent_facts())
    completed.write(shard.name, rows, [])  # last: it says that the shard is whole


def _copy_pixels(store: ClipStore, clips: Clips, clip: int, view: int, writer: ShardWriter) -> int | None:
    """Copies a row as it is stored; says where its JPEG begins."""
    if store.pixel_format == "none":
        return None
    start = writer.add_pixels(store.stored_pixels(clips, clip, view))
    return start if store.pixel_format == "jpeg" else None


def _stored_targets(latents: npt.NDArray[Any], scales: npt.NDArray[np.float32] | None) -> Targets:
    """Returns one row as it is stored, with the sums of its values; what was rounded away is not known any more."""
    values = dequantise(latents, scales).astype(np.float64)
    return Targets(
        latents=latents[None],
        scales=None if scales is None else scales[None],
        total=values.sum(axis=0),
        square_total=np.square(values).sum(axis=0),
        squared_error=0.0,
    )


def _finish(store: ClipStore, staged: StagedStore, completed: CompletedShards) -> ClipStore:
    folder, index, said = staged.partial.folder, completed.index(latents=True), store.manifest["latents"]
    train, val = (_sums(store, completed, split) for split in SPLITS)
    latents = describe_latents(said["format"], store.view, said["view"], train, val)
    write_index(folder / index_name(0), index)
    write_manifest(
        folder,
        view=store.view,
        videos=store.videos,
        labels=store.labels,
        index=index,
        pixels=store.pixel_format,
        latents={**latents, **{name: said[name] for name in ("relative_error", "val_loss_added")}},
        teacher=store.manifest["teacher"],
        skipped=[],
        plan=staged.partial.plan,
        reading=store.manifest.get("reading"),
    )
    write_position_mean(ClipStore.open(folder, whole=False))
    if (store.path / "teacher").is_dir():
        copy_folder(store.path / "teacher", folder / "teacher")
    return staged.take_name()


def _sums(store: ClipStore, completed: CompletedShards, split: Split) -> Sums:
    """Returns the subset's sums; of what rounding changed, its share, so that clips can be appended to it later."""
    all_clips = Sums.of([store.manifest["latents"]["sums"][split]], store.teacher.dim)
    sums = Sums.of(completed.latent_facts(split), store.teacher.dim)
    return replace(sums, squared_error=all_clips.squared_error * sums.tokens / all_clips.tokens)
