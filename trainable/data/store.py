"""The clip store: pixels and a teacher's latents of the same view, memory-mapped, decoded once for all trials.

    STORE/
      manifest.json                 format version, view and its hash, teacher, labels, shards, skipped clips
      index.parquet                 one row a clip: id, split, label, shard, row, frames, checksums
      train-00000.pixels.npy        uint8 (clips, tokens, token values): the visible patches of a clip lie apart
      train-00000.latents.npy       float16 (clips, tokens, teacher's width), already normalised (`target_norm`)
      val-00000....
      teacher/                      the teacher's weights, where it was trained for this store

docs/clip-store.md documents the format. Numpy maps the shards, so trials
on one machine share them through the page cache.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trainable.data.view import View
from trainable.errors import ConfigError, StoreError

FORMAT_VERSION = 1

Split = Literal["train", "val"]
Part = Literal["pixels", "latents"]
DTYPES: dict[Part, npt.DTypeLike] = {"pixels": np.uint8, "latents": np.float16}

INDEX_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("label", pa.int32()),
        ("shard", pa.string()),
        ("row", pa.int32()),
        ("frames", pa.list_(pa.int32())),
        ("pixels_crc32", pa.uint32()),
        ("latents_crc32", pa.uint32()),
    ]
)


@dataclass(frozen=True)
class TeacherRecord:
    """The teacher whose latents a store holds.

    Attributes:
        name: kind of teacher ("pixel").
        sha256: hash of its weights file.
        dim: width of its latents.
        target_norm: "layer_norm" (without parameters, in float32, before float16: V-JEPA) or "none".
        mean: mean of the training latents per dimension, shape (dim,).
        variance: their variance per dimension, shape (dim,).
    """

    name: str
    sha256: str
    dim: int
    target_norm: str
    mean: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Clips:
    """The clips of one split, in the order of their ids; every array has one entry a clip.

    Attributes:
        ids: names of the clips.
        keys: hashes of the names, the clips' part in the seeds of their masks.
        labels: class indices.
        shards: names of the shards that hold them.
        rows: rows within the shards.
    """

    ids: tuple[str, ...]
    keys: npt.NDArray[np.uint64]
    labels: npt.NDArray[np.int64]
    shards: tuple[str, ...]
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class ClipStore:
    """An open store.

    Attributes:
        path: folder of the store.
        manifest: content of manifest.json.
        view: geometry of its clips.
        train: clips to train on.
        val: held-out clips.
    """

    path: Path
    manifest: dict[str, Any]
    view: View
    train: Clips
    val: Clips
    _maps: dict[tuple[str, Part], npt.NDArray[Any]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> "ClipStore":
        """Opens the store in folder `path` and checks that it is whole; reads no clip.

        Raises:
            StoreError: no store there, another format version, a missing or truncated file, another view than its hash.
        """
        path = Path(path)
        manifest = _read_manifest(path)
        view = _read_view(path, manifest)
        try:
            for shard in manifest["shards"]:
                _check_shard(path, shard, view, manifest)
            store = cls(path, manifest, view, *_read_index(path, manifest))
            if manifest["teacher"] is not None:
                _ = store.teacher
        except (KeyError, TypeError) as error:
            raise StoreError(f"{path / 'manifest.json'}: damaged ({error!r}); prepare the store again") from error
        return store

    def clips(self, split: Split) -> Clips:
        """The clips of `split`."""
        return self.train if split == "train" else self.val

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of their indices."""
        return list(self.manifest["labels"])

    @cached_property
    def teacher(self) -> TeacherRecord:
        """The teacher of the latents.

        Raises:
            StoreError: the store has no latents yet.
        """
        teacher = self.manifest["teacher"]
        if teacher is None:
            raise StoreError(f"{self.path}: the store has no latents; finish preparing it")
        names = ("name", "sha256", "dim", "target_norm")
        mean, variance = np.array(teacher["mean"]), np.array(teacher["variance"])
        return TeacherRecord(**{name: teacher[name] for name in names}, mean=mean, variance=variance)

    def shard(self, name: str, part: Part) -> npt.NDArray[Any]:
        """The array of one shard, memory-mapped: (clips, tokens, token values) or (clips, tokens, teacher's width)."""
        if (name, part) not in self._maps:
            mapped = np.load(shard_file(self.path, name, part), mmap_mode="r", allow_pickle=False)
            self._maps[name, part] = mapped.view(np.ndarray)
        return self._maps[name, part]

    def row(self, clips: Clips, clip: int, part: Part) -> npt.NDArray[Any]:
        """Pixels or latents of one clip, memory-mapped: (tokens, token values) or (tokens, teacher's width)."""
        pixels_or_latents: npt.NDArray[Any] = self.shard(clips.shards[clip], part)[clips.rows[clip]]
        return pixels_or_latents


