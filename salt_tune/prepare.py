"""`python -m salt_tune.prepare`: videos to a clip store."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from salt_tune.console import OneLineErrors, console, progress
from trainable.data.view import View

if TYPE_CHECKING:
    from trainable.data.build import Plan, StoreBuilder
    from trainable.data.sources import Source
    from trainable.data.store import ClipStore
    from trainable.teacher import TargetNorm

# This module is imported again by every decoding worker: what needs torch is imported where it is used.

DEMO_VIEW = View(frames=8, size=48, patch=8, tubelet=2)
DEMO_CLIPS = 480
DEMO_STORE = Path("stores/demo")

USELESS_R2 = 0.01  # a teacher below it has learned nothing that a student could learn from it


@click.command(cls=OneLineErrors)
@click.argument("videos", type=click.Path(path_type=Path), required=False)
@click.option(
    "--store", type=click.Path(path_type=Path), help="Folder of the store to make [default: stores/NAME OF VIDEOS]."
)
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
    "--val-fraction",
    type=float,
    default=0.1,
    show_default=True,
    help="Share of each class to hold out, where the videos come without a split.",
)
@click.option(
    "--teacher",
    type=click.Choice(["pixel"]),
    default="pixel",
    show_default=True,
    help="Whose latents: `pixel` is trained here on the training clips.",
)
@click.option("--teacher-epochs", type=click.IntRange(min=1), help="Epochs that the pixel teacher is trained for.")
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
    help="Seed of synthetic videos, split and teacher.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=os.cpu_count(), show_default="cores", help="Processes that decode."
)
@click.option("--overwrite", is_flag=True, help="Replace a store that was prepared otherwise.")
def main(
    videos: Path | None,
    store: Path | None,
    synthetic: int | None,
    val_fraction: float,
    teacher: str,
    teacher_epochs: int | None,
    target_norm: str,
    seed: int,
    workers: int,
    overwrite: bool,
    **view: int | None,
) -> None:
    """Turn VIDEOS into a clip store: decoded once, with a teacher's latents.

    VIDEOS is a folder in Something-Something v2's layout (train.json, validation.json, labels.json, ID.webm) or with a
    folder per class. Stopped at any moment, the same command goes on where it was.
    """
    from trainable.data.build import StoreBuilder
    from trainable.data.sources import find_source

    if videos is None and synthetic is None:
        raise click.UsageError("VIDEOS is missing: name a folder of videos, or make some with --synthetic N")
    store = store or (Path("stores") / videos.resolve().name if videos else DEMO_STORE)
    videos = videos or store.with_name(store.name + "-videos")
    base = DEMO_VIEW if synthetic else View()
    geometry = View(**{name: getattr(base, name) if value is None else value for name, value in view.items()})
    with _no_empty_folders(videos, store):
        if synthetic:
            _write_videos(videos, synthetic, seed)
        source = find_source(videos, val_fraction=val_fraction, seed=seed)
        plan = _plan(source, geometry, teacher, teacher_epochs, target_norm, seed)
        builder = StoreBuilder(store, plan, overwrite=overwrite)
        if builder.done:
            console.print(f"{store}: the store is there already, prepared with these arguments; nothing to do")
            return
        with progress("decode", len(builder.plan.source.clips)) as advance:
            builder.decode(workers, advance)
    _say_skipped(builder)
    _say_result(store, _add_latents(builder))


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
    from trainable.data.synthetic import write_dataset

    with progress("draw", count) as advance:
        write_dataset(folder, count, seed=seed, on_clip=lambda: advance(1))


def _plan(
    source: "Source", view: View, teacher: str, teacher_epochs: int | None, target_norm: str, seed: int
) -> "Plan":
    from trainable.data.build import Plan
    from trainable.teacher import PIXEL_TEACHER

    training_clips = sum(clip.split == "train" for clip in source.clips)
    config = PIXEL_TEACHER.replace(
        epochs=teacher_epochs or PIXEL_TEACHER.epochs,
        batch_size=max(1, min(PIXEL_TEACHER.batch_size, training_clips)),
    )
    return Plan(source, view, teacher, config, cast("TargetNorm", target_norm), seed)


def _add_latents(builder: "StoreBuilder") -> "ClipStore":
    import torch

    from trainable.teacher import PixelTeacher, train_pixel_teacher

    device = "cuda" if torch.cuda.is_available() else "cpu"
    pixels = builder.open_pixels()
    config, folder = builder.plan.teacher_config, builder.partial / "teacher"
    with progress("teacher", len(pixels.train) * config.epochs) as advance:
        trained = last_r2 = 0.0

        def on_report(report: dict[str, Any]) -> None:
            nonlocal trained, last_r2
            advance(round((report["epoch"] - trained) * len(pixels.train)))
            trained, last_r2 = report["epoch"], report["val_r2"]
            console.print(f"  epoch {trained:.0f}  val_loss {report['val_loss']:.3f}  val_r2 {report['val_r2']:.3f}")

        train_pixel_teacher(pixels, folder, config, device=device, seed=builder.plan.seed, on_report=on_report)
        advance(len(pixels.train) * config.epochs - round(trained * len(pixels.train)))
        if trained and last_r2 < USELESS_R2:
            console.print(
                f"warning: the teacher explains {last_r2:.1%} of the held-out pixels, no better than their mean; "
                "give it more clips or more --teacher-epochs"
            )
    teacher = PixelTeacher(folder, device)
    with progress("latents", len(pixels.train) + len(pixels.val)) as advance:
        builder.compute_latents(teacher, advance)
    return builder.finish(teacher)


def _say_skipped(builder: "StoreBuilder") -> None:
    skipped = builder.skipped()
    for clip in skipped[:10]:
        console.print(f"  skipped {clip['id']}: {clip['reason']}")
    if len(skipped) > 10:
        console.print(f"  ... and {len(skipped) - 10} more; all are named in the store's manifest.json")


def _say_result(path: Path, store: "ClipStore") -> None:
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    skipped = len(store.manifest["skipped"])
    view, teacher = store.view, store.teacher
    clips = f"{len(store.train)} training and {len(store.val)} held-out clips of {len(store.labels)} classes"
    console.print(
        f"{path}: {clips}{f', {skipped} skipped' if skipped else ''}; "
        f"{view.frames} x {view.size} x {view.size} in {view.tokens} tokens, "
        f"latents {teacher.dim} wide by {teacher.name}; {size / 1e6:,.0f} MB"
    )


if __name__ == "__main__":
    main()
