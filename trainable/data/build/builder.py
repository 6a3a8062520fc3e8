"""Builds a clip store: decode, latents, finish.

Everything is made in `STORE.partial` beside the store, shard by shard, and takes the store's name when it is whole.
Each file is written atomically, and its entry in `shards/` after it. A preparation that was stopped anywhere
therefore goes on with the first shard that is missing.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainable.data.build.completed_shards import CompletedShards
from trainable.data.build.decoding import Decoders, Job, decode_all, or_raise
from trainable.data.build.finalize import (
    Sums,
    describe_latents,
    index_name,
    latents_sha256,
    write_index,
    write_manifest,
    write_position_mean,
)
from trainable.data.build.latent_source import FrozenTeacher, LatentSource
from trainable.data.build.pipeline import ahead
from trainable.data.build.plan import Plan
from trainable.data.build.shard_writer import ShardWriter
from trainable.data.build.stages import (
    BATCH_ROWS,
    Advance,
    as_targets,
    write_shards,
)
from trainable.data.build.staging import StagedStore
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.index import with_groups
from trainable.data.store.shards import Half
from trainable.errors import StoreError


class StoreBuilder:
    """Builds one store: `write`, then, where the teacher is trained on its pixels, `add_latents`; at last `finish`.

    Args:
        path: the store to be.
        plan: what it is to hold.
        overwrite: replace a store, or an unfinished one, of another plan.

    Attributes:
        partial: the folder in which it is staged.
        done: a finished store of this plan is there already.

    Raises:
        StoreError: `path` holds something else, finished or not, and `overwrite` is not given.
    """

    def __init__(self, path: Path, plan: Plan, *, overwrite: bool = False) -> None:
        self.plan, self._description = plan, plan.describe()
        self._staged = StagedStore(path, self._description, overwrite=overwrite)
        self.path, self.partial, self.done = self._staged.path, self._staged.partial.folder, self._staged.done
        self.completed = CompletedShards(self._staged.partial.completed, (name for name, _ in plan.shards()))

    def written(self, half: Half = "pixels") -> int:
        """Counts source clips with finished shards or latents, which an earlier run that was stopped left."""
        if self._staged.partial.stale:
            return 0
        return sum(len(clips) for name, clips in self.plan.shards() if self.completed.has(name, half))

    def write(self, latents: LatentSource | None, decoders: Decoders, advance: Advance) -> None:
        """Decodes all videos and writes their shards.

        Args:
            latents: where the latents come from; None: from `add_latents`, later.
            decoders: processes that decode.
            advance: called with a number of source clips when that many more are written.

        Raises:
            StoreError: no clip of one of the splits decodes; nothing is left behind then.
        """
        self._staged.partial.begin()
        write_shards(self.plan, self.partial, self.completed, latents, decoders, advance)
        self._check_splits()
        if latents is None:
            self._write_index_and_manifest(None, "", {})

    def _check_splits(self) -> None:
        splits = {rows[0]["split"] for _, rows in self.completed.shards()}
        for split in sorted({clip.split for clip in self.plan.source.clips} - splits):
            first = next(clip["reason"] for clip in self.completed.skipped() if clip["split"] == split)
            if self._staged.partial.fresh:
                self._staged.partial.remove()
            raise StoreError(f"no {'training' if split == 'train' else 'held-out'} clip could be prepared: {first}")

    def open_pixels(self) -> ClipStore:
        """Opens the store as it stands after `write` without latents, for a teacher to be trained on."""
        return ClipStore.open(self.partial)

    def add_latents(self, teacher: FrozenTeacher, decoders: Decoders, advance: Advance) -> None:
        """Computes the latents of every clip from the pixels as they are stored.

        Args:
            teacher: whose latents.
            decoders: processes that decode, where no pixels are stored.
            advance: called with a number of source clips when that many more are done.
        """
        missing = [
            (name, [(row["id"], row["view"]) for row in rows])
            for name, rows in self.completed.shards()
            if not self.completed.has(name, "latents")
        ]
        with closing(ahead(self._stored_pixels(missing, decoders))) as pixels:
            for name, rows in missing:
                with ShardWriter(self.partial, name) as writer:
                    for start in range(0, len(rows), BATCH_ROWS):
                        writer.add_latents(as_targets(self.plan, teacher.latents(next(pixels))))
                        advance(sum(view == 0 for _, view in rows[start : start + BATCH_ROWS]))
                self.completed.write_latents(name, writer.latent_facts())

    def _stored_pixels(
        self, shards: list[tuple[str, list[tuple[str, int]]]], decoders: Decoders
    ) -> Iterator[torch.Tensor]:
        """Runs in a thread: the pixels of each shard in batches of `BATCH_ROWS` rows."""
        store = self.open_pixels()
        places = {clip: (split, n) for split in (store.train, store.val) for n, clip in enumerate(split.ids)}
        if self.plan.pixels == "none":
            by_id = {clip.id: clip for clip in self.plan.source.clips}
            first_views = (name for _, rows in shards for name, view in rows if view == 0)
            jobs = (Job(by_id[name].path, self.plan.cuts(by_id[name])) for name in first_views)
            decoded = (or_raise(result) for result in decode_all(jobs, self.plan.view, decoders, pixels="none"))
            views = (view for result in decoded for view in result.pixels)
        else:
            views = (store.pixels(*places[name], view) for _, rows in shards for name, view in rows)
        for _, rows in shards:
            for start in range(0, len(rows), BATCH_ROWS):
                count = min(BATCH_ROWS, len(rows) - start)
                yield torch.from_numpy(np.stack([next(views) for _ in range(count)]))

    def finish(self, teacher: LatentSource, checked: str = "computed", **facts: Any) -> ClipStore:
        """Writes index and manifest, and gives the store its name.

        Args:
            teacher: whose latents they are.
            checked: how it is known that they are of the store's view; see `describe_latents`.
            facts: what else the manifest should say of the teacher.
        """
        self._write_index_and_manifest(teacher, checked, facts)
        write_position_mean(ClipStore.open(self.partial, whole=False))
        return self._staged.take_name()

    def _write_index_and_manifest(self, teacher: LatentSource | None, checked: str, facts: dict[str, Any]) -> None:
        index, latents, described = self.completed.index(latents=teacher is not None), None, None
        index = with_groups(index, self.plan.source.clips)
        if teacher is not None:
            train, val = (Sums.of(self.completed.latent_facts(split), teacher.dim) for split in ("train", "val"))
            latents = describe_latents(self.plan.latents, self.plan.view, checked, train, val)
            sha256 = teacher.sha256 or latents_sha256(index)
            norm = {"target_norm": self.plan.target_norm}
            described = {"name": teacher.name, "sha256": sha256, "dim": teacher.dim, **norm, **facts}
        write_index(self.partial / index_name(0), index)
        write_manifest(
            self.partial,
            view=self.plan.view,
            videos=self.plan.source.folder,
            labels=self.plan.source.labels,
            index=index,
            pixels=self.plan.pixels,
            latents=latents,
            teacher=described,
            skipped=self.completed.skipped(),
            plan=self._description,
        )
