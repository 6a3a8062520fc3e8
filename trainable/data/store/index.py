"""The index of a clip store: `index.parquet`, one row a stored view of a clip, and the clips that it lists."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trainable.data.video.video_dataset import SourceClip, Split
from trainable.errors import StoreError
from trainable.hashing import clip_key

SPLITS: Final[tuple[Split, ...]] = ("train", "val")

INDEX_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("view", pa.int32()),
        ("split", pa.string()),
        ("label", pa.int32()),
        ("shard", pa.string()),
        ("row", pa.int32()),
        ("frames", pa.list_(pa.int32())),
        ("flip", pa.bool_()),
        ("video", pa.string()),
        ("video_bytes", pa.int64()),
        ("pixels_start", pa.int64()),
        ("pixels_bytes", pa.int64()),
        ("pixels_xxh3", pa.uint64()),
        ("latents_xxh3", pa.uint64()),
        ("group", pa.string()),
    ]
)


def with_groups(index: pa.Table, clips: Iterable[SourceClip]) -> pa.Table:
    """Returns the index with the group of each of these clips; a clip of the index that is not among them has none."""
    groups = {clip.id: clip.group for clip in clips}
    column = pa.array([groups.get(name) for name in index["id"].to_pylist()], pa.string())
    return index.set_column(index.schema.get_field_index("group"), INDEX_SCHEMA.field("group"), column)


@dataclass(frozen=True)
class Clips:
    """The clips of one split, in the order of their ids; every array has one entry a clip.

    Attributes:
        split: "train" or "val".
        views: stored views of each clip, in consecutive rows.
        ids: names of the clips.
        keys: hashes of the names, the clips' part in the seeds of their masks.
        labels: class indices.
        groups: names of what clips were cut from or show, which stays on one side of a split; None: no group.
        shards: names of the shards that hold them.
        rows: rows of their first views within the shards.
        videos: paths of the video files below the store's folder of videos.
        jpegs: first byte and length of each view's JPEG in its shard, shape (clips, views, 2).
        digests: checksums of each view's pixels and latents, shape (clips, views, 2).
    """

    split: Split
    views: int
    ids: tuple[str, ...]
    keys: npt.NDArray[np.uint64]
    labels: npt.NDArray[np.int64]
    groups: tuple[str | None, ...]
    shards: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    videos: tuple[str, ...]
    jpegs: npt.NDArray[np.int64]
    digests: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.ids)

    def views_at(self, epoch: int) -> npt.NDArray[np.int64]:
        """Returns each clip's view in an epoch: all in turn, each clip beginning with another; shape (clips,)."""
        return ((self.keys + np.uint64(epoch)) % np.uint64(self.views)).astype(np.int64)


def read_index(path: Path, manifest: dict[str, Any]) -> tuple[Clips, Clips]:
    """Reads the training and the held-out clips of the store in folder `path`.

    Raises:
        StoreError: the index is missing, damaged, or of other shards than the manifest.
    """
    file = path / manifest["index"]
    try:
        table = pq.read_table(file, schema=INDEX_SCHEMA)
    except FileNotFoundError as error:
        raise StoreError(f"{file}: missing; restore it, or prepare the store again with --overwrite") from error
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{file}: truncated or damaged; restore it, or prepare the store again with --overwrite"
        ) from error
    # Every row that the manifest says, each once.
    wanted = {shard["name"]: (shard["rows"], shard["rows"], shard["rows"] - 1) for shard in manifest["shards"]}
    counts = table.group_by("shard").aggregate([("row", "count"), ("row", "count_distinct"), ("row", "max")])
    there = {
        shard["shard"]: (shard["row_count"], shard["row_count_distinct"], shard["row_max"])
        for shard in counts.to_pylist()
    }
    lacks = any(table[name].null_count for name in ("id", "label", "row", "view"))
    lacks |= not set(table["split"].unique().to_pylist()) <= {"train", "val"}
    views = manifest["view"]["views"]
    if not lacks and there == wanted:
        splits: tuple[tuple[Split, int], ...] = (("train", views), ("val", 1))
        train, val = (_clips(table.filter(pa.compute.equal(table["split"], s)), s, v) for s, v in splits)
        if train is not None and val is not None:
            return train, val
    raise StoreError(f"{file}: does not fit manifest.json; restore it, or prepare the store again with --overwrite")


def _clips(table: pa.Table, split: Split, views: int) -> Clips | None:
    """Returns the clips of a split; None where the index does not hold `views` consecutive rows of each."""
    table = table.sort_by([("id", "ascending"), ("view", "ascending")])
    count = len(table) // views

    def column(name: str) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = table[name].fill_null(0).to_numpy()
        return values.reshape(count, views)

    if len(table) % views or not (column("view") == np.arange(views)).all():
        return None
    rows, first = column("row").astype(np.int64), table.filter(pa.compute.equal(table["view"], 0))
    if not (rows == rows[:, :1] + np.arange(views)).all():
        return None
    ids = tuple(first["id"].to_pylist())
    return Clips(
        split=split,
        views=views,
        ids=ids,
        keys=np.array([clip_key(clip) for clip in ids], dtype=np.uint64),
        labels=first["label"].to_numpy().astype(np.int64),
        groups=tuple(first["group"].to_pylist()),
        shards=tuple(first["shard"].to_pylist()),
        rows=rows[:, 0],
        videos=tuple(first["video"].to_pylist()),
        jpegs=np.stack([column("pixels_start"), column("pixels_bytes")], axis=2).astype(np.int64),
        digests=np.stack([column("pixels_xxh3"), column("latents_xxh3")], axis=2).astype(np.uint64),
    )