def shard_file(folder: Path, name: str, part: Part) -> Path:
    """The file of one shard."""
    return folder / f"{name}.{part}.npy"


def clip_key(clip_id: str) -> int:
    """A 64-bit hash of a clip's name, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(clip_id.encode(), digest_size=8).digest(), "little")


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / "manifest.json"
    if not path.is_dir():
        raise StoreError(f"{path}: no such clip store; make one with `python -m salt_tune.prepare`")
    if not file.is_file():
        raise StoreError(
            f"{path}: not a finished clip store (no manifest.json); make one with `python -m salt_tune.prepare`"
        )
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        version = manifest["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{file}: not a clip store's manifest ({error}); prepare the store again") from error
    if version != FORMAT_VERSION:
        raise StoreError(
            f"{file}: format_version = {version!r}: this version reads {FORMAT_VERSION}; prepare the store again"
        )
    missing = {"view", "view_hash", "labels", "shards", "teacher", "skipped"} - manifest.keys()
    if missing:
        raise StoreError(f"{file}: {sorted(missing)[0]} is missing; prepare the store again")
    return dict(manifest)


def _read_view(path: Path, manifest: dict[str, Any]) -> View:
    stated = manifest["view"]
    try:
        view = View(*(stated[name] for name in ("frames", "size", "patch", "tubelet")))
    except (ConfigError, KeyError, TypeError) as error:
        raise StoreError(f"{path / 'manifest.json'}: view: {error}; prepare the store again") from error
    if view.hash != manifest["view_hash"] or view.describe() != stated:
        raise StoreError(
            f"{path / 'manifest.json'}: view_hash = {manifest['view_hash']!r}: "
            f"the view stated hashes to {view.hash!r}; pixels and latents of different views must not meet"
        )
    return view


def _check_shard(path: Path, shard: dict[str, Any], view: View, manifest: dict[str, Any]) -> None:
    """Checks sizes alone: the content is covered by the checksums in the index."""
    widths: dict[Part, int] = {"pixels": view.token_values}
    if manifest["teacher"] is not None:
        widths["latents"] = manifest["teacher"]["dim"]
    for part, width in widths.items():
        file = shard_file(path, shard["name"], part)
        try:
            mapped = np.load(file, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise StoreError(f"{file}: missing; restore it, or prepare the store again with --overwrite") from error
        except (ValueError, OSError, EOFError) as error:
            raise StoreError(
                f"{file}: truncated or damaged; restore it, or prepare the store again with --overwrite"
            ) from error
        expected = (shard["clips"], view.tokens, width)
        if mapped.shape != expected or mapped.dtype != DTYPES[part]:
            raise StoreError(
                f"{file}: shape {mapped.shape} of {mapped.dtype}: "
                f"the manifest says {expected} of {np.dtype(DTYPES[part])}"
            )


def _read_index(path: Path, manifest: dict[str, Any]) -> tuple[Clips, Clips]:
    file = path / "index.parquet"
    try:
        table = pq.read_table(file, schema=INDEX_SCHEMA)
    except FileNotFoundError as error:
        raise StoreError(f"{file}: missing; restore it, or prepare the store again with --overwrite") from error
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{file}: truncated or damaged; restore it, or prepare the store again with --overwrite"
        ) from error
    shards = {shard["name"]: shard["clips"] for shard in manifest["shards"]}
    lacks = any(table[name].null_count for name in ("id", "label", "row"))
    if lacks or Counter(table["shard"].to_pylist()) != Counter(shards):
        raise StoreError(f"{file}: does not fit manifest.json; restore it, or prepare the store again with --overwrite")
    train, val = (_clips(table.filter(pa.compute.equal(table["split"], split))) for split in ("train", "val"))
    return train, val


def _clips(table: pa.Table) -> Clips:
    ids = tuple(table["id"].to_pylist())
    return Clips(
        ids=ids,
        keys=np.array([clip_key(clip) for clip in ids], dtype=np.uint64),
        labels=table["label"].to_numpy().astype(np.int64),
        shards=tuple(table["shard"].to_pylist()),
        rows=table["row"].to_numpy().astype(np.int64),
    )
