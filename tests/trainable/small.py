"""The smallest trial and the smallest store that have all parts, and what several tests do with them."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainable.config import TrialConfig
from trainable.data.build.builder import StoreBuilder
from trainable.data.build.decoding import Decoders
from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.build.plan import Plan
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.index import Clips
from trainable.data.video.video_dataset import find_source
from trainable.data.video.view import View
from trainable.evaluate.config import EvaluationConfig
from trainable.train.training import Training

SMALL = TrialConfig(
    student="vit_tiny_patch16_224",
    student_dim=64,
    student_depth=1,
    predictor_dim=64,
    predictor_depth=1,
    lr=1e-3,
    warmup=0.1,
    grad_clip=1.0,
    batch_size=8,
    epochs=2,
)


class Projection(FrozenTeacher):
    """A teacher that need not be trained: fixed random features of a token's pixels.

    Computed in double precision, so that a clip's latents do not depend on the batch it is in.
    """

    name, dim = "projection", 12
    sha256 = hashlib.sha256(b"projection").hexdigest()

    def __init__(self, view: View) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(view.token_values, self.dim, generator=generator, dtype=torch.float64) / 100

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `FrozenTeacher.latents`."""
        return (pixels.double() @ self.weight).float()


def ignore(count: int) -> None:
    """Shows no progress."""


def make_plan(videos: Path, view: View, **changes: Any) -> Plan:
    """A store of `videos` with the latents of `Projection`; `changes` are other fields of the plan."""
    teacher = {"name": "projection"}
    fields = {"pixels": "raw", "latents": "float16", "teacher": teacher, "target_norm": "layer_norm", "seed": 0}
    return Plan(find_source(videos), view, **{**fields, **changes})


def prepare(
    path: Path,
    plan: Plan,
    *,
    two_passes: bool = False,
    overwrite: bool = False,
    written: Callable[[int], None] = ignore,
    looked_at: Callable[[int], None] = ignore,
) -> ClipStore:
    """Makes a store with the latents of `Projection`.

    Args:
        path: the store to be.
        plan: what it is to hold.
        two_passes: write all pixels first, as where the teacher is trained on them.
        overwrite: see `StoreBuilder`.
        written: called as clips are written.
        looked_at: called as the teacher has looked at clips in the second pass.
    """
    builder, teacher = StoreBuilder(path, plan, overwrite=overwrite), Projection(plan.view)
    assert not builder.done
    builder.write(None if two_passes else teacher, Decoders(1), written)
    if two_passes:
        builder.add_latents(teacher, Decoders(1), looked_at)
    return builder.finish(teacher)


def tensors_of(training: Training) -> dict[str, torch.Tensor]:
    """Copies of all weights and all of the optimiser's state."""
    tensors = training.state_dict()["tensors"]
    return {
        name: tensor.detach().clone() for name, tensor in tensors.items() if name.startswith(("model.", "optimizer."))
    }


def assert_equal_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Fails with the names of the tensors that differ in any bit."""
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def rows(store: ClipStore, clips: Clips, chosen: npt.NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels and latents (float32) of the chosen clips' centre crops, all tokens, one after the other."""
    pixels = np.stack([store.pixels(clips, int(clip)) for clip in chosen])
    latents = np.stack([store.latents(clips, int(clip)) for clip in chosen])
    return torch.from_numpy(pixels), torch.from_numpy(latents)


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by their paths below it."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


JUDGED = EvaluationConfig(clips=8, panel_clips=16, batch_size=8).to_dict()


def probe_task(store: Path, **changes: Any) -> dict[str, Any]:
    """The task of a `throughput_probe` that judges nothing; `changes` are of its configuration."""
    shared = {"store": str(store), "device": "cpu", "threads": 1, "cores": 2, "evaluation": None}
    return {**shared, "hyperparameters": SMALL.replace(**changes).to_dict()}
