"""`python -m salt_tune.encode`: the features of videos, by an encoder that `promote` wrote."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from salt_tune.options import MACHINE, Folder, decoding_flags, flag, overwrite_flag
from salt_tune.runs.lock import locked
from salt_tune.ui.commands import Choice, Command
from salt_tune.ui.console import console
from salt_tune.ui.progress_bar import progress
from trainable.errors import UserError

if TYPE_CHECKING:
    from trainable.data.build.decoding import Decoders
    from trainable.encode.job import Job
    from trainable.encode.parts import Skipped

# This module is imported again by every decoding worker: what needs torch is imported where it is used.

ENCODING = "Model and features"
BUSY = "process {holder} encodes into this file; wait for it, or stop it"
NAMED = 10  # skipped videos that are named

EXAMPLE = """\
salt-tune encode /data/ssv2 --model runs/first/final/T3-20epochs --out ssv2.parquet"""


@click.command(cls=Command, example=EXAMPLE)
@click.argument("videos", type=Folder(), nargs=-1, required=True)
@flag(ENCODING, "--model", type=Folder(), required=True, help="Folder that promote wrote.")
@flag(ENCODING, "--out", type=Folder(), required=True, metavar="FILE", help="Parquet file of the features.")
@flag(
    MACHINE, "--device", type=Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
    help="Where the encoder runs; auto is cuda where there is one.",
)  # fmt: skip
@decoding_flags
@overwrite_flag
def main(
    videos: tuple[Path, ...], model: Path, out: Path, device: str, decoders: "Decoders", *, overwrite: bool
) -> int:
    """Encode VIDEOS: one row a video, with the mean of its tokens' features.

    VIDEOS is a folder as prepare takes it, or video files. Frames, size and crop are those that the model was trained
    on. Videos that do not decode are skipped and named. Stopped at any moment, the same command goes on where it was.
    """
    from trainable.encode.encoding import encode_parts
    from trainable.encode.job import Job, videos_of
    from trainable.encode.parts import begin, check_path, done_videos, finish, is_finished
    from trainable.model.encoder import load_encoder

    encoder = load_encoder(model, _device(device))
    found, folder = videos_of(videos)
    check_path(out)
    job = Job(found, folder, out, model.resolve().name, encoder.sha256, encoder.view, encoder.dim)
    with locked(job.lock, BUSY, of=out, remove=True):
        if is_finished(job, overwrite=overwrite):
            console.print(f"{out}: the features are there already, of these videos by this model; nothing to do")
            return 0
        parts, done = begin(job), done_videos(job)
        with progress("encode", len(found), done, unit="videos") as advance:
            encode_parts(job, parts, encoder, decoders, advance)
        count, skipped = finish(job)
    _say_result(job, count, skipped)
    return 0


def _device(name: str) -> str:
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no CUDA GPU here; leave it out, or take cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def _say_result(job: "Job", count: int, skipped: "Skipped") -> None:
    for video in skipped[:NAMED]:
        console.print(f"  skipped {video['id']}: {video['reason']}")
    if len(skipped) > NAMED:
        console.print(f"  ... and {len(skipped) - NAMED} more; all are named in the metadata of {job.out.name}")
    left_out = f", {len(skipped)} skipped" if skipped else ""
    console.print(f"{job.out}: {count} videos{left_out}; features {job.dim} wide by {job.model}")


if __name__ == "__main__":
    main()
