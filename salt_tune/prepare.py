"""`python -m salt_tune.prepare`: videos to a clip store, and what keeps a store in good order."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from salt_tune.options import Finite, Folder, Named
from salt_tune.ui.console import OneLineErrors, console, duration, progress
from trainable.data.store.codecs import LatentFormat, PixelFormat, TargetNorm, check_pixel_format
from trainable.data.video.view import Flips, View
from trainable.registry import TEACHERS
from trainable.teachers.videomae_layout import VIDEOMAE_TEACHERS

if TYPE_CHECKING:
    from salt_tune.stores.latents import Teaching
    from trainable.data.build.builder import StoreBuilder
    from trainable.data.build.decoding import Decoders
    from trainable.data.store.clip_store import ClipStore
    from trainable.data.video.video_dataset import Source

# This module is imported again by every decoding worker: what needs torch is imported where it is used.

DEMO_VIEW = View(frames=8, size=48, patch=8, tubelet=2)
DEMO_CLIPS = 480
DEMO_STORE = Path("stores/demo")

FOLDER = Folder()

GEOMETRY = ("frames", "size", "patch", "tubelet")


@dataclass(frozen=True)
class Options:
    """The flags, as click hands them over; see `main`."""

    videos: Path | None
    store: Path | None
    synthetic: int | None
    frames: int | None
    size: int | None
    patch: int | None
    tubelet: int | None
    views: int
    flips: Flips
    val_fraction: float
    group_by: str | None
    teacher: str
    teacher_weights: Path | None
    teacher_epochs: int | None
    teacher_config: Path | None
    teacher_compile: bool
    latents_from: Path | None
    check_latents: int | None
    pixels: PixelFormat
    latents: LatentFormat
    target_norm: TargetNorm
    seed: int
    workers: int
    clip_timeout: float | None
    clip_memory: float
    overwrite: bool
    dry_run: bool
    append: bool
    subset: int | None
    verify: Path | None
    repair: Path | None
    inspect: Path | None

    @property
    def decoders(self) -> "Decoders":
        """The processes asked for, and what a clip may take of them."""
        from trainable.data.build.decoding import Decoders

        return Decoders(self.workers, self.clip_timeout, round(self.clip_memory * 1e9))

    def view(self) -> View:
        """The view asked for."""
        base = DEMO_VIEW if self.synthetic else View()
        given = {name: getattr(self, name) for name in GEOMETRY if getattr(self, name) is not None}
        return View(**{**base.geometry, **given}, views=self.views, flips=self.flips)


@click.command(cls=OneLineErrors)
@click.argument("videos", type=FOLDER, required=False)
@click.option("--store", type=FOLDER, help="Folder of the store to make [default: stores/NAME OF VIDEOS].")
@click.option(
    "--synthetic",
    type=click.IntRange(min=16),
    metavar="N",
    help="First write N videos of moving shapes into VIDEOS [default: beside the store].",
)
@click.option("--frames", type=int, help="Frames taken of a video [default: 16; synthetic: 8].")
@click.option("--size", type=int, help="Height and width in pixels [default: 224; synthetic: 48].")
@click.option("--patch", type=int, help="Height and width of a patch in pixels [default: 16; synthetic: 8].")
@click.option("--tubelet", type=int, help="Frames in a token [default: 2].")
@click.option(
    "--views",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Views stored of a training clip: the centre crop, then crops drawn from its name. Epochs take turns.",
)
@click.option(
    "--flips",
    type=click.Choice(["undirected", "all", "none"]),
    default="undirected",
    show_default=True,
    help="Which further views may be mirrored: those of clips whose label names no direction, all, or none.",
)
@click.option(
    "--val-fraction",
    type=float,
    default=0.1,
    show_default=True,
    help="Share of each class to hold out, where the videos come without a split.",
)
@click.option(
    "--group-by",
    metavar="PATTERN",
    help="Hold out whole groups: a regular expression on the clips' ids, whose first group (or whole match) names that "
    "of the clip; or FILE.csv:COLUMN, a table with the clips' ids in `id`, `video` or its first column.",
)
@click.option(
    "--teacher",
    type=Named(TEACHERS),
    default="pixel",
    show_default=True,
    metavar="NAME",
    help=f"Whose latents: `pixel` is trained here on the training clips; {', '.join(VIDEOMAE_TEACHERS)} need weights.",
)
@click.option(
    "--teacher-weights",
    type=FOLDER,
    metavar="FILE",
    help="Released weights (.pth, .safetensors), or the store or folder of a pixel teacher that is trained.",
)
@click.option("--teacher-epochs", type=click.IntRange(min=1), help="Epochs that the pixel teacher is trained for.")
@click.option("--teacher-config", type=FOLDER, metavar="FILE", help="YAML of the pixel teacher's hyperparameters.")
@click.option("--teacher-compile", is_flag=True, help="Compile a VideoMAE teacher with torch.compile.")
@click.option("--latents-from", type=FOLDER, metavar="DIR", help="Adopt latents: a folder with an ID.pt for each clip.")
@click.option(
    "--check-latents", type=click.IntRange(min=1), metavar="N", help="Compute N of them again with --teacher first."
)
@click.option(
    "--pixels",
    type=click.Choice(["raw", "jpeg", "none"]),
    default="raw",
    show_default=True,
    help="How pixels are stored; none decodes the videos again as it trains.",
)
@click.option(
    "--latents",
    type=click.Choice(["float16", "int8"]),
    default="float16",
    show_default=True,
    help="How latents are stored; int8 with a scale for each token.",
)
@click.option(
    "--target-norm",
    type=click.Choice(["layer_norm", "none"]),
    default="layer_norm",
    show_default=True,
    help="How latents are normalised.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of synthetic videos, split, teacher and subset.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=os.cpu_count(), show_default="cores", help="Processes that decode."
)
@click.option(
    "--clip-timeout",
    type=Finite(min=0, min_open=True),
    metavar="SECONDS",
    help="Skip a clip that takes longer to decode [default: as its length and size need].",
)
@click.option(
    "--clip-memory",
    type=Finite(min=0.05),
    default=4.0,
    show_default=True,
    metavar="GB",
    help="Skip a clip that takes more memory to decode.",
)
@click.option("--overwrite", is_flag=True, help="Replace a store that was prepared otherwise.")
@click.option("--dry-run", is_flag=True, help="Say how many bytes and how long it will take, and stop there.")
@click.option("--append", is_flag=True, help="Add the clips of VIDEOS that --store does not have yet.")
@click.option("--subset", type=click.IntRange(min=2), metavar="N", help="VIDEOS is a store: take N of its clips.")
@click.option("--verify", type=FOLDER, metavar="STORE", help="Read all of a store and name each row that is damaged.")
@click.option("--repair", type=FOLDER, metavar="STORE", help="Rebuild the damaged rows of a store.")
@click.option("--inspect", type=FOLDER, metavar="STORE", help="Show what a store holds, and what its loss means.")
def main(**flags: Any) -> int:
    """Turn VIDEOS into a clip store: decoded once, with a teacher's latents.

    VIDEOS is a folder in Something-Something v2's layout (train.json, validation.json, labels.json, ID.webm) or with a
    folder per class. Stopped at any moment, the same command goes on where it was.
    """
    options = Options(**flags)
    for store, job in ((options.verify, "verify"), (options.repair, "repair"), (options.inspect, "inspect")):
        if store is not None:
            if options.videos is not None:
                raise click.UsageError(f"--{job} STORE takes no VIDEOS as well: {options.videos}")
            return _look_after(job, store, options)
    if options.videos is None and options.synthetic is None:
        raise click.UsageError("VIDEOS is missing: name a folder of videos, or make some with --synthetic N")
    if options.subset is not None:
        return _take_subset(options)
    if options.append:
        return _append(options)
    return _prepare(options)


def _look_after(job: str, store: Path, options: Options) -> int:
    from salt_tune.stores import inspect, maintain

    if job == "inspect":
        inspect.inspect_store(store)
        return 0
    if job == "verify":
        return maintain.verify_store(store, options.decoders)
    return maintain.repair_store(store, options.teacher_weights, options.decoders)


def _take_subset(options: Options) -> int:
    from salt_tune.stores.maintain import take_subset

    if options.videos is None or options.store is None or options.subset is None:
        raise click.UsageError("--subset N needs the store to take from and --store NAME for the new one")
    _say_result(take_subset(options.videos, options.store, options.subset, options.seed, options.overwrite))
    return 0


def _append(options: Options) -> int:
    from salt_tune.stores.maintain import append_clips
    from salt_tune.stores.splits import find_more_clips

    if options.videos is None or options.store is None:
        raise click.UsageError("--append needs VIDEOS and the --store that they are added to")
    split = (options.val_fraction, options.seed, options.group_by)
    source = find_more_clips(options.videos, options.store, *split)
    store, weights, latents = options.store, options.teacher_weights, options.latents_from
    _say_result(append_clips(source, store, weights, latents, options.decoders, overwrite=options.overwrite))
    return 0


def _prepare(options: Options) -> int:
    from salt_tune.stores.splits import find_clips, warn_of_copies
    from trainable.data.build.builder import StoreBuilder

    if options.synthetic and options.group_by is not None:
        raise click.UsageError(f"--group-by {options.group_by}: videos made by --synthetic have a split of their own")
    view = options.view()
    check_pixel_format(options.pixels, view)
    store = options.store or (Path("stores") / options.videos.resolve().name if options.videos else DEMO_STORE)
    videos = options.videos or store.with_name(store.name + "-videos")
    with ExitStack() as stack:
        stack.enter_context(_no_empty_folders(videos, store))
        if options.synthetic:
            if options.dry_run and not (videos / "validation.json").exists():
                videos = Path(stack.enter_context(TemporaryDirectory(prefix="salt-tune-")))
            _write_videos(videos, options.synthetic, options.seed)
        source = find_clips(videos, options.val_fraction, options.seed, options.group_by)
        teaching, plan = _plan(source, view, options)
        builder = StoreBuilder(store, plan, overwrite=options.overwrite)
        if builder.done:
            console.print(f"{store}: the store is there already, prepared with these arguments; nothing to do")
            return 0
        _say_cost(builder, teaching, options.decoders)
        if options.dry_run:
            return 0
        finished = teaching.fill(builder, options.decoders)
    _say_result(finished)
    warn_of_copies(finished)
    return 0


def _plan(source: "Source", view: View, options: Options) -> "tuple[Teaching, Any]":
    from salt_tune.stores.latents import TeacherFlags, choose_teacher
    from trainable.data.build.plan import Plan

    flags = TeacherFlags(
        options.teacher, options.teacher_weights, options.teacher_epochs, options.teacher_config,
        options.teacher_compile, options.latents_from, options.check_latents,
    )  # fmt: skip
    teaching = choose_teacher(flags, view, sum(clip.split == "train" for clip in source.clips))
    plan = Plan(source, view, options.pixels, options.latents, teaching.describe(), options.target_norm, options.seed)
    return teaching, plan


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
    from trainable.data.video.synthetic import write_dataset

    with progress("draw", count) as advance:
        write_dataset(folder, count, seed=seed, on_clip=lambda: advance(1))


def _say_cost(builder: "StoreBuilder", teaching: "Teaching", decoders: "Decoders") -> None:
    """Says what is still to be written and how long it should last; stops where the disk cannot hold it."""
    import torch

    from trainable.data.build.estimate import amount, check_disk, free_bytes, size_of, try_clips

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
    pixels, latents, total, free = map(amount, (size.pixels, size.latents, size.total, free_bytes(builder.path)))
    console.print(
        f"{len(plan.source.clips)} clips in {size.rows} rows: pixels {pixels} ({plan.pixels}) + latents {latents} "
        f"({plan.latents}) = {total}{resumed}; {free} free"
    )
    shares = ", ".join(f"{name} {duration(value)}" for name, value in stages.items())
    console.print(f"about {duration(seconds)}: {shares}")
    check_disk(builder.path, needed)


def _say_result(store: "ClipStore") -> None:
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
        f"latents {teacher.dim} wide by {teacher.name}{int8}; {size / 1e6:,.0f} MB"
    )


if __name__ == "__main__":
    main()
