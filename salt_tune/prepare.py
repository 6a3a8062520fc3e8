"""`python -m salt_tune.prepare`: videos to a clip store, and what keeps a store in good order."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from salt_tune.options import (
    TEACHER,
    VIDEOS,
    VIEW,
    Folder,
    Named,
    decoding_flags,
    flag,
    latents_flag,
    overwrite_flag,
    seed_flag,
    split_flags,
    weights_flag,
)
from salt_tune.ui.commands import Choice, Command, DefaultGroup
from trainable.data.video.view import View
from trainable.registry import TEACHERS, nearest
from trainable.teachers.videomae_layout import VIDEOMAE_TEACHERS

if TYPE_CHECKING:
    from salt_tune.stores.splits import Split
    from trainable.data.build.decoding import Decoders

# This module is imported again by every decoding worker: what needs torch is imported where it is used.

STORE = "Store"

EXAMPLE = """\
python -m salt_tune.prepare /data/ssv2 --store /nvme/ssv2 --latents int8 \\
    --teacher videomaev2_base --teacher-weights vit_b_k710_dl_from_giant.pth"""


@click.command(cls=Command, example=EXAMPLE)
@click.argument("videos", type=Folder(), required=False)
@flag(STORE, "--store", type=Folder(), help="Folder of the store to make [default: stores/NAME OF VIDEOS].")
@flag(
    STORE, "--pixels", type=Choice(["raw", "jpeg", "none"]), default="raw", show_default=True,
    help="How pixels are stored; none decodes the videos again as it trains.",
)  # fmt: skip
@flag(
    STORE, "--latents", type=Choice(["float16", "int8"]), default="float16", show_default=True,
    help="How latents are stored; int8 with a scale for each token.",
)  # fmt: skip
@flag(
    STORE, "--target-norm", type=Choice(["layer_norm", "none"]),
    help="How latents are normalised [default: none for hog and hog+motion, layer_norm for other teachers].",
)  # fmt: skip
@flag(STORE, "--dry-run", is_flag=True, help="Say how many bytes and how long it will take, and stop there.")
@flag(
    VIDEOS, "--synthetic", type=click.IntRange(min=16), metavar="N",
    help="First write N videos of moving shapes into VIDEOS [default: beside the store].",
)  # fmt: skip
@split_flags
@flag(VIEW, "--frames", type=int, help="Frames taken of a video [default: 16; synthetic: 8].")
@flag(VIEW, "--size", type=int, help="Height and width in pixels [default: 224; synthetic: 48].")
@flag(VIEW, "--patch", type=int, help="Height and width of a patch in pixels [default: 16; synthetic: 8].")
@flag(VIEW, "--tubelet", type=int, help="Frames in a token [default: 2].")
@flag(
    VIEW, "--views", type=click.IntRange(min=1), default=1, show_default=True,
    help="Views stored of a training clip: the centre crop, then crops drawn from its name. Epochs take turns.",
)  # fmt: skip
@flag(
    VIEW, "--flips", type=Choice(["undirected", "all", "none"]), default="undirected", show_default=True,
    help="Which further views may be mirrored: those of clips whose label names no direction, all, or none.",
)  # fmt: skip
@flag(
    TEACHER, "--teacher", type=Named(TEACHERS), metavar="NAME",
    help="Whose latents: `hog+motion` (oriented gradients and motion) and `hog` have no weights; `pixel` is trained "
    f"here on the training clips; {', '.join(VIDEOMAE_TEACHERS)} need their weights [default: hog+motion; pixel where "
    "--teacher-weights, --teacher-epochs or --teacher-config is given].",
)  # fmt: skip
@weights_flag
@flag(TEACHER, "--teacher-epochs", type=click.IntRange(min=1), help="Epochs that the pixel teacher is trained for.")
@flag(TEACHER, "--teacher-config", type=Folder(), metavar="FILE", help="YAML of the pixel teacher's hyperparameters.")
@flag(TEACHER, "--teacher-compile", is_flag=True, help="Compile a VideoMAE teacher with torch.compile.")
@latents_flag
@flag(
    TEACHER, "--check-latents", type=click.IntRange(min=1), metavar="N",
    help="Compute N of them again with --teacher first.",
)  # fmt: skip
@decoding_flags
@overwrite_flag
def build(
    videos: Path | None,
    store: Path | None,
    synthetic: int | None,
    split: "Split",
    decoders: "Decoders",
    *,
    overwrite: bool,
    dry_run: bool,
    **flags: Any,
) -> int:
    """Turn VIDEOS into a clip store: decoded once, with a teacher's latents.

    VIDEOS is a folder in Something-Something v2's layout (train.json, validation.json, labels.json, ID.webm) or with
    a folder per class. Stopped at any moment, the same command goes on where it was.

    A command, as below, stands in the place of VIDEOS; a folder of that name is given as ./append.
    """
    from salt_tune.stores.build import Formats, StoreRequest, build_store
    from salt_tune.stores.demo import DEMO_VIEW
    from salt_tune.stores.teachers import TeacherFlags

    if videos is None and synthetic is None:
        raise click.UsageError("VIDEOS is missing: name a folder of videos, or make some with --synthetic N")
    if videos is not None and synthetic is None and not videos.exists() and (job := _meant(videos)):
        raise click.UsageError(f"{videos}: no such folder, and no command; {job}")
    base = (DEMO_VIEW if synthetic else View()).geometry
    geometry = {name: base[name] if flags[name] is None else flags[name] for name in base}
    build_store(
        StoreRequest(
            videos=videos,
            store=store,
            synthetic=synthetic,
            split=split,
            view=View(**geometry, views=flags["views"], flips=flags["flips"]),
            teacher=TeacherFlags(
                named=flags["teacher"],
                weights=flags["teacher_weights"],
                epochs=flags["teacher_epochs"],
                config=flags["teacher_config"],
                compile=flags["teacher_compile"],
                latents_from=flags["latents_from"],
                check_latents=flags["check_latents"],
                hyperparameters=_read_hyperparameters(flags),
            ),
            formats=Formats(flags["pixels"], flags["latents"], flags["target_norm"]),
        ),
        decoders,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    return 0


def _read_hyperparameters(flags: dict[str, Any]) -> dict[str, Any]:
    """Reads --teacher-config, where a teacher is to be trained with it."""
    from salt_tune.space.space_file import read_yaml

    trained = flags["teacher_weights"] is None and flags["latents_from"] is None
    return read_yaml(flags["teacher_config"], "`lr` and `epochs`") if trained and flags["teacher_config"] else {}


def _meant(videos: Path) -> str | None:
    """Says which command was probably meant by a word that is no folder; None where it is like none."""
    word, commands = str(videos), tuple(main.commands)
    said = nearest(word, commands)
    return said if word not in commands and said.startswith("did you mean") else None


@click.group(cls=DefaultGroup, default=build)
def main() -> None:
    """Turn videos into a clip store, and keep it in good order."""


@main.command(cls=Command, example="python -m salt_tune.prepare append /data/more --store stores/ssv2")
@click.argument("videos", type=Folder())
@flag(STORE, "--store", type=Folder(), required=True, help="The store that they are added to.")
@split_flags
@weights_flag
@latents_flag
@decoding_flags
@overwrite_flag
def append(
    videos: Path,
    store: Path,
    split: "Split",
    teacher_weights: Path | None,
    latents_from: Path | None,
    decoders: "Decoders",
    *,
    overwrite: bool,
) -> int:
    """Add the clips of VIDEOS that a store does not have yet.

    A clip goes to the side of its group, where the store has groups. A clip that shows what another one shows is left
    out. Stopped at any moment, the same command goes on where it was.
    """
    from salt_tune.stores.build import say_result
    from salt_tune.stores.maintain import append_clips
    from salt_tune.stores.splits import find_more_clips

    source = find_more_clips(videos, store, split)
    say_result(append_clips(source, store, teacher_weights, latents_from, decoders, overwrite=overwrite))
    return 0


@main.command(cls=Command, example="python -m salt_tune.prepare subset stores/ssv2 2000 --store stores/ssv2-2000")
@click.argument("source", metavar="STORE", type=Folder())
@click.argument("clips", metavar="N", type=click.IntRange(min=2))
@flag(STORE, "--store", type=Folder(), required=True, help="Folder of the new store.")
@seed_flag(STORE, "Seed of the draw.")
@overwrite_flag
def subset(source: Path, clips: int, store: Path, seed: int, *, overwrite: bool) -> int:
    """Make a store of N clips of STORE, stratified by label, without decoding again."""
    from salt_tune.stores.build import say_result
    from salt_tune.stores.maintain import take_subset

    say_result(take_subset(source, store, clips, seed, overwrite))
    return 0


@main.command(cls=Command, example="python -m salt_tune.prepare verify stores/ssv2")
@click.argument("store", type=Folder())
@decoding_flags
def verify(store: Path, decoders: "Decoders") -> int:
    """Read all of STORE and name each row that is damaged; the exit code is then 1."""
    from salt_tune.stores.maintain import verify_store

    return verify_store(store, decoders)


@main.command(cls=Command, example="python -m salt_tune.prepare repair stores/ssv2")
@click.argument("store", type=Folder())
@weights_flag
@decoding_flags
def repair(store: Path, teacher_weights: Path | None, decoders: "Decoders") -> int:
    """Rebuild the damaged rows of STORE from its videos and its teacher."""
    from salt_tune.stores.maintain import repair_store

    return repair_store(store, teacher_weights, decoders)


@main.command(cls=Command, example="python -m salt_tune.prepare inspect stores/ssv2")
@click.argument("store", type=Folder())
def inspect(store: Path) -> int:
    """Show what STORE holds, in words and in pictures, and what its loss means."""
    from salt_tune.stores.inspect import inspect_store

    inspect_store(store)
    return 0


if __name__ == "__main__":
    main()
