"""Builds a clip store: decode, train the teacher, compute latents, finish.

Everything is made in `STORE.partial` beside the store, shard by shard, and takes the store's name when it is whole.
Each file is written atomically, and its note in `shards/` after it, so that a preparation that was stopped anywhere
goes on with the first shard that is missing.
"""

import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from trainable.config import TrialConfig
from trainable.data.decoding import decode_all
from trainable.data.sources import Source, SourceClip
from trainable.data.store import FORMAT_VERSION, INDEX_SCHEMA, ClipStore, Part, shard_file
from trainable.data.view import View
from trainable.errors import StoreError, VideoError
from trainable.files import atomic_write, sync_folder, write_json
from trainable.teacher import FrozenTeacher, TargetNorm, normalise

SHARD_CLIPS = 64
LATENT_BATCH = 16

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Plan:
    """What decides the content of a store; two preparations with equal plans make the same store.

    Attributes:
        source: the labelled videos.
        view: geometry of the clips.
        teacher: kind of teacher.
        teacher_config: how it is trained.
        target_norm: how its latents are normalised.
        seed: seed of the teacher.
    """

    source: Source
    view: View
    teacher: str
    teacher_config: TrialConfig
    target_norm: TargetNorm
    seed: int

    def describe(self) -> dict[str, Any]:
        """The plan as it stands in the manifest; the videos by a hash of their names, labels, splits and sizes."""
        lines = "\n".join(f"{c.id}\t{c.label}\t{c.split}\t{c.path.stat().st_size}" for c in self.source.clips)
        return {
            "videos": {"clips": len(self.source.clips), "sha256": hashlib.sha256(lines.encode()).hexdigest()},
            "view": self.view.describe(),
            "teacher": self.teacher,
            "teacher_config": self.teacher_config.to_dict(),
            "target_norm": self.target_norm,
            "seed": self.seed,
        }


