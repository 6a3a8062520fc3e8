"""A clip store at full size (16 x 224 x 224, latents 768 wide) through the project's own builder."""

from pathlib import Path

import torch

from trainable.config import TrialConfig
from trainable.data.build import Plan, StoreBuilder
from trainable.data.sources import find_source
from trainable.data.store import ClipStore
from trainable.data.synthetic import write_dataset
from trainable.data.view import View

CLIPS = 128


class ProjectionTeacher:
    """A fixed random projection as wide as VideoMAEv2-Base: the same bytes without hours of a ViT-Base on a CPU."""

    name = "projection"
    sha256 = "0" * 64
    dim = 768

    def __init__(self, view: View) -> None:
        generator = torch.Generator().manual_seed(0)
        self._weight = torch.randn(view.token_values, self.dim, generator=generator)

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `trainable.teacher.FrozenTeacher`."""
        return (pixels.float() / 255 - 0.5) @ self._weight


def build(folder: Path, clips: int = CLIPS) -> tuple[ClipStore, list[Path]]:
    """Writes VP9 videos of 48 frames of 240 x 240 into `folder` and makes a store of them.

    Returns:
        The store, and the video files.
    """
    videos, view = folder / "videos", View()
    write_dataset(videos, clips, frames=48, size=240)
    plan = Plan(find_source(videos), view, "projection", TrialConfig(), "layer_norm", seed=0)
    builder = StoreBuilder(folder / "store", plan)
    builder.decode(workers=2, advance=lambda _: None)
    teacher = ProjectionTeacher(view)
    builder.compute_latents(teacher, advance=lambda _: None)
    return builder.finish(teacher), sorted(videos.glob("*.webm"))
