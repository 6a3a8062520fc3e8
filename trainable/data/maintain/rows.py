"""The rows of a clip store as they lie on the disk: read, checked and mended without mapping the files."""

import io
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainable.data.store.clip_store import ClipStore
from trainable.data.store.shards import Half, Part, shard_file
from trainable.data.video.video_dataset import Split
from trainable.files import sync_folder


@dataclass(frozen=True)
class BadRow:
    """Half of a row of a shard that is not what the index says.

    Attributes:
        split: of its clip.
        clip: position of its clip in the split.
        id: name of its clip.
        view: which view of the clip.
        half: "pixels" or "latents".
        file: the shard's file; the video, where no pixels are stored.
        row: its row in the shard.
        reason: what is wrong, in one line.
    """

    split: Split
    clip: int
    id: str
    view: int
    half: Half
    file: Path
    row: int
    reason: str


class Row(NamedTuple):
    """What the index says of a stored view."""

    split: Split
    clip: int
    view: int
    id: str
    shard: str
    row: int
    video: Path
    jpeg: tuple[int, int]
    pixels: int
    latents: int

    def bad(self, half: Half, file: Path, reason: str) -> BadRow:
        """Returns half of this row, as something to complain of."""
        return BadRow(self.split, self.clip, self.id, self.view, half, file, self.row, reason)


class ShardFile:
    """A file of a shard, open as far as it is there; `damage` says what is wrong whatever its rows hold."""

    def __init__(self, store: ClipStore, name: str, part: Part, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.path, self.damage, self._jpegs = shard_file(store.path, name, part), "", len(shape) == 1
        self._row_bytes = math.prod(shape[1:]) * np.dtype(dtype).itemsize
        facts = np.lib.format.header_data_from_array_1_0(np.empty(shape, dtype))
        np.lib.format.write_array_header_1_0(header := io.BytesIO(), facts)
        self._header, self._start = header.getvalue(), header.tell()
        self._bytes, self._expected = shape[0] * self._row_bytes, (shape, False, np.dtype(dtype))
        self._file: io.BufferedIOBase = io.BytesIO()

    def __enter__(self) -> "ShardFile":
        try:
            self._file = self.path.open("rb")
            np.lib.format.read_magic(self._file)
            if np.lib.format.read_array_header_1_0(self._file) == self._expected:
                self._begin_at(self._file.tell())
            else:
                self.damage = "the file's header says another shape than the manifest"
        except OSError as error:
            self.damage = f"the file cannot be read: {error.strerror}"
        except Exception:  # numpy raises nearly anything on a damaged header
            self.damage = "the file's header is truncated or damaged"
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _begin_at(self, start: int) -> None:
        """Takes the header's start of the rows, unless the file is as long as if they began where they were written."""
        if start != self._start and self.path.stat().st_size == self._start + self._bytes:
            self.damage = "the file's header is damaged: it says another length of its own"
        else:
            self._start = start

    def span(self, row: Row) -> tuple[int, int]:
        """Returns where a row begins behind the header, and its bytes."""
        return row.jpeg if self._jpegs else (row.row * self._row_bytes, self._row_bytes)

    def read(self, row: Row, buffer: npt.NDArray[np.uint8]) -> str:
        """Fills the buffer with a row; returns what keeps it from that."""
        try:  # not mapped: a bad sector would kill the process
            self._file.seek(self._start + self.span(row)[0])
            whole = self._file.readinto(buffer.data) == len(buffer)
        except OSError as error:
            return f"the file cannot be read: {error.strerror}"
        return "" if whole else self.damage or "the file is truncated"

    def write(self, row: Row, data: npt.NDArray[np.generic]) -> None:
        """Puts a row in its place."""
        self._patch(self._start + self.span(row)[0], data.tobytes())

    def mend(self) -> None:
        """Gives the file its header and its size; the rows that are there stay."""
        self.path.touch()
        self._patch(0, self._header if self.damage else b"")
        sync_folder(self.path.parent)

    def _patch(self, start: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(start)
            file.write(data)
            if file.seek(0, os.SEEK_END) < self._start + self._bytes:
                file.truncate(self._start + self._bytes)
            file.flush()
            os.fsync(file.fileno())


def all_rows(store: ClipStore) -> Iterator[Row]:
    """Yields all rows, those of a clip side by side."""
    for clips in (store.train, store.val):
        jpegs, digests = clips.jpegs.tolist(), clips.digests.tolist()
        for clip, (name, shard, row) in enumerate(zip(clips.ids, clips.shards, clips.rows.tolist(), strict=True)):
            video = store.videos / clips.videos[clip]
            for view in range(clips.views):
                stored = tuple(jpegs[clip][view]), *digests[clip][view]
                yield Row(clips.split, clip, view, name, shard, row + view, video, *stored)


def by_shard(rows: Iterable[Row]) -> list[list[Row]]:
    """Returns the rows shard by shard, in the order in which they lie there."""
    ordered = sorted(rows, key=lambda row: (row.shard, row.row))
    return [list(run) for _, run in groupby(ordered, key=lambda row: row.shard)]


def files_of(store: ClipStore, shard: str, half: Half) -> list[ShardFile]:
    """Returns the files of half a shard, not open yet: latents have their scales beside them."""
    return [
        ShardFile(store, shard, *part) for part in store.parts(shard) if (part[0] == "pixels") == (half == "pixels")
    ]
