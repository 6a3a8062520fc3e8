"""What makes a folder of shards a clip store: the index, the statistics of the latents, the manifest."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trainable.data.store.clip_store import ClipStore
from trainable.data.store.draw import draw_clips
from trainable.data.store.index import INDEX_SCHEMA, Clips
from trainable.data.store.manifest import FORMAT_VERSION, RANDOM_ACCESS_VERSION
from trainable.data.video.reader import READING
from trainable.data.video.view import View
from trainable.files import atomic_write, write_json

POSITION_CLIPS = 2048  # training clips at most that the mean at each position is taken over
DRAW = 2**32 + 1  # the "epoch" whose random numbers choose them


@dataclass(frozen=True)
class Sums:
    """Sums over latents of one split, from which their mean and variance follow.

    Attributes:
        tokens: how many there are.
        total: their sum per dimension, shape (dim,).
        square_total: the sum of their squares per dimension, shape (dim,).
        squared_error: the sum of the squares of what storing them took away or added.
    """

    tokens: int
    total: npt.NDArray[np.float64]
    square_total: npt.NDArray[np.float64]
    squared_error: float

    @classmethod
    def of(cls, facts: Iterable[dict[str, Any]], dim: int) -> "Sums":
        """Adds up what `ShardWriter.latent_facts` gave, or `to_dict`."""
        tokens, squared_error = 0, 0.0
        total, square_total = np.zeros(dim), np.zeros(dim)
        for shard in facts:
            tokens += shard["tokens"]
            total += shard["total"]
            square_total += shard["square_total"]
            squared_error += shard["squared_error"]
        return cls(tokens, total, square_total, squared_error)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean per dimension, shape (dim,)."""
        mean: npt.NDArray[np.float64] = self.total / self.tokens
        return mean

    @property
    def variance(self) -> npt.NDArray[np.float64]:
        """Variance per dimension, shape (dim,)."""
        variance: npt.NDArray[np.float64] = np.maximum(self.square_total / self.tokens - self.mean**2, 0)
        return variance

    def to_dict(self) -> dict[str, Any]:
        """Returns the sums as plain JSON."""
        totals = {"total": self.total.tolist(), "square_total": self.square_total.tolist()}
        return {"tokens": self.tokens, **totals, "squared_error": self.squared_error}


def stored_sums(store: ClipStore, clips: Clips, squared_error: float) -> Sums:
    """Computes the sums over the latents of a split as they are stored.

    Args:
        store: the store.
        clips: the split.
        squared_error: what storing them took away or added, which is not known any more from what is stored.
    """
    total, square_total = np.zeros(store.teacher.dim), np.zeros(store.teacher.dim)
    for clip in range(len(clips)):
        for view in range(clips.views):
            values = store.latents(clips, clip, view).astype(np.float64)
            total += values.sum(axis=0)
            square_total += np.square(values).sum(axis=0)
    return Sums(len(clips) * clips.views * store.view.tokens, total, square_total, squared_error)


def describe_latents(latents: str, view: View, checked: str, train: Sums, val: Sums) -> dict[str, Any]:
    """Returns what the manifest says of the latents.

    Args:
        latents: how they are stored.
        view: of which view they are.
        checked: how that is known: "computed", "unverified"...
        train: sums over the training latents.
        val: sums over the held-out latents.

    Returns:
        Among others `relative_error`, the root mean square of what storing changed over that of the latents, and
        `val_loss_added`, the mean square of it on the held-out clips: what it adds to the `val_loss` of any model that
        cannot foresee the rounding.
    """
    error, squares = train.squared_error + val.squared_error, (train.square_total + val.square_total).sum()
    return {
        "format": latents,
        "view_hash": view.hash,
        "view": checked,
        "relative_error": float(np.sqrt(error / squares)) if squares else 0.0,
        "val_loss_added": val.squared_error / (val.tokens * len(val.total)),
        "sums": {"train": train.to_dict(), "val": val.to_dict()},
    }


def write_index(file: Path, index: pa.Table) -> None:
    """Writes the index, atomically."""
    with atomic_write(file) as temporary:
        pq.write_table(index.cast(INDEX_SCHEMA), temporary)


