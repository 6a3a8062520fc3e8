"""Clip stores made in a moment: real videos and shards, and a teacher of a few random weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trainable.data.build.builder import StoreBuilder
from trainable.data.build.decoding import Decoders
from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.build.plan import Plan
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import LatentFormat, PixelFormat
from trainable.data.video.video_dataset import find_source
from trainable.data.video.view import View

DIM = 12
VIEW = View(8, 32, 8, 2)


class RandomTeacher(FrozenTeacher):
    """A frozen teacher: one layer of random weights on the pixels of a token."""

    name = "random"
    sha256 = "5eed" * 16
    dim = DIM

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """Latents in float32, shape (clips, tokens, dim)."""
        weights = torch.randn(pixels.shape[-1], DIM, generator=torch.Generator().manual_seed(0))
        return torch.tanh((pixels.float() / 255 - 0.5) @ weights)


def build_store(
    path: Path,
    videos: Path,
    *,
    pixels: PixelFormat = "raw",
    latents: LatentFormat = "float16",
    views: int = 1,
    facts: dict[str, Any] | None = None,
    view: View = VIEW,
) -> ClipStore:
    """A finished store of a folder of videos, with latents of `RandomTeacher`.

    Args:
        path: the store to be.
        videos: folder of the videos.
        pixels: how pixels are stored.
        latents: how latents are stored.
        views: of each training clip.
        facts: what else the manifest says of the teacher.
        view: frames, size and tokens; 8 x 32 x 32 in 4 x 4 x 4 tokens by default.
    """
    teacher = RandomTeacher()
    named = {"name": teacher.name, "sha256": teacher.sha256}
    plan = Plan(find_source(videos), replace(view, views=views), pixels, latents, named, "layer_norm", 0)
    builder = StoreBuilder(path, plan)
    builder.write(teacher, Decoders(1), lambda _count: None)
    return builder.finish(teacher, **(facts or {}))
