"""The split of `prepare`'s videos: from flags to clips, and what is said of its groups and of copies across it."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from salt_tune.ui.console import console
from trainable.data.build.copies import Repeated, repeated
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.groups import grouping_of, sides_of
from trainable.data.video.grouping import Grouping
from trainable.data.video.video_dataset import Source, find_source

NAMED = 5  # clips that are there several times, on each count


@dataclass(frozen=True)
class Split:
    """Which clips are held out, where the videos come without a split.

    Attributes:
        val_fraction: share of each class.
        group_by: what names a clip's group; None: no groups.
        seed: of the draw, and of what else is drawn for a store.
    """

    val_fraction: float
    group_by: str | None
    seed: int

    @property
    def grouping(self) -> Grouping | None:
        """How clips are grouped, where they are."""
        return None if self.group_by is None else Grouping(self.group_by)


def find_clips(videos: Path, split: Split) -> Source:
    """Finds the labelled videos of a folder; says how many groups are held out, where there are any.

    Raises:
        UserError: see `Grouping` and `find_source`.
    """
    grouping = split.grouping
    source = find_source(videos, val_fraction=split.val_fraction, seed=split.seed, grouping=grouping)
    _say_left_out(source)
    if grouping is not None:
        held = [clip for clip in source.clips if clip.split == "val"]
        groups, held_groups = ({clip.group for clip in clips} for clips in (source.clips, held))
        console.print(
            f"{len(groups)} groups by {split.group_by}: {len(held_groups)} of them held out, "
            f"{len(held)} of {len(source.clips)} clips"
        )
    return source


def find_more_clips(videos: Path, path: Path, split: Split) -> Source:
    """Finds the labelled videos of a folder, in the groups of the store `path` and on the sides of their groups there.

    Raises:
        UserError: no such store, or it is grouped otherwise; see also `find_clips`.
    """
    store = ClipStore.open(path)
    source = find_source(
        videos,
        val_fraction=split.val_fraction,
        seed=split.seed,
        grouping=grouping_of(store, split.grouping),
        sides=sides_of(store),
    )
    _say_left_out(source)
    return source


def _say_left_out(source: Source) -> None:
    """Counts the files that are no videos by their names, and the videos that are on no list."""
    if source.others:
        endings = Counter(path.suffix.lower() or "without an ending" for path in source.others)
        kinds = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(NAMED))
        more = f" and {len(endings) - NAMED} kinds more" if len(endings) > NAMED else ""
        first = source.others[0].relative_to(source.folder)
        console.print(f"{source.folder}: no videos by their names, left out: {kinds}{more}, first {first}")
    if source.unlisted:
        count, one = len(source.unlisted), source.unlisted[0].name
        console.print(f"{source.folder}: videos on none of the lists, left out: {count}, first {one}")


def warn_of_copies(store: ClipStore) -> None:
    """Names clips that show the same frames. They stay: what a published list holds is not changed unasked."""
    found = repeated(store)
    torn, others = [clips for clips in found if clips.torn], [clips for clips in found if not clips.torn]
    if torn:
        console.warn(
            f"{_named(torn)}: the same frames on both sides of the split, "
            "which flatters the held-out loss: keep them on one side, or in one group (--group-by)"
        )
    if others:
        console.warn(f"{_named(others)}: the same frames under several names; they count as often")


def _named(found: list[Repeated]) -> str:
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return "; ".join(map(str, found[:NAMED])) + more
