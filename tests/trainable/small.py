"""The smallest trial that has all parts, and what several tests do with it."""

import numpy as np
import numpy.typing as npt
import torch

from trainable.config import TrialConfig
from trainable.data.store import Clips, ClipStore
from trainable.loop import Training

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
    """Pixels and latents of the chosen clips, all tokens, one after the other."""
    pixels = np.stack([store.row(clips, int(clip), "pixels") for clip in chosen])
    latents = np.stack([store.row(clips, int(clip), "latents") for clip in chosen])
    return torch.from_numpy(pixels), torch.from_numpy(latents)
