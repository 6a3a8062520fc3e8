"""Rebuilds the damaged rows of a store, in place.

Pixels are decoded again from their videos and must come out as they were. Latents are computed again from the pixels,
in batches like those of the preparation, so that the same machine gives the same bits. Other bits are taken, and the
index gets their checksums. Whenever a repair is killed, what it has not finished is still bad for the next one.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from trainable.data.build.decoding import Decoded, Decoders
from trainable.data.build.finalize import (
    describe_latents,
    index_name,
    position_mean_name,
    stored_sums,
    write_index,
    write_manifest,
    write_position_mean,
)
from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.build.plan import SHARD_CLIPS
from trainable.data.build.stages import BATCH_ROWS, Advance
from trainable.data.maintain.rows import BadRow, Row, all_rows, by_shard, files_of
from trainable.data.maintain.verify import HALVES, check_rows, complaint_of, decode_rows
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import TargetNorm
from trainable.data.store.index import INDEX_SCHEMA, SPLITS, read_index
from trainable.data.store.shards import Half
from trainable.data.store.targets import encode, normalise
from trainable.errors import StoreError
from trainable.hashing import digest

PUT_BACK: Final = "put the video back as it was, or prepare the store again with --overwrite"


def repair(
    store: ClipStore, bad: list[BadRow], teacher: FrozenTeacher | None, decoders: Decoders, advance: Advance
) -> int:
    """Rebuilds bad rows in place; open the store again then.

    Args:
        store: may have been opened with `whole=False`.
        bad: what `verify` found.
        teacher: whose latents the store holds; not needed where none are bad.
        decoders: processes, or threads, that decode.
        advance: called with a number of rows when that many more are good.

    Returns:
        How many rows got latents of other bits than before, as from another machine.

    Raises:
        StoreError: a video is missing or decodes to other pixels; the teacher is missing, not the store's, or unknown,
            as the latents were imported. Rows that cannot be rebuilt stay as they are.
    """
    rows = {half: _named(store, half, bad) for half in HALVES}
    lost = {half: _lost(store, half, rows[half]) for half in HALVES}
    _refuse(store, bad, len(lost["latents"]), teacher)
    for half, damaged in rows.items():
        for file in (file for run in by_shard(damaged) for file in files_of(store, run[0].shard, half)):
            with file:
                file.mend()
    advance(len(bad) - len(lost["pixels"]) - len(lost["latents"]))
    _repair_pixels(store, lost["pixels"], decoders, advance)
    store = ClipStore.open(store.path, whole=False)  # one that has not looked at the damaged files
    changed = {} if teacher is None else _repair_latents(store, lost["latents"], teacher, decoders, advance)
    if changed:
        _take_digests(store, changed)
    _mend_position_mean(ClipStore.open(store.path, whole=False))
    return len(changed)


def _refuse(store: ClipStore, bad: list[BadRow], latents: int, teacher: FrozenTeacher | None) -> None:
    """Refuses what cannot be repaired, before anything is written."""
    if store.pixel_format == "none" and (video := next((row for row in bad if row.half == "pixels"), None)):
        raise StoreError(f"{video.file}: clip {video.id!r}: {video.reason}; {PUT_BACK}")
    check_latents_again(store, latents, teacher)


def check_latents_again(store: ClipStore, latents: int, teacher: FrozenTeacher | None) -> None:
    """Refuses to compute latents again where that is not possible.

    Args:
        store: the store.
        latents: rows of latents that are not as they should be.
        teacher: that is at hand.

    Raises:
        StoreError: there are such rows, and the teacher is not the store's, or unknown.
    """
    if not latents:
        return
    what, wanted = f"{store.path}: {latents} rows of latents are damaged", store.teacher
    if wanted.imported:
        raise StoreError(f"{what} and were imported, so that they cannot be computed again; prepare the store again")
    if teacher is None:
        raise StoreError(f"{what}: name the teacher's weights ({wanted.name}, sha256 {wanted.sha256})")
    if teacher.sha256 != wanted.sha256:
        raise StoreError(f"{what}: the teacher given has sha256 {teacher.sha256}, the store's {wanted.sha256}")


def refuse_rows(refused: list[str], remedy: str) -> None:
    """Names the first of the rows that cannot be rebuilt, where there are any.

    Raises:
        StoreError: there are.
    """
    if refused:
        others = f" (so is it with {len(refused) - 1} more rows)" if len(refused) > 1 else ""
        raise StoreError(f"{refused[0]}{others}; {remedy}")


def _named(store: ClipStore, half: Half, bad: Iterable[BadRow]) -> list[Row]:
    """Returns the rows of which one half is among the bad ones, in the order of their clips."""
    named = {(row.split, row.clip, row.view) for row in bad if row.half == half}
    return [row for row in all_rows(store) if row[:3] in named]


def _lost(store: ClipStore, half: Half, rows: list[Row]) -> list[Row]:
    """Returns the rows that lack their content, whatever the headers of their files say."""
    return _named(
        store, half, (bad for run in by_shard(rows) for bad in check_rows(store, half, run, headers=False)[0])
    )


def _write(store: ClipStore, half: Half, row: Row, stored: Iterable[npt.NDArray[Any]]) -> None:
    for file, data in zip(files_of(store, row.shard, half), stored, strict=True):
        with file:
            file.write(row, data)


def _repair_pixels(store: ClipStore, rows: list[Row], decoders: Decoders, advance: Advance) -> None:
    refused: list[str] = []
    for row, result in decode_rows(store, rows, decoders):
        if complaint := complaint_of(row, result):
            refused.append(f"{row.video}: clip {row.id!r}: {complaint}")
        elif isinstance(result, Decoded):
            _write(store, "pixels", row, [result.stored[row.view]])
            advance(1)
    refuse_rows(refused, PUT_BACK)


def _repair_latents(
    store: ClipStore, rows: list[Row], teacher: FrozenTeacher, decoders: Decoders, advance: Advance
) -> dict[Row, int]:
    """Computes latents again; returns the checksums of those that are not what they were in any batch."""
    left, changed = set(rows), dict[Row, int]()
    by_clips, by_rows = _batches(store)
    last, norm = set(by_rows), cast(TargetNorm, store.teacher.target_norm)
    with ThreadPoolExecutor(decoders.processes, thread_name_prefix="decoder") as pool:
        for batch in (*by_clips, *by_rows):
            if left.isdisjoint(batch):
                continue
            views = pool.map(lambda row: store.pixels(store.clips(row.split), row.clip, row.view), batch)
            latents = teacher.latents(torch.from_numpy(np.stack(list(views))))
            targets = encode(normalise(latents, norm), store.latent_format)
            for place, row in enumerate(batch):
                stored = [part[place] for part in (targets.latents, targets.scales) if part is not None]
                same = digest(*stored) == row.latents
                if row in left and (same or batch in last):
                    _write(store, "latents", row, stored)
                    left.remove(row)
                    changed |= {} if same else {row: digest(*stored)}
                    advance(1)
    return changed


def _batches(store: ClipStore) -> tuple[list[tuple[Row, ...]], list[tuple[Row, ...]]]:
    """Returns the batches in which a teacher may have seen the rows: by clips beside decoding, or by rows after it.

    The former leave gaps for clips that were skipped; see `stages.decode_batches` and `StoreBuilder.add_latents`.
    """
    names = [(row.split, row.id) for row in all_rows(store) if row.view == 0]
    names += [(clip["split"], clip["id"]) for clip in store.manifest["skipped"]]
    counts = {"train": itertools.count(), "val": itertools.count()}
    places = {(split, name): next(counts[split]) for split, name in sorted(names)}
    by_clips, by_rows = defaultdict[Any, list[Row]](list), defaultdict[Any, list[Row]](list)
    for row in all_rows(store):
        shard, place = divmod(places[row.split, row.id], SHARD_CLIPS)
        by_clips[row.shard, shard, place // max(1, BATCH_ROWS // store.view.views)].append(row)
        by_rows[row.shard, row.row // BATCH_ROWS].append(row)
    return list(map(tuple, by_clips.values())), list(map(tuple, by_rows.values()))


def _take_digests(store: ClipStore, changed: dict[Row, int]) -> None:
    """Puts checksums into the index and renews the statistics: new files, so that the manifest replaces all at once."""
    manifest, generation = store.manifest, store.manifest["generation"] + 1
    index = pq.read_table(store.path / manifest["index"], schema=INDEX_SCHEMA)
    taken = {(row.split, row.id, row.view): checksum for row, checksum in changed.items()}
    names = zip(*(index[name].to_pylist() for name in ("split", "id", "view")), strict=True)
    checksums = [taken.get(name, was) for name, was in zip(names, index["latents_xxh3"].to_pylist(), strict=True)]
    column = index.schema.get_field_index("latents_xxh3")
    index = index.set_column(column, INDEX_SCHEMA.field(column), pa.array(checksums, pa.uint64()))
    files = {"index": index_name(generation), "position_mean": position_mean_name(generation)}
    write_index(store.path / files["index"], index)
    renewed = ClipStore(store.path, manifest | files, store.view, *read_index(store.path, manifest | files))
    write_position_mean(renewed)
    said = manifest["latents"]
    train, val = (stored_sums(renewed, renewed.clips(s), said["sums"][s]["squared_error"]) for s in SPLITS)
    write_manifest(
        store.path,
        view=store.view,
        videos=store.videos,
        labels=store.labels,
        index=index,
        pixels=store.pixel_format,
        latents=describe_latents(said["format"], store.view, said["view"], train, val),
        teacher=manifest["teacher"],
        skipped=manifest["skipped"],
        plan=manifest["plan"],
        generation=generation,
        reading=manifest["reading"],
        appended=manifest["appended"],
    )
    for name in files:
        (store.path / manifest[name]).unlink()


def _mend_position_mean(store: ClipStore) -> None:
    if store.manifest["teacher"] is not None:
        try:
            _ = store.position_mean
        except StoreError:
            write_position_mean(store)