def write_manifest(
    folder: Path,
    *,
    view: View,
    videos: Path,
    labels: Iterable[str],
    index: pa.Table,
    pixels: str,
    latents: dict[str, Any] | None,
    teacher: dict[str, Any] | None,
    skipped: Sequence[Mapping[str, Any]],
    plan: dict[str, Any],
    generation: int = 0,
    reading: dict[str, str] | None = READING,
    appended: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes manifest.json, atomically: the store is what it says from then on.

    Args:
        folder: the store.
        view: its view.
        videos: folder of the videos.
        labels: names of the classes.
        index: one row a stored view of a clip.
        pixels: how pixels are stored.
        latents: see `describe_latents`; None where there are none yet.
        teacher: name, sha256, dim and what else is known; the mean and the variance are added here.
        skipped: clips that were left out; of a copy, `copy_of` and `video_bytes` as well.
        plan: what the store was prepared from.
        generation: how often the index was replaced, by clips that were appended or latents that were repaired.
        reading: how the frames were read; None: by random access, in a store that is taken from such a one.
        appended: what they were prepared from, each time.
    """
    counts = index.group_by("shard").aggregate([("row", "count")]).sort_by("shard").to_pylist()
    if teacher is not None and latents is not None:
        train = Sums.of([latents["sums"]["train"]], teacher["dim"])
        teacher = {**teacher, "mean": train.mean.tolist(), "variance": train.variance.tolist()}
    write_json(
        folder / "manifest.json",
        {
            "format_version": RANDOM_ACCESS_VERSION if reading is None else FORMAT_VERSION,
            "reading": reading,
            "generation": generation,
            "index": index_name(generation),
            "position_mean": position_mean_name(generation),
            "fingerprint": fingerprint(index),
            "view": view.describe(),
            "view_hash": view.hash,
            "videos": str(videos.absolute()),
            "labels": list(labels),
            "shards": [{"name": shard["shard"], "rows": shard["row_count"]} for shard in counts],
            "pixels": {"format": pixels, "view_hash": view.hash},
            "latents": latents,
            "teacher": teacher,
            "skipped": list(map(dict, skipped)),
            "plan": plan,
            "appended": list(appended),
        },
    )


def index_name(generation: int) -> str:
    """Names the index's file: a new one for each generation, so that replacing the manifest replaces all at once."""
    return f"index-{generation}.parquet" if generation else "index.parquet"


def position_mean_name(generation: int) -> str:
    """Names the file of the means at each position; see `index_name`."""
    return f"position_mean-{generation}.npy" if generation else "position_mean.npy"


def fingerprint(index: pa.Table) -> str:
    """Hashes names, splits, labels and checksums of all clips (SHA-256): equal for stores of the same content."""
    columns = ("id", "view", "split", "label", "pixels_xxh3", "latents_xxh3")
    ordered = index.sort_by([("id", "ascending"), ("view", "ascending")])
    hashed = hashlib.sha256()
    for row in zip(*(ordered[name].to_pylist() for name in columns), strict=True):
        hashed.update(repr(row).encode())
    return hashed.hexdigest()


def latents_sha256(index: pa.Table) -> str:
    """Returns what stands for a teacher's weights where only its latents are known: SHA-256 of their checksums."""
    ordered = index.sort_by([("id", "ascending"), ("view", "ascending")])
    return hashlib.sha256(repr(ordered["latents_xxh3"].to_pylist()).encode()).hexdigest()


def write_position_mean(store: ClipStore) -> None:
    """Writes the mean of the training latents at each position, over `POSITION_CLIPS` clips drawn by their names."""
    chosen = draw_clips(store.train, POSITION_CLIPS, seed=0, draw=DRAW)
    total = np.zeros((store.view.tokens, store.teacher.dim))
    for clip in chosen:
        total += store.latents(store.train, int(clip))
    with atomic_write(store.path / store.manifest["position_mean"]) as temporary, temporary.open("wb") as file:
        np.save(file, (total / len(chosen)).astype(np.float32), allow_pickle=False)
