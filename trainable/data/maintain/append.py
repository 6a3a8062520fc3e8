"""Adds clips to a finished store; what is there is neither decoded again nor rewritten.

The new shards are made in `STORE.append` beside the store, like those of any store, then moved into it, where nothing
reads them yet. A new index and new means at each position are written under new names. The manifest that names all of
them replaces the old one: the store opens as it was before, or as it is after.
"""

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from trainable.data.build.completed_shards import CompletedShards
from trainable.data.build.copies import Copies, Original, originals
from trainable.data.build.decoding import Decoders
from trainable.data.build.finalize import (
    Sums,
    describe_latents,
    latents_sha256,
    write_index,
    write_manifest,
    write_position_mean,
)
from trainable.data.build.latent_source import LatentSource
from trainable.data.build.plan import Plan
from trainable.data.build.stages import Advance, write_shards
from trainable.data.build.staging import GIVEN_UP, StagedFolder, plan_of
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import TargetNorm
from trainable.data.store.groups import check_group_by, sides_of
from trainable.data.store.index import INDEX_SCHEMA, SPLITS, read_index, with_groups
from trainable.data.store.manifest import read_manifest
from trainable.data.video.video_dataset import Source, SourceClip
from trainable.errors import StoreError
from trainable.files import sync_folder, write_json

# What a store is made of, apart from its manifest and its teacher, and what is left of such files by a killed write.
_FILES: Final = re.compile(
    r"index(-\d+)?\.parquet|position_mean(-\d+)?\.npy|(train|val)-\d{5,}\.(pixels|latents|scales)\.npy"
    r"|\..+\.[0-9a-f]{8}\.tmp"
)


