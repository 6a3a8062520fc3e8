"""The stages of a preparation: decoding (worker processes), the teacher (the device), writing.

They run side by side, each in a thread (see `pipeline.py`), with one batch waiting between any two.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainable.data.build.completed_shards import CompletedShards, Row
from trainable.data.build.decoding import Decoded, Decoders, Job, decode_all, or_raise
from trainable.data.build.latent_source import LatentSource
from trainable.data.build.pipeline import ahead
from trainable.data.build.plan import Plan, Shard
from trainable.data.build.shard_writer import ShardWriter
from trainable.data.store.targets import Targets, encode, normalise
from trainable.data.video.video_dataset import SourceClip
from trainable.errors import VideoError

BATCH_ROWS = 16  # that a teacher sees at once, and that wait between two stages: what bounds the memory

Advance = Callable[[int], None]


@dataclass
class Batch:
    """Some clips of one shard on their way through the pipeline.

    Attributes:
        shard: its name.
        clips: those that were decoded.
        decoded: what became of each.
        fetched: the latents of each that were there already, see `LatentSource.fetch`.
        skipped: the others: `id`, `split`, `reason`, and as `log` what the decoder said.
        last: no more of this shard comes.
    """

    shard: str
    clips: list[SourceClip]
    decoded: list[Decoded]
    fetched: list[torch.Tensor | None]
    skipped: list[dict[str, str]]
    last: bool

    @property
    def pixels(self) -> torch.Tensor:
        """What a teacher looks at: (rows, tokens, token values)."""
        return torch.from_numpy(np.stack([view for clip in self.decoded for view in clip.pixels]))


def write_shards(
    plan: Plan,
    folder: Path,
    completed: CompletedShards,
    latents: LatentSource | None,
    decoders: Decoders,
    advance: Advance,
    leave_out: Callable[[Iterator[Batch]], Iterator[Batch]] = iter,
) -> None:
    """Decodes the videos of all shards that are not whole yet, and writes these shards.

    Args:
        plan: what the store is to hold.
        folder: where the shards are staged.
        completed: the shards there that are whole.
        latents: where the latents come from; None: they are added later.
        decoders: processes that decode.
        advance: called with a number of source clips when that many more are written.
        leave_out: takes clips out of the batches before a teacher looks at them.
    """
    missing = [(name, clips) for name, clips in plan.shards() if not completed.has(name)]
    with (
        closing(ahead(leave_out(decode_batches(plan, missing, latents, decoders)))) as decoded,
        closing(ahead(encode_batches(plan, decoded, latents))) as encoded,
    ):
        write_batches(plan, encoded, folder, completed, advance)


def decode_batches(
    plan: Plan, shards: list[Shard], latents: LatentSource | None, decoders: Decoders
) -> Iterator[Batch]:
    """Yields what the workers decode, in batches that do not reach across shards."""
    keep_pixels = latents is not None and latents.needs_pixels
    jobs = (Job(clip.path, plan.cuts(clip)) for _, clips in shards for clip in clips)
    results = decode_all(jobs, plan.view, decoders, pixels=plan.pixels, keep_pixels=keep_pixels)
    size = max(1, BATCH_ROWS // plan.view.views)
    for name, clips in shards:
        for start in range(0, len(clips), size):
            batch = Batch(name, [], [], [], [], last=start + size >= len(clips))
            for clip in clips[start : start + size]:
                try:
                    result = or_raise(next(results))
                    batch.fetched.append(None if latents is None else latents.fetch(clip.id))
                    batch.clips.append(clip)
                    batch.decoded.append(result)
                except VideoError as error:
                    batch.skipped.append(
                        {"id": clip.id, "split": clip.split, "reason": str(error), "log": "\n".join(error.log)}
                    )
            yield batch


def encode_batches(
    plan: Plan, batches: Iterator[Batch], latents: LatentSource | None
) -> Iterator[tuple[Batch, Targets | None]]:
    """Adds the latents, where there are any to add."""
    for batch in batches:
        if latents is None or not batch.clips:
            yield batch, None
        else:
            pixels = batch.pixels if latents.needs_pixels else None
            yield batch, as_targets(plan, latents.assemble(batch.fetched, pixels))


def as_targets(plan: Plan, latents: torch.Tensor) -> Targets:
    """Encodes a teacher's latents as the plan stores them."""
    return encode(normalise(latents, plan.target_norm), plan.latents)


def write_batches(
    plan: Plan,
    batches: Iterator[tuple[Batch, Targets | None]],
    folder: Path,
    completed: CompletedShards,
    advance: Advance,
) -> None:
    """Writes shards, and records each that is whole."""
    for batch, targets in batches:
        rows: list[dict[str, Any]] = []
        skipped: list[dict[str, str]] = []
        with ShardWriter(folder, batch.shard) as writer:
            while True:
                _write_batch(plan, writer, batch, targets, rows)
                skipped += batch.skipped
                advance(len(batch.clips) + len(batch.skipped))
                if batch.last:
                    break
                batch, targets = next(batches)
        # The record of the pixels is written last: it says that the shard is whole.
        if writer.latent_digests:
            completed.write_latents(batch.shard, writer.latent_facts())
        completed.write(batch.shard, rows, skipped)


def _write_batch(plan: Plan, writer: ShardWriter, batch: Batch, targets: Targets | None, rows: list[Row]) -> None:
    for clip, decoded in zip(batch.clips, batch.decoded, strict=True):
        for view, cut in enumerate(plan.cuts(clip)):
            stored = decoded.stored[view] if decoded.stored else None
            start = None if stored is None else writer.add_pixels(stored)
            jpeg = stored if plan.pixels == "jpeg" else None
            rows.append(
                {
                    "id": clip.id,
                    "view": view,
                    "split": clip.split,
                    "label": plan.source.labels.index(clip.label),
                    "shard": batch.shard,
                    "row": len(rows),
                    "frames": decoded.frames.tolist(),
                    "flip": cut.flip,
                    "video": _below(plan.source.folder, clip.path).as_posix(),
                    "video_bytes": clip.path.stat().st_size,
                    "pixels_start": None if jpeg is None else start,
                    "pixels_bytes": None if jpeg is None else len(jpeg),
                    "pixels_xxh3": decoded.digests[view],
                }
            )
    if targets is not None:
        writer.add_latents(targets)


def _below(folder: Path, file: Path) -> Path:
    """Returns the path of a file below a folder; as it is, where it lies elsewhere."""
    return file.relative_to(folder) if file.is_relative_to(folder) else file
