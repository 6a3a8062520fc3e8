"""The clip store: pixels and a teacher's latents of the same view, memory-mapped, decoded once for all trials.

    STORE/
      manifest.json                 format version, view and its hash, formats, teacher, labels, shards, skipped clips
      index.parquet                 one row a stored view of a clip: id, split, label, shard, row, frames, checksums
      position_mean.npy             float32 (tokens, teacher's width): mean of the training latents at each position
      train-00000.pixels.npy        uint8 (rows, tokens, token values), or the JPEGs of all rows, one after the other
      train-00000.latents.npy       float16 or int8 (rows, tokens, teacher's width), already normalised (`target_norm`)
      train-00000.scales.npy        float32 (rows, tokens), with int8 latents
      val-00000....
      teacher/                      the teacher's weights, where it was trained for this store

docs/clip-store.md documents the format. Numpy maps the shards, so trials
on one machine share them through the page cache.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainable.data.store.codecs import LatentFormat, PixelFormat, decode_jpeg, dequantise
from trainable.data.store.index import Clips, read_index
from trainable.data.store.manifest import RANDOM_ACCESS_VERSION, TeacherRecord, read_manifest, read_view
from trainable.data.store.shards import Half, Part, allow_files, load_array, shard_file
from trainable.data.video.crops import cuts_of
from trainable.data.video.video_dataset import Split
from trainable.data.video.view import View
from trainable.errors import ConfigError, StoreError, VideoError
from trainable.hashing import digest

OTHER_FILES = 512  # that a process may have open beside the shards


@dataclass
class ClipStore:
    """An open store.

    Every row is compared with its checksum when it is first read.

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
    _seen: dict[tuple[Split, Half], npt.NDArray[np.bool_]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: str | Path, *, whole: bool = True) -> "ClipStore":
        """Opens the store in folder `path` and checks that it is whole; reads no clip.

        Args:
            path: folder of the store.
            whole: refuse missing and truncated shards; False for a repair of them.

        Raises:
            StoreError: no store there, another format version, a missing or truncated file, halves of another view.
        """
        path = Path(path)
        manifest = read_manifest(path)
        try:
            view = read_view(path, manifest)
            store = cls(path, manifest, view, *read_index(path, manifest))
            if manifest["teacher"] is not None:
                _ = store.teacher
            allow_files(3 * len(manifest["shards"]) + OTHER_FILES)
            if whole:
                store._check_whole()
        except (KeyError, TypeError, ConfigError) as error:
            raise StoreError(f"{path / 'manifest.json'}: damaged ({error}); prepare the store again") from error
        return store

    def clips(self, split: Split) -> Clips:
        """Returns the clips of `split`."""
        return self.train if split == "train" else self.val

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of their indices."""
        return list(self.manifest["labels"])

    @property
    def pixel_format(self) -> PixelFormat:
        """How pixels are stored."""
        pixels: PixelFormat = self.manifest["pixels"]["format"]
        return pixels

    @property
    def latent_format(self) -> LatentFormat:
        """How latents are stored."""
        latents: LatentFormat = self.manifest["latents"]["format"]
        return latents

    @property
    def read_in_order(self) -> bool:
        """Whether its frames are those that decoding in order gives; older stores were read by random access."""
        return bool(self.manifest["format_version"] != RANDOM_ACCESS_VERSION)

    @property
    def reading_complaint(self) -> str:
        """What is wrong with how its frames were read, and what mends it; empty where nothing is."""
        if self.read_in_order:
            return ""
        return (
            "its frames were read by random access, which gives other frames than the video's own in some containers; "
            f"read them again: {self.repair_command}"
        )

    @property
    def repair_command(self) -> str:
        """What rebuilds what is not as it should be."""
        return f"python -m salt_tune.prepare repair {shlex.quote(str(self.path))}"

    def check_reading(self) -> None:
        """Refuses a store that was read by random access.

        Raises:
            StoreError: they were.
        """
        if self.reading_complaint:
            raise StoreError(f"{self.path}: {self.reading_complaint}")

    @property
    def videos(self) -> Path:
        """The folder that the videos were read from."""
        return Path(self.manifest["videos"])

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

    @cached_property
    def position_mean(self) -> npt.NDArray[np.float32]:
        """Mean of the training latents at each position, shape (tokens, teacher's width).

        Raises:
            StoreError: its file is missing or damaged.
        """
        file = self.path / self.manifest["position_mean"]
        mean: npt.NDArray[np.float32] = load_array(file, (self.view.tokens, self.teacher.dim), np.float32)
        return np.array(mean)

    def shard(self, name: str, part: Part) -> npt.NDArray[Any]:
        """Maps the array of one shard into memory; see the module for its shape."""
        if (name, part) not in self._maps:
            mapped = np.load(shard_file(self.path, name, part), mmap_mode="r", allow_pickle=False)
            self._maps[name, part] = mapped.view(np.ndarray)
        return self._maps[name, part]

    def pixels(self, clips: Clips, clip: int, view: int = 0) -> npt.NDArray[np.uint8]:
        """Returns pixels of a view of a clip: memory-mapped or decoded, shape (tokens, token values).

        Raises:
            StoreError: they differ from their checksum, or the video does not decode any more.
        """
        stored = self.stored_pixels(clips, clip, view)
        return decode_jpeg(stored, self.view) if self.pixel_format == "jpeg" else stored

    def stored_pixels(self, clips: Clips, clip: int, view: int = 0) -> npt.NDArray[np.uint8]:
        """Returns pixels as they are stored: tokens, a JPEG, or tokens decoded from the video.

        Raises:
            StoreError: see `pixels`.
        """
        stored: npt.NDArray[np.uint8]
        if self.pixel_format == "none":
            stored = self._from_video(clips, clip, view)
        elif self.pixel_format == "jpeg":
            start, length = clips.jpegs[clip, view]
            stored = self.shard(clips.shards[clip], "pixels")[start : start + length]
        else:
            stored = self.shard(clips.shards[clip], "pixels")[clips.rows[clip] + view]
        self._check_once(clips, clip, view, "pixels", stored)
        return stored

    def _from_video(self, clips: Clips, clip: int, view: int) -> npt.NDArray[np.uint8]:
        from trainable.data.video.reader import read_clip  # only these stores need FFmpeg where they are read

        cut = cuts_of(self.view, clips.ids[clip], self.labels[clips.labels[clip]], clips.split)[view]
        try:
            pixels: npt.NDArray[np.uint8] = read_clip(self.videos / clips.videos[clip], self.view, (cut,))[0][0]
        except VideoError as error:
            raise StoreError(f"{self.path}: clip {clips.ids[clip]!r}: {error}; put the video back") from error
        return pixels

    def latents(self, clips: Clips, clip: int, view: int = 0) -> npt.NDArray[np.float32]:
        """Returns latents of a view of a clip, shape (tokens, teacher's width).

        Raises:
            StoreError: they differ from their checksum.
        """
        return dequantise(*self.stored_latents(clips, clip, view))

    def stored_latents(
        self, clips: Clips, clip: int, view: int = 0
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32] | None]:
        """Returns latents as they are stored, memory-mapped, and their scales (tokens,), where they are int8.

        Raises:
            StoreError: see `latents`.
        """
        shard, row = clips.shards[clip], clips.rows[clip] + view
        latents = self.shard(shard, "latents")[row]
        scales = self.shard(shard, "scales")[row] if self.latent_format == "int8" else None
        self._check_once(clips, clip, view, "latents", *((latents,) if scales is None else (latents, scales)))
        return latents, scales

    def _check_once(self, clips: Clips, clip: int, view: int, half: Half, *stored: npt.NDArray[Any]) -> None:
        seen = self._seen.setdefault((clips.split, half), np.zeros((len(clips), clips.views), dtype=np.bool_))
        if seen[clip, view]:
            return
        if digest(*stored) != clips.digests[clip, view, 0 if half == "pixels" else 1]:
            raise StoreError(self._complaint(clips, clip, view, half))
        seen[clip, view] = True

    def _complaint(self, clips: Clips, clip: int, view: int, half: Half) -> str:
        """Returns what is said of a row that differs from its checksum: clip, place and remedy."""
        what = f"clip {clips.ids[clip]!r}" + (f", view {view}" if view else "")
        if half == "pixels" and self.pixel_format == "none":
            changed = "decodes to other pixels than when it was prepared"
            mend = f"; {self.reading_complaint}" if self.reading_complaint else ""
            return f"{self.videos / clips.videos[clip]}: {what}: {changed}{mend}"
        file = shard_file(self.path, clips.shards[clip], half)
        remedy = f"rebuild it with `{self.repair_command}`"
        return f"{file}: {what}, row {clips.rows[clip] + view}: {half} differ from their checksum; {remedy}"

    def parts(self, name: str) -> Iterator[tuple[Part, tuple[int, ...], npt.DTypeLike]]:
        """Lists the files of a shard: part, shape and type of each."""
        rows = self._shard_rows[name]
        if self.pixel_format == "raw":
            yield "pixels", (rows, self.view.tokens, self.view.token_values), np.uint8
        elif self.pixel_format == "jpeg":
            yield "pixels", (self._jpeg_bytes[name],), np.uint8
        if self.manifest["teacher"] is not None:
            int8 = self.latent_format == "int8"
            yield "latents", (rows, self.view.tokens, self.teacher.dim), np.int8 if int8 else np.float16
            if int8:
                yield "scales", (rows, self.view.tokens), np.float32

    @cached_property
    def _shard_rows(self) -> dict[str, int]:
        return {shard["name"]: shard["rows"] for shard in self.manifest["shards"]}

    @cached_property
    def _jpeg_bytes(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for clips in (self.train, self.val):
            for shard, jpegs in zip(clips.shards, clips.jpegs, strict=True):
                sizes[shard] = max(sizes.get(shard, 0), int(jpegs.sum(axis=1).max()))
        return sizes

    def _check_whole(self) -> None:
        """Checks sizes alone: the content of the shards is covered by the checksums in the index."""
        for shard in self.manifest["shards"]:
            for part, shape, dtype in self.parts(shard["name"]):
                load_array(shard_file(self.path, shard["name"], part), shape, dtype)
        if self.manifest["teacher"] is not None:
            _ = self.position_mean