class StoreAppender:
    """Adds those clips to a store that it does not have yet.

    Args:
        path: the store.
        source: labelled videos. Clips with an id that the store has are left alone, with their split. The others get
            the split that the source gives them, or that of their group where the store has clips of it. Labels that
            are new come after the store's. A clip that shows what another one shows is left out, and named.
        overwrite: start over where an append of other clips did not finish.

    Attributes:
        store: the store as it is.
        there: how many clips of the source the store has.
        copies: how many show the same frames as clips of the store, as an earlier append found.
        clips: how many clips there are to be added; clips that were skipped before are tried again.

    Raises:
        StoreError: no finished store there; a clip of the store has another video, or another group, in `source`; or
            that is grouped otherwise than the store.
    """

    def __init__(self, path: Path, source: Source, *, overwrite: bool = False) -> None:
        self.store = ClipStore.open(path.resolve())
        self.store.check_reading()
        self._overwrite = overwrite
        self._folder = self.store.path.with_name(self.store.path.name + ".append")
        self._end_commit()
        self._index = pq.read_table(self.store.path / self.store.manifest["index"], schema=INDEX_SCHEMA)
        self.there = self.copies = 0
        self._source = self._new_clips(source)
        self.clips = len(self._source.clips)

    def _end_commit(self) -> None:
        """Deletes what is left of an append that was killed when the store had its clips already."""
        plan = plan_of(self._folder / "plan.json")
        left = StagedFolder(self._folder, plan or GIVEN_UP)
        over = plan == GIVEN_UP or plan in self.store.manifest.get("appended", ())
        if self._folder.exists() and (left.fresh or over):
            _sweep(self.store)
            left.remove()

    def _new_clips(self, source: Source) -> Source:
        check_group_by(self.store, source.group_by)
        names = ("id", "video", "video_bytes", "group")
        columns = (self._index[name].to_pylist() for name in names)
        there = {name: row for name, *row in zip(*columns, strict=True)}
        sides, copies = sides_of(self.store), self._copies(there.keys())
        new: list[SourceClip] = []
        for clip in source.clips:
            if clip.id in there:
                self._compare(clip, *there[clip.id])
                self.there += 1
            elif copies.get(clip.id) == clip.path.stat().st_size:
                self.copies += 1
            else:
                split = sides.get(clip.group or "", clip.split)
                new.append(replace(clip, path=clip.path.absolute(), split=split))
        labels = dict.fromkeys([*self.store.labels, *source.labels])
        return Source(self.store.videos, tuple(new), tuple(labels), source.group_by)

    def _compare(self, clip: SourceClip, video: str, video_bytes: int, group: str | None) -> None:
        """Refuses a clip that is another one than that of its name in the store."""
        if (size := clip.path.stat().st_size) != video_bytes:
            raise StoreError(
                f"{clip.path}: clip {clip.id!r}: video_bytes = {size}: the store has a clip of that id, made from "
                f"{self.store.videos / video} when it had {video_bytes}; two clips must not share an id"
            )
        if clip.group != group:
            raise StoreError(
                f"{clip.path}: clip {clip.id!r}: group = {clip.group!r}: the store has it in group {group!r}, by which "
                "its side was chosen; put that back, or prepare the store again"
            )

    def _copies(self, there: Collection[str]) -> dict[str, int]:
        """Returns the sizes of the videos that were left out as copies of clips that the store still has."""
        known = (clip for clip in self.store.manifest["skipped"] if clip.get("copy_of") in there)
        return {clip["id"]: clip["video_bytes"] for clip in known}

    def append(self, teacher: LatentSource, decoders: Decoders, advance: Advance) -> ClipStore:
        """Decodes the new clips and adds them to the store; goes on where an earlier run was stopped.

        Args:
            teacher: the store's.
            decoders: processes that decode.
            advance: called with a number of clips when that many more are written; at once with those of an earlier
                run.

        Returns:
            The store with the new clips; with those it had, where there are none, or none but clips that are skipped.

        Raises:
            StoreError: another teacher than the store's; an append of other clips that did not finish; or no new clip
                decodes. The store is as before then.
        """
        if not self.clips:
            return self.store
        teacher.check_joins(self.store)
        plan = self._plan(teacher)
        staged = StagedFolder(self._folder, plan.describe())
        staged.compare(overwrite=self._overwrite)
        staged.begin()
        completed = CompletedShards(staged.completed, (name for name, _ in plan.shards()))
        advance(sum(len(clips) for name, clips in plan.shards() if completed.has(name)))
        copies = Copies(self._shown(plan, completed))
        write_shards(plan, staged.folder, completed, teacher, decoders, advance, copies.leave_out)
        if not any(completed.shards()):
            return self._give_up(staged, completed)
        return self._commit(staged, completed)

    def _shown(self, plan: Plan, completed: CompletedShards) -> dict[int, Original]:
        """Returns what the store shows, and what the shards do that an earlier run made."""
        whole = CompletedShards(completed.folder, [name for name, _ in plan.shards() if completed.has(name)])
        shown = originals((row for _, rows in whole.shards() for row in rows), stored=False)
        columns = self._index.select(["id", "split", "view", "pixels_xxh3"])
        return shown | originals(iter(columns.to_pylist()), stored=True)

    def _plan(self, teacher: LatentSource) -> Plan:
        there: dict[str, int] = dict.fromkeys(SPLITS, 0)
        for shard in self.store.manifest["shards"]:
            split, number = shard["name"].split("-")
            there[split] = max(there[split], int(number) + 1)
        return Plan(
            source=self._source,
            view=self.store.view,
            pixels=self.store.pixel_format,
            latents=self.store.latent_format,
            teacher=teacher.describe(),
            target_norm=cast(TargetNorm, self.store.teacher.target_norm),
            seed=0,
            shards_there=there,
        )

    def _give_up(self, staged: StagedFolder, completed: CompletedShards) -> ClipStore:
        """Adds nothing; remembers that some are copies, so that they are not decoded every time."""
        skipped, old = completed.skipped(), self.store.manifest
        if any("copy_of" in clip for clip in skipped):
            told = {
                "skipped": self._skipped(completed, set(self._index["id"].to_pylist())),
                "appended": [*old.get("appended", ()), staged.plan],
            }
            write_json(self.store.path / "manifest.json", {**old, **told})
            staged.remove()
            return ClipStore.open(self.store.path)
        staged.remove()
        before = {clip["id"] for clip in old["skipped"]}
        for clip in skipped:
            if clip["id"] not in before:
                raise StoreError(
                    f"{self.store.path}: none of {self.clips} new clips could be prepared: {clip['reason']}"
                )
        return self.store

    def _commit(self, staged: StagedFolder, completed: CompletedShards) -> ClipStore:
        """Commits in steps that can each be done again; the one before the last makes the store another."""
        path = self.store.path
        index = pa.concat_tables([self._index, with_groups(completed.index(latents=True), self._source.clips)])
        self._write_manifest(staged, completed, index)
        manifest = read_manifest(staged.folder)
        for file in sorted(staged.folder.glob("*.npy")):
            file.replace(path / file.name)
        write_index(path / manifest["index"], index)
        store = ClipStore(path, manifest, self.store.view, *read_index(path, manifest))
        write_position_mean(store)
        (staged.folder / "manifest.json").replace(path / "manifest.json")
        sync_folder(path)
        _sweep(store)
        staged.remove()
        return ClipStore.open(path)

    def _write_manifest(self, staged: StagedFolder, completed: CompletedShards, index: pa.Table) -> None:
        store, old = self.store, self.store.manifest
        train, val = (
            Sums.of([old["latents"]["sums"][split], *completed.latent_facts(split)], store.teacher.dim)
            for split in SPLITS
        )
        imported = store.teacher.imported
        checked = "unverified" if imported else old["latents"]["view"]
        sha256 = latents_sha256(index) if imported else store.teacher.sha256
        write_manifest(
            staged.folder,
            view=store.view,
            videos=store.videos,
            labels=self._source.labels,
            index=index,
            pixels=store.pixel_format,
            latents=describe_latents(store.latent_format, store.view, checked, train, val),
            teacher={**old["teacher"], "sha256": sha256},
            skipped=self._skipped(completed, set(index["id"].to_pylist())),
            plan=old["plan"],
            generation=old["generation"] + 1,
            appended=[*old.get("appended", ()), staged.plan],
        )

    def _skipped(self, completed: CompletedShards, there: set[str]) -> list[dict[str, Any]]:
        """Returns clips that were left out, each once, by what was said last; without those the store has by now."""
        paths = {clip.id: clip.path for clip in self._source.clips}
        now: list[dict[str, Any]] = [*completed.skipped()]
        for clip in now:
            if "copy_of" in clip:
                clip["video_bytes"] = paths[clip["id"]].stat().st_size
        clips = {clip["id"]: clip for clip in [*self.store.manifest["skipped"], *now]}
        return [clip for name, clip in clips.items() if name not in there]


def _sweep(store: ClipStore) -> None:
    """Deletes what the manifest does not name: the index before, and what an append left that was never finished."""
    named = {store.manifest["index"], store.manifest["position_mean"]}
    shards = {shard["name"] for shard in store.manifest["shards"]}
    for file in store.path.iterdir():
        if _FILES.fullmatch(file.name) and file.name not in named and file.name.split(".")[0] not in shards:
            file.unlink()