class StoreBuilder:
    """Builds one store, step by step; call `decode`, `compute_latents` and `finish` in this order.

    Args:
        path: the store to be.
        plan: what it is to hold.
        overwrite: replace a store, or an unfinished one, of another plan.

    Attributes:
        partial: the folder in which it grows.
        done: a finished store of this plan is there already.

    Raises:
        StoreError: `path` holds something else, finished or not, and `overwrite` is not given.
    """

    def __init__(self, path: Path, plan: Plan, *, overwrite: bool = False) -> None:
        self.path, self.plan = path.absolute(), plan
        self.partial = self.path.with_name(self.path.name + ".partial")
        self._description = plan.describe()
        self._sidecars = self.partial / "shards"
        self._fresh = not self.partial.exists()
        self.done = self._compare_finished(overwrite)
        if not self.done:
            self._compare_partial(overwrite)

    def _compare_finished(self, overwrite: bool) -> bool:
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return False
        plan = _plan_of(self.path / "manifest.json")
        if plan is None:  # never deleted, whatever the flags say
            raise StoreError(f"{self.path}: holds something that is not a clip store; choose another --store")
        if overwrite:
            return False
        if plan != self._description:
            raise StoreError(
                f"{self.path}: holds a clip store prepared otherwise; "
                "choose another --store, or replace it with --overwrite"
            )
        ClipStore.open(self.path)
        return True

    def _compare_partial(self, overwrite: bool) -> None:
        if not self.partial.exists():
            return
        if _plan_of(self.partial / "plan.json") != self._description:
            if not overwrite:
                raise StoreError(
                    f"{self.partial}: holds a preparation with other arguments that did not finish; "
                    "repeat its arguments to go on, or start over with --overwrite"
                )
            shutil.rmtree(self.partial)

    def decode(self, workers: int, advance: Advance) -> None:
        """Decodes all videos into shards of pixels.

        Args:
            workers: processes that decode.
            advance: called with a number of clips when that many more are decoded.

        Raises:
            StoreError: no clip of one of the splits decodes; nothing is left behind then.
        """
        self._sidecars.mkdir(parents=True, exist_ok=True)
        write_json(self.partial / "plan.json", {"plan": self._description})
        missing = []
        for name, clips in self._shards():
            if self._sidecar(name).exists():
                advance(len(clips))
            else:
                missing.append((name, clips))
        decoded = decode_all((clip.path for _, clips in missing for clip in clips), self.plan.view, workers)
        for name, clips in missing:
            self._write_pixels(name, clips, decoded, advance)
        rows = self._rows()
        for split in ("train", "val"):
            if not any(clip["split"] == split for clip in rows):
                first = next((clip["reason"] for clip in self.skipped() if clip["split"] == split), "there are none")
                if self._fresh:
                    shutil.rmtree(self.partial)
                raise StoreError(f"no {'training' if split == 'train' else 'held-out'} clip could be decoded: {first}")
        self._write_index(latents=False)
        self._write_manifest(teacher=None)

    def _write_pixels(self, name: str, clips: list[SourceClip], decoded: Iterator[Any], advance: Advance) -> None:
        rows: list[dict[str, Any]] = []
        skipped, tokens = [], []
        for clip in clips:
            result = next(decoded)
            advance(1)
            if isinstance(result, VideoError):
                skipped.append({"id": clip.id, "split": clip.split, "reason": str(result)})
                continue
            pixels, frames = result
            label = self.plan.source.labels.index(clip.label)
            rows.append(
                {
                    "id": clip.id,
                    "split": clip.split,
                    "label": label,
                    "shard": name,
                    "row": len(rows),
                    "frames": frames.tolist(),
                    "pixels_crc32": zlib.crc32(pixels),
                }
            )
            tokens.append(pixels)
        if rows:
            _save_array(shard_file(self.partial, name, "pixels"), np.stack(tokens))
        write_json(self._sidecar(name), {"rows": rows, "skipped": skipped})

    def open_pixels(self) -> ClipStore:
        """The store as it stands after `decode`: pixels without latents, for a teacher to be trained on."""
        return ClipStore.open(self.partial)

    def compute_latents(self, teacher: FrozenTeacher, advance: Advance) -> None:
        """Computes the latents of every clip.

        Args:
            teacher: whose latents.
            advance: called with a number of clips when that many more are done.
        """
        for name, _ in self._shards():
            rows = len(self._read_sidecar(name)["rows"])
            if rows and not self._sidecar(name, "latents").exists():
                pixels = np.load(shard_file(self.partial, name, "pixels"), mmap_mode="r")
                parts = []
                for start in range(0, rows, LATENT_BATCH):
                    batch = torch.from_numpy(np.array(pixels[start : start + LATENT_BATCH]))
                    parts.append(normalise(teacher.latents(batch), self.plan.target_norm).half().cpu().numpy())
                    advance(len(batch))
                latents = np.concatenate(parts)
                _save_array(shard_file(self.partial, name, "latents"), latents)
                write_json(self._sidecar(name, "latents"), _latent_sums(latents))
            else:
                advance(rows)

    def finish(self, teacher: FrozenTeacher) -> ClipStore:
        """Writes index and manifest, and gives the store its name."""
        sums = [
            self._read_sidecar(name, "latents") for name, clips in self._used_shards() if clips[0]["split"] == "train"
        ]
        count = sum(part["tokens"] for part in sums)
        mean = np.sum([part["sum"] for part in sums], axis=0) / count
        variance = np.sum([part["square_sum"] for part in sums], axis=0) / count - mean**2
        self._write_index(latents=True)
        self._write_manifest(
            teacher={
                "name": teacher.name,
                "sha256": teacher.sha256,
                "dim": teacher.dim,
                "target_norm": self.plan.target_norm,
                "mean": mean.tolist(),
                "variance": np.maximum(variance, 0).tolist(),
            }
        )
        old = self.path.with_name(self.path.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if self.path.exists():
            self.path.replace(old)
        self.partial.replace(self.path)
        sync_folder(self.path.parent)
        # Last, so that a preparation that was stopped before can still go on.
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.path / self._sidecars.name)
        (self.path / "plan.json").unlink()
        return ClipStore.open(self.path)

    def skipped(self) -> list[dict[str, str]]:
        """Clips that did not decode: `id`, `split` and `reason`."""
        return [clip for name, _ in self._shards() for clip in self._read_sidecar(name)["skipped"]]

    def _shards(self) -> Iterator[tuple[str, list[SourceClip]]]:
        for split in ("train", "val"):
            clips = [clip for clip in self.plan.source.clips if clip.split == split]
            for number, start in enumerate(range(0, len(clips), SHARD_CLIPS)):
                yield f"{split}-{number:05d}", clips[start : start + SHARD_CLIPS]

    def _used_shards(self) -> list[tuple[str, list[dict[str, Any]]]]:
        rows = ((name, self._read_sidecar(name)["rows"]) for name, _ in self._shards())
        return [(name, clips) for name, clips in rows if clips]

    def _rows(self) -> list[dict[str, Any]]:
        return [row for _, rows in self._used_shards() for row in rows]

    def _sidecar(self, name: str, part: Part = "pixels") -> Path:
        return self._sidecars / f"{name}.{part}.json"

    def _read_sidecar(self, name: str, part: Part = "pixels") -> Any:
        return json.loads(self._sidecar(name, part).read_text(encoding="utf-8"))

    def _write_index(self, *, latents: bool) -> None:
        rows = self._rows()
        if latents:
            checksums = {name: self._read_sidecar(name, "latents")["crc32"] for name, _ in self._used_shards()}
            for row in rows:
                row["latents_crc32"] = checksums[row["shard"]][row["row"]]
        with atomic_write(self.partial / "index.parquet") as temporary:
            pq.write_table(pa.Table.from_pylist(rows, schema=INDEX_SCHEMA), temporary)

    def _write_manifest(self, teacher: dict[str, Any] | None) -> None:
        write_json(
            self.partial / "manifest.json",
            {
                "format_version": FORMAT_VERSION,
                "view": self.plan.view.describe(),
                "view_hash": self.plan.view.hash,
                "labels": list(self.plan.source.labels),
                "shards": [{"name": name, "clips": len(clips)} for name, clips in self._used_shards()],
                "skipped": self.skipped(),
                "teacher": teacher,
                "plan": self._description,
            },
        )


def _plan_of(file: Path) -> dict[str, Any] | None:
    """The plan that a manifest or a plan.json states; None where there is none to be read."""
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))["plan"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(plan)


def _save_array(path: Path, array: npt.NDArray[Any]) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _latent_sums(latents: npt.NDArray[np.float16]) -> dict[str, Any]:
    flat = latents.reshape(-1, latents.shape[-1])
    return {
        "crc32": [zlib.crc32(row) for row in latents],
        "tokens": len(flat),
        "sum": flat.sum(axis=0, dtype=np.float64).tolist(),
        "square_sum": np.square(flat, dtype=np.float64).sum(axis=0).tolist(),
    }
