"""What a clip store is to hold."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from trainable.data.store.codecs import LatentFormat, PixelFormat, TargetNorm
from trainable.data.video.crops import Cut, cuts_of
from trainable.data.video.reader import READING
from trainable.data.video.video_dataset import Source, SourceClip
from trainable.data.video.view import View

SHARD_CLIPS = 64

Shard = tuple[str, list[SourceClip]]
T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What decides the content of a store; two preparations with equal plans make the same store.

    Attributes:
        source: the labelled videos.
        view: geometry of the clips.
        pixels: how pixels are stored.
        latents: how latents are stored.
        teacher: what decides the latents, as plain JSON.
        target_norm: how they are normalised.
        seed: seed of a teacher that is trained.
        shards_there: how many numbers of shards are taken in each split, where clips are added to a store.
    """

    source: Source
    view: View
    pixels: PixelFormat
    latents: LatentFormat
    teacher: dict[str, Any]
    target_norm: TargetNorm
    seed: int
    shards_there: Mapping[str, int] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Describes the plan for the manifest; the videos by a hash of names, labels, splits, groups and sizes."""
        # As JSON, as names may hold whatever else would stand between two fields.
        clips = [[c.id, c.label, c.split, c.group, c.path.stat().st_size] for c in self.source.clips]
        sha256 = hashlib.sha256(json.dumps(clips).encode()).hexdigest()
        return {
            "videos": {"clips": len(clips), "sha256": sha256},
            "group_by": self.source.group_by,
            "view": self.view.describe(),
            "reading": READING["order"],
            "pixels": self.pixels,
            "latents": self.latents,
            "teacher": self.teacher,
            "target_norm": self.target_norm,
            "seed": self.seed,
        }

    def cuts(self, clip: SourceClip) -> tuple[Cut, ...]:
        """Returns the views of a clip."""
        return cuts_of(self.view, clip.id, clip.label, clip.split)

    def rows(self) -> int:
        """Counts the rows that the store will have where every video decodes."""
        return sum(self.view.views if clip.split == "train" else 1 for clip in self.source.clips)

    def shards(self) -> Iterator[Shard]:
        """Returns names and clips of the shards, training clips first."""
        for split in ("train", "val"):
            clips = [clip for clip in self.source.clips if clip.split == split]
            yield from number_shards(split, clips, self.shards_there.get(split, 0))


def number_shards(split: str, clips: Sequence[T], first: int = 0) -> Iterator[tuple[str, list[T]]]:
    """Returns names and clips of the shards of one split, numbered from `first`."""
    for number, start in enumerate(range(0, len(clips), SHARD_CLIPS), first):
        yield f"{split}-{number:05d}", list(clips[start : start + SHARD_CLIPS])
