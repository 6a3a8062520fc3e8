"""Clips that show the same frames under several names: their centre crops have one checksum."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainable.data.store.clip_store import ClipStore
from trainable.data.video.video_dataset import Split

if TYPE_CHECKING:
    from trainable.data.build.stages import Batch


@dataclass(frozen=True)
class Original:
    """The clip that was there first.

    Attributes:
        id: its name.
        split: its side.
        stored: the store had it before; else it is appended as well.
    """

    id: str
    split: str
    stored: bool = True

    def __str__(self) -> str:
        """Returns what is said of it."""
        return f"{self.id} of the store ({self.split})" if self.stored else f"{self.id} ({self.split}), new as well"


class Copies:
    """Takes clips out of a preparation that show what another one shows.

    Args:
        seen: what there is already, by the checksum of the centre crop.
    """

    def __init__(self, seen: dict[int, Original]) -> None:
        self._seen = seen

    def leave_out(self, batches: "Iterator[Batch]") -> "Iterator[Batch]":
        """Yields the batches without the copies, which are skipped; `copy_of` names the clip that was there first."""
        for batch in batches:
            kept: list[int] = []
            skipped: list[dict[str, str]] = [*batch.skipped]
            for place, (clip, decoded) in enumerate(zip(batch.clips, batch.decoded, strict=True)):
                checksum = decoded.digests[0]
                original = self._seen.setdefault(checksum, Original(clip.id, clip.split, stored=False))
                if original.id == clip.id:
                    kept.append(place)
                else:
                    reason = f"shows the same frames as clip {original}"
                    skipped.append({"id": clip.id, "split": clip.split, "reason": reason, "copy_of": original.id})
            yield replace(
                batch,
                clips=[batch.clips[place] for place in kept],
                decoded=[batch.decoded[place] for place in kept],
                fetched=[batch.fetched[place] for place in kept],
                skipped=skipped,
            )


@dataclass(frozen=True)
class Repeated:
    """Clips of a store that show the same frames, those to train on first.

    Attributes:
        ids: their names.
        splits: their sides.
    """

    ids: tuple[str, ...]
    splits: tuple[Split, ...]

    @property
    def torn(self) -> bool:
        """Whether they stand on both sides of the split, so that the held-out loss is that of clips trained on."""
        return len(set(self.splits)) > 1

    def __str__(self) -> str:
        """Lists their names, each with its side."""
        return " = ".join(f"{name} ({split})" for name, split in zip(self.ids, self.splits, strict=True))


def repeated(store: ClipStore) -> list[Repeated]:
    """Returns the clips of a store that are there more than once; those on both sides of the split come first."""
    found: dict[int, list[tuple[str, Split]]] = {}
    for clips in (store.train, store.val):
        for name, checksum in zip(clips.ids, clips.digests[:, 0, 0].tolist(), strict=True):
            found.setdefault(checksum, []).append((name, clips.split))
    several = (Repeated(*zip(*names, strict=True)) for names in found.values() if len(names) > 1)
    return sorted(several, key=lambda clips: (not clips.torn, clips.ids))


def originals(rows: Iterator[dict[str, Any]], *, stored: bool) -> dict[int, Original]:
    """Returns what rows of an index show, by the checksums of their centre crops."""
    return {row["pixels_xxh3"]: Original(row["id"], row["split"], stored) for row in rows if row["view"] == 0}
