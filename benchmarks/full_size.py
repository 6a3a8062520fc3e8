"""Clip stores at full size (16 x 224 x 224, latents 768 wide) through the project's own builder."""

import os
from pathlib import Path

import torch

from trainable.data.build.builder import StoreBuilder
from trainable.data.build.decoding import Decoders
from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.build.plan import Plan
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import LatentFormat, PixelFormat
from trainable.data.video.synthetic import write_dataset
from trainable.data.video.video_dataset import find_source
from trainable.data.video.view import View

CLIPS = 128
DISTINCT = 32  # videos; writing them takes longest


class ProjectionTeacher(FrozenTeacher):
    """A fixed random projection as wide as VideoMAEv2-Base: the same bytes without hours of a ViT-Base on a CPU."""

    name = "projection"
    sha256 = "0" * 64
    dim = 768

    def __init__(self, view: View) -> None:
        generator = torch.Generator().manual_seed(0)
        self._weight = torch.randn(view.token_values, self.dim, generator=generator)

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `trainable.data.build.latent_source.FrozenTeacher`."""
        return (pixels.float() / 255 - 0.5) @ self._weight


def write_videos(folder: Path, clips: int = CLIPS) -> Path:
    """Fills `folder` with VP9 videos of 48 frames of 240 x 240: 32 different ones, under so many names."""
    drawn = folder.with_name(f"{folder.name}-drawn")
    write_dataset(drawn, min(clips, DISTINCT), frames=48, size=240)
    for number in range(clips):
        source = drawn / f"{number % DISTINCT + 1}.webm"
        target = folder / f"class {number % 8}" / f"{number}.webm"
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    return folder


def plan_of(videos: Path, pixels: PixelFormat = "raw", latents: LatentFormat = "float16") -> Plan:
    """Plans a store of full-size clips of the folder `videos`, with latents of `ProjectionTeacher`."""
    return Plan(find_source(videos), View(), pixels, latents, {"name": "projection"}, "layer_norm", seed=0)


def build(path: Path, plan: Plan) -> ClipStore:
    """Makes the store `path`, with a decoding worker a core."""
    decoders = Decoders(len(os.sched_getaffinity(0)))
    builder, teacher = StoreBuilder(path, plan), ProjectionTeacher(plan.view)
    builder.write(teacher, decoders, advance=lambda _: None)
    return builder.finish(teacher)
