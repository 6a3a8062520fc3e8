"""Compares every row of a store with its checksum."""

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import groupby
from typing import Final

import numpy as np

from trainable.data.build.decoding import Decoded, Decoders, Job, decode_all
from trainable.data.build.stages import Advance
from trainable.data.maintain.rows import BadRow, Row, all_rows, by_shard, files_of
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.shards import Half
from trainable.data.video.crops import cuts_of
from trainable.errors import VideoError
from trainable.hashing import digest

HALVES: Final[tuple[Half, Half]] = ("pixels", "latents")


def verify(store: ClipStore, decoders: Decoders, advance: Advance) -> list[BadRow]:
    """Reads all of a store and compares it with the checksums in the index.

    Args:
        store: may have been opened with `whole=False`: rows that are not there are bad rows.
        decoders: threads that read; processes that decode, where no pixels are stored.
        advance: called with a number of bytes when that many more were compared, `bytes_to_verify` in all.

    Returns:
        What differs.
    """
    bad: list[BadRow] = []
    runs = [(half, rows) for rows in by_shard(all_rows(store)) for half in HALVES]
    with ThreadPoolExecutor(decoders.processes, thread_name_prefix="verify") as pool:
        for found, size in pool.map(lambda run: check_rows(store, *run), runs):
            bad += found
            advance(size)
    if store.pixel_format == "none":
        for row, result in decode_rows(store, all_rows(store), decoders):
            if complaint := complaint_of(row, result):
                bad.append(row.bad("pixels", row.video, complaint))
            advance(store.view.tokens * store.view.token_values)
    return bad


def bytes_to_verify(store: ClipStore) -> int:
    """Counts what `verify` calls `advance` with in all; pixels that are not stored count as if they were."""
    decoded = sum(1 for _ in all_rows(store)) if store.pixel_format == "none" else 0
    parts = (part for shard in store.manifest["shards"] for part in store.parts(shard["name"]))
    stored = sum(math.prod(shape) * np.dtype(dtype).itemsize for _, shape, dtype in parts)
    return stored + decoded * store.view.tokens * store.view.token_values


def check_rows(store: ClipStore, half: Half, rows: list[Row], *, headers: bool = True) -> tuple[list[BadRow], int]:
    """Reads rows of half a shard.

    Args:
        store: the store.
        half: which half.
        rows: rows of one shard.
        headers: a file whose header is damaged has no good row; False: its rows may be good.

    Returns:
        The bad rows, and how many bytes were read.
    """
    bad: list[BadRow] = []
    size = 0
    with ExitStack() as stack:
        files = [stack.enter_context(file) for file in files_of(store, rows[0].shard, half)]
        buffers = [np.empty(max(file.span(row)[1] for row in rows), np.uint8) for file in files]
        for row in rows if files else ():
            filled = [buffer[: file.span(row)[1]] for file, buffer in zip(files, buffers, strict=True)]
            size += sum(map(len, filled))
            for file, into in zip(files, filled, strict=True):
                if reason := (headers and file.damage) or file.read(row, into):
                    bad.append(row.bad(half, file.path, reason))
                    break
            else:
                if digest(*filled) != getattr(row, half):
                    bad.append(row.bad(half, files[0].path, "differs from its checksum"))
    return bad, size


def decode_rows(
    store: ClipStore, rows: Iterable[Row], decoders: Decoders
) -> Iterator[tuple[Row, Decoded | VideoError]]:
    """Gives each row with what becomes of its video; a video is decoded once for rows that lie side by side."""
    clips = [list(views) for _, views in groupby(rows, key=lambda row: row[:2])]
    labels = {clips.split: [store.labels[label] for label in clips.labels] for clips in (store.train, store.val)}
    jobs = (Job(row.video, cuts_of(store.view, row.id, labels[row.split][row.clip], row.split)) for row, *_ in clips)
    results = decode_all(jobs, store.view, decoders, pixels=store.pixel_format, keep_pixels=False)
    for views, result in zip(clips, results, strict=True):
        yield from ((row, result) for row in views)


def complaint_of(row: Row, result: Decoded | VideoError) -> str:
    """Says what is wrong with what a video decodes to; empty where nothing is."""
    if isinstance(result, VideoError):
        return str(result).removeprefix(f"{row.video}: ")
    changed = "the video, or the decoder, has changed: it decodes to other pixels than when it was prepared"
    return "" if result.digests[row.view] == row.pixels else changed
