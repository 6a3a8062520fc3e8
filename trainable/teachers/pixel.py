"""Frozen teachers: whose latents a store holds.

A teacher turns whole clips into one latent a token. `pixel` is the first stage of SALT: a small student and predictor
learn to reconstruct masked pixels of a store's training clips, and the student is then frozen. The VideoMAE family is
in `videomae.py`. Another teacher is another class with the members of `FrozenTeacher`, and a choice in
`salt_tune.stores.latents`.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.files import atomic_write
from trainable.model.encoder import load_encoder, save_encoder
from trainable.train.training import Training
from trainable.trial.final_run import run_to_end

# Small, and quick to learn: single tokens hidden at random can be read off their neighbours in time, so that a few
# hundred steps give features of content and position, where full-length blocks still stand at the mean.
PIXEL_TEACHER = TrialConfig(
    student="vit_tiny_patch16_224",
    student_dim=128,
    student_depth=2,
    predictor_dim=64,
    predictor_depth=2,
    masking="random",
    lr=5e-4,
    warmup=0.1,
    weight_decay_end=0.04,
    grad_clip=1.0,
    batch_size=8,
    epochs=10,
)


class FrozenTeacher(Protocol):
    """What a store is prepared with.

    Attributes:
        name: kind of teacher.
        sha256: hash of its weights file.
        dim: width of its latents.
    """

    name: str
    sha256: str
    dim: int

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """Latents in float32, shape (clips, tokens, dim), of uint8 pixels (clips, tokens, token values)."""
        ...


class PixelTeacher:
    """An encoder trained on pixels; see the module.

    Args:
        folder: where `train_pixel_teacher` left it.
        device: where it runs.

    Attributes:
        folder: where it lies.
        view: of the clips that it was trained on.

    Raises:
        CheckpointError: no teacher there, or a damaged one.
    """

    name = "pixel"

    def __init__(self, folder: Path, device: torch.device | str) -> None:
        encoder = load_encoder(folder, device)
        self.folder = folder
        self._student, self.view = encoder.student, encoder.view
        self._device = torch.device(device)
        self.dim = self._student.dim
        self.sha256 = file_sha256(folder / "encoder.safetensors")

    @torch.no_grad()
    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `FrozenTeacher.latents`."""
        return cast(torch.Tensor, self._student(pixels.to(self._device)).float())


def train_pixel_teacher(
    store: ClipStore,
    folder: Path,
    config: TrialConfig,
    *,
    device: torch.device | str,
    seed: int,
    on_report: Callable[[dict[str, Any]], None],
) -> None:
    """Trains the pixel teacher on the training clips of `store` and writes it into `folder`.

    Resumes from the checkpoint in `folder`; a teacher that is finished is left as it is. Its curve is kept in
    `reports.jsonl`, one line an epoch.

    Raises:
        UserError: the training diverged.
    """
    if (folder / "config.json").exists():
        return
    folder.mkdir(exist_ok=True)
    checkpoint = folder / "checkpoint.safetensors"
    training = Training(config.replace(seed=seed), store, target="pixels", device=device)
    judged_on = EvaluationConfig(clips=256, probe_clips=256, masking=config.masking, mask_ratio=config.mask_ratio)
    evaluator = Evaluator(store, judged_on, target="pixels", device=device)

    def keep(report: dict[str, Any]) -> None:
        _keep_report(folder / "reports.jsonl", report)
        on_report(report)

    try:
        report = run_to_end(training, evaluator, checkpoint, reports_per_epoch=1, on_report=keep) or {}
        provenance = {"teacher": "pixel", "val_loss": report["val_loss"], "val_r2": report["val_r2"]}
        save_encoder(folder, training.model.student, training.config, store.view, provenance)
        checkpoint.unlink()
    finally:
        training.close()
        evaluator.close()


def _keep_report(file: Path, report: dict[str, Any]) -> None:
    """Adds a report to the curve; one that is made again after a restart takes the place of the first."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    curve = [line for line in lines if json.loads(line)["epoch"] < report["epoch"]]
    kept = ("epoch", "step", "val_loss", "val_r2", "train_loss", "lr", "effective_rank", "probe_top1")
    curve.append(json.dumps({name: report[name] for name in kept}))
    with atomic_write(file) as temporary:
        temporary.write_text("\n".join(curve) + "\n", encoding="utf-8")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
