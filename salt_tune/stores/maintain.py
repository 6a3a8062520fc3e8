"""What keeps a clip store in good order: verify, repair, subset, append."""

from pathlib import Path

from salt_tune.stores.latents import say_skipped
from salt_tune.stores.teachers import load_teacher
from salt_tune.ui.console import console
from salt_tune.ui.progress_bar import progress
from trainable.data.build.decoding import Decoders
from trainable.data.build.latent_source import FrozenTeacher, LatentSource
from trainable.data.build.precomputed import LatentFolder
from trainable.data.maintain.append import StoreAppender
from trainable.data.maintain.repair import check_latents_again, repair
from trainable.data.maintain.reread import accept, read_again
from trainable.data.maintain.rows import BadRow
from trainable.data.maintain.subset import subset
from trainable.data.maintain.verify import bytes_to_verify, verify
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.video_dataset import Source
from trainable.errors import UserError
from trainable.registry import TEACHERS

NAMED = 20  # damaged rows that are printed at most

DAMAGED = 1  # exit code


def verify_store(path: Path, decoders: Decoders) -> int:
    """Reads all of a store and names each row that is damaged.

    Returns:
        The exit code: 1 where any is.
    """
    store = ClipStore.open(path, whole=False)
    bad = _verify(store, decoders)
    if bad:
        console.print(f"Rebuild them: {store.repair_command}")
    if store.reading_complaint:
        console.print(f"{path}: {store.reading_complaint}")
    return DAMAGED if bad or store.reading_complaint else 0


def repair_store(path: Path, weights: Path | None, decoders: Decoders) -> int:
    """Rebuilds the damaged rows of a store.

    Args:
        path: the store.
        weights: of its teacher; None: those that lie in the store, if it has any.
        decoders: processes that decode.

    Raises:
        UserError: they cannot be rebuilt.
    """
    store = ClipStore.open(path, whole=False)
    if not store.read_in_order:
        store = _reread(store, weights, decoders)
    bad = _verify(store, decoders)
    teacher = _teacher_of(store, weights) if any(row.half == "latents" for row in bad) else None
    with progress("repair", len(bad), unit="rows") as advance:
        changed = repair(store, bad, teacher, decoders, advance)  # mends the position mean as well
    ClipStore.open(path)
    if changed:
        console.print(f"{changed} rows got latents of other bits than before, as from another machine")
    console.print(f"{path}: {len(bad)} rows rebuilt")
    return 0


def _reread(store: ClipStore, weights: Path | None, decoders: Decoders) -> ClipStore:
    """Reads the videos of a store in order that was read by random access; its index has other frames then."""
    with progress("read", sum(shard["rows"] for shard in store.manifest["shards"]), unit="rows") as advance:
        found = read_again(store, decoders, advance)
    console.print(f"{store.path}: {len(found.pixels)} of {found.rows} rows held other frames than the video's own")
    if found.pixels:  # refused before anything is written
        check_latents_again(store, len(found.pixels), _teacher_of(store, weights))
    accept(store, found)
    return ClipStore.open(store.path, whole=False)


def take_subset(source: Path, path: Path, clips: int, seed: int, overwrite: bool) -> ClipStore:
    """Makes a store of some clips of the store `source`; see `trainable.data.maintain.subset.subset`."""
    store = ClipStore.open(source)
    with progress("copy", clips) as advance:
        return subset(store, path, clips, seed, overwrite=overwrite, advance=advance)


def append_clips(
    source: Source, path: Path, weights: Path | None, latents: Path | None, decoders: Decoders, *, overwrite: bool
) -> ClipStore:
    """Adds the clips of `source` to the store `path`; see `trainable.data.maintain.append.StoreAppender`.

    Args:
        source: labelled videos.
        path: the store.
        weights: of its teacher; None: those that lie in the store, if it has any.
        latents: a folder of latents, where those of the store were imported.
        decoders: processes that decode.
        overwrite: start over where an append of other clips did not finish.

    Raises:
        UserError: they cannot be added.
    """
    appender = StoreAppender(path, source, overwrite=overwrite)
    known = f"{appender.there} of {len(source.clips)} clips are in the store already"
    if appender.copies:
        known += f", and {appender.copies} show{'s' * (appender.copies == 1)} the same frames as clips of it"
    if not appender.clips:
        console.print(f"{path}: {known}; nothing to do")
        return appender.store
    console.print(f"{path}: {known}; {appender.clips} to be added")
    store, before = appender.store, {clip["id"] for clip in appender.store.manifest["skipped"]}
    teacher: LatentSource
    teacher = _teacher_of(store, weights) if latents is None else LatentFolder(latents, store.view)
    with progress("append", appender.clips) as advance:
        store = appender.append(teacher, decoders, advance)
    say_skipped(clip for clip in store.manifest["skipped"] if clip["id"] not in before)
    return store


def _verify(store: ClipStore, decoders: Decoders) -> list[BadRow]:
    with progress("verify", bytes_to_verify(store), unit="bytes") as advance:
        bad = verify(store, decoders, advance)
    for row in bad[:NAMED]:
        view = f", view {row.view}" if row.view else ""
        console.print(f"  {row.file.name}, row {row.row}: clip {row.id}{view}, {row.half}: {row.reason}")
    if len(bad) > NAMED:
        console.print(f"  ... and {len(bad) - NAMED} more")
    rows = sum(shard["rows"] for shard in store.manifest["shards"])
    damaged = f"{len(bad)} damaged" if bad else "all as they were prepared"
    console.print(f"{store.path}: {rows} rows of {len(store.train) + len(store.val)} clips, {damaged}")
    return bad


def _teacher_of(store: ClipStore, weights: Path | None) -> FrozenTeacher:
    """Returns the teacher that a store's latents were computed by."""
    name = store.teacher.name
    if store.teacher.imported:
        raise UserError(f"{store.path}: its latents were imported, not computed by a teacher: give --latents-from")
    if weights is None and not TEACHERS[name].weightless:
        if not (store.path / "teacher").is_dir():
            raise UserError(f"{store.path}: its teacher {name} is needed: name its weights by --teacher-weights")
        weights = store.path
    return load_teacher(name, weights, store.view)
