"""The prepare job: from what was asked for to a finished clip store, with what it will cost said before."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from salt_tune.stores.demo import DEMO_STORE
from salt_tune.stores.latents import Teaching, choose_teacher
from salt_tune.stores.splits import Split, find_clips, warn_of_copies
from salt_tune.stores.teacher_panel import say_teacher_panel
from salt_tune.stores.teachers import TeacherFlags
from salt_tune.ui.console import console
from salt_tune.ui.format import byte_size, duration
from salt_tune.ui.progress_bar import progress
from trainable.data.build.builder import StoreBuilder
from trainable.data.build.decoding import Decoders
from trainable.data.build.estimate import size_of, try_clips
from trainable.data.build.plan import Plan
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import LatentFormat, PixelFormat, TargetNorm, check_pixel_format
from trainable.data.video.synthetic import write_dataset
from trainable.data.video.video_dataset import Source
from trainable.data.video.view import View
from trainable.errors import StoreError, UserError
from trainable.files import free_bytes
from trainable.registry import TEACHERS


@dataclass(frozen=True)
class Formats:
    """How a store holds its clips.

    Attributes:
        pixels: "raw", "jpeg", or "none", which decodes the videos again as a model trains.
        latents: "float16", or "int8" with a scale for each token.
        target_norm: how latents are normalised; None: as suits the teacher.
    """

    pixels: PixelFormat
    latents: LatentFormat
    target_norm: TargetNorm | None


@dataclass(frozen=True)
class StoreRequest:
    """What is asked of a store.

    Attributes:
        videos: folder of labelled videos; None: beside the store, where synthetic ones are written.
        store: folder of the store; None: stores/NAME OF VIDEOS, or the embedded default.
        synthetic: how many videos of moving shapes to write first; None: none.
        split: which clips are held out.
        view: of a clip.
        teacher: whose latents.
        formats: how they are stored.
    """

    videos: Path | None
    store: Path | None
    synthetic: int | None
    split: Split
    view: View
    teacher: TeacherFlags
    formats: Formats


def build_store(request: StoreRequest, decoders: Decoders, *, overwrite: bool = False, dry_run: bool = False) -> None:
    """Makes a clip store, or goes on with one; says what it costs, and what came of it.

    Args:
        request: what is asked for.
        decoders: processes that decode.
        overwrite: replace a store that was prepared otherwise.
        dry_run: say what it costs, and stop there.

    Raises:
        UserError: videos, view, teacher and formats that do not fit each other, or a disk that cannot hold the store.
    """
    videos, store, split = request.videos, request.store, request.split
    if request.synthetic and split.group_by is not None:
        raise UserError(f"--group-by {split.group_by}: videos made by --synthetic have a split of their own")
    check_pixel_format(request.formats.pixels, request.view)
    store = store or (Path("stores") / videos.resolve().name if videos else DEMO_STORE)
    videos = videos or store.with_name(store.name + "-videos")
    with ExitStack() as stack:
        stack.enter_context(_no_empty_folders(videos, store))
        if request.synthetic:
            if dry_run and not (videos / "validation.json").exists():
                videos = Path(stack.enter_context(TemporaryDirectory(prefix="salt-tune-")))
            _write_videos(videos, request.synthetic, split.seed)
        source = find_clips(videos, split)
        teaching, plan = _plan(source, request)
        builder = StoreBuilder(store, plan, overwrite=overwrite)
        if builder.done:
            console.print(f"{store}: the store is there already, prepared with these arguments; nothing to do")
            return
        _say_cost(builder, teaching, decoders)
        if dry_run:
            return
        finished = teaching.fill(builder, decoders)
    say_result(finished)
    warn_of_copies(finished)
    say_teacher_panel(finished)


def _plan(source: Source, request: StoreRequest) -> tuple[Teaching, Plan]:
    formats, view = request.formats, request.view
    training_clips = sum(clip.split == "train" for clip in source.clips)
    teaching = choose_teacher(request.teacher, view, training_clips)
    norm = formats.target_norm or TEACHERS[request.teacher.teacher].target_norm
    described, seed = teaching.describe(), request.split.seed
    return teaching, Plan(source, view, formats.pixels, formats.latents, described, norm, seed)


@contextmanager
def _no_empty_folders(*folders: Path) -> Iterator[None]:
    """Takes away folders that were not there before and are empty after an error."""
    made = [path for folder in folders for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise


def _write_videos(folder: Path, count: int, seed: int) -> None:
    with progress("draw", count) as advance:
        write_dataset(folder, count, seed=seed, on_clip=lambda: advance(1))


def _say_cost(builder: StoreBuilder, teaching: Teaching, decoders: Decoders) -> None:
    """Says what is still to be written and how long it should last; stops where the disk cannot hold it."""
    plan = builder.plan
    sample = try_clips(plan, decoders)
    size = size_of(plan, sample, teaching.dim)
    pixels_left, latents_left = (1 - builder.written(half) / len(plan.source.clips) for half in ("pixels", "latents"))
    needed = size.pixels * pixels_left + size.latents * latents_left
    stages = {"decode": sample.decode_seconds * len(plan.source.clips) / decoders.processes * pixels_left}
    if len(sample.pixels):
        stages |= {name: value * latents_left for name, value in teaching.seconds(plan, sample.pixels).items()}
    # Beside a teacher on a GPU, decoding costs nothing until it is the slower one; on a CPU they share the cores.
    seconds = max(stages.values()) if teaching.overlaps and torch.cuda.is_available() else sum(stages.values())
    left = needed / size.total
    resumed = f", {left:.0%} of it still to write" if left < 1 else ""
    free = free_bytes(builder.path)
    pixels, latents, total = map(byte_size, (size.pixels, size.latents, size.total))
    console.print(
        f"{len(plan.source.clips)} clips in {size.rows} rows: pixels {pixels} ({plan.pixels}) + latents {latents} "
        f"({plan.latents}) = {total}{resumed}; {byte_size(free)} free"
    )
    shares = ", ".join(f"{name} {duration(value)}" for name, value in stages.items())
    console.print(f"about {duration(seconds)}: {shares}")
    if needed > free:
        raise StoreError(_no_room(builder.path, needed, free))


def _no_room(path: Path, needed: float, free: float) -> str:
    return (
        f"{path}: the store needs {byte_size(needed)} more, and its disk has {byte_size(free)} free; "
        "--latents int8 halves the latents, --pixels jpeg or none saves on pixels, or name another disk by --store"
    )


def say_result(store: ClipStore) -> None:
    """Says what a store holds that is finished."""
    size = sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file())
    skipped = len(store.manifest["skipped"])
    view, teacher = store.view, store.teacher
    classes = f"{len(store.labels)} class{'es' * (len(store.labels) != 1)}"
    clips = f"{len(store.train)} training and {len(store.val)} held-out clips of {classes}"
    views = f", {view.views} views" if view.views > 1 else ""
    rounding = store.manifest["latents"]["relative_error"]
    int8 = f" ({rounding:.2%} off as int8)" if store.latent_format == "int8" else ""
    console.print(
        f"{os.path.relpath(store.path)}: {clips}{f', {skipped} skipped' if skipped else ''}; "
        f"{view.frames} x {view.size} x {view.size} in {view.tokens} tokens{views}, "
        f"latents {teacher.dim} wide by {teacher.name}{int8}; {byte_size(size)}"
    )
