"""The pixel teacher, the first stage of SALT.

A small student and predictor learn to reconstruct masked pixels of a store's training clips; the student is
then frozen.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch

from trainable.config import TrialConfig
from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.view import View
from trainable.errors import ConfigError, UserError
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.files import atomic_write
from trainable.metrics import computed
from trainable.model.encoder import load_encoder, save_encoder
from trainable.train.checkpoints import Checkpoints
from trainable.train.training import Training
from trainable.trial.run_to_end import run_to_end

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


class PixelTeacher(FrozenTeacher):
    """An encoder trained on pixels; see the module.

    Args:
        folder: where `train` left it.
        device: where it runs.

    Attributes:
        folder: where it lies.
        view: of the clips that it was trained on.

    Raises:
        CheckpointError: no teacher there, or a damaged one.
    """

    name = "pixel"
    folder: Path
    recipe: ClassVar[TrialConfig | None] = PIXEL_TEACHER

    def __init__(self, folder: Path, device: torch.device | str) -> None:
        encoder = load_encoder(folder, device)
        self.folder = folder
        self._encoder, self.view = encoder, encoder.view
        self._device = torch.device(device)
        self.dim, self.sha256 = encoder.dim, encoder.sha256

    @torch.no_grad()
    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `FrozenTeacher.latents`."""
        return self._encoder.encode_tokens(pixels.to(self._device), self.view.grid)

    @classmethod
    def load(
        cls,
        name: str,  # noqa: ARG003
        weights: Path,
        view: View,
        device: torch.device | str,
        *,
        compile: bool = False,  # noqa: ARG003  small as it is
    ) -> "PixelTeacher":
        """Loads the teacher in a folder, or in that of a store that was prepared with one; see `FrozenTeacher.load`."""
        if weights.is_file():
            raise UserError(
                f"{weights}: is a file; say whose weights it holds by --teacher, or name a pixel teacher's folder"
            )
        if not weights.exists():
            raise UserError(
                f"{weights}: there is no such file or folder; --teacher-weights names a teacher that is trained"
            )
        folder = weights / "teacher" if (weights / "teacher").is_dir() else weights
        teacher = cls(folder, device)
        for field, value in view.geometry.items():
            if (trained_on := teacher.view.geometry[field]) != value:
                raise ConfigError(field, value, f"the teacher in {folder} was trained on {trained_on}")
        return teacher

    @classmethod
    def train(
        cls,
        store: ClipStore,
        folder: Path,
        config: TrialConfig,
        *,
        device: torch.device | str,
        seed: int,
        on_report: Callable[[dict[str, Any]], None],
    ) -> None:
        """See `FrozenTeacher.train`.

        Resumes from the checkpoint in `folder`; a teacher that is finished is left as it is. Its curve is kept in
        `reports.jsonl`, one line an epoch.
        """
        if (folder / "config.json").exists():
            return
        folder.mkdir(exist_ok=True)
        checkpoints = Checkpoints(folder)
        training = Training(config.replace(seed=seed), store, target="pixels", device=device)
        judged_on = EvaluationConfig(clips=256, panel_clips=512, masking=config.masking, mask_ratio=config.mask_ratio)
        evaluator = Evaluator(store, judged_on, target="pixels", device=device)

        def keep(report: dict[str, Any]) -> None:
            _keep_report(folder / "reports.jsonl", report)
            on_report(report)

        try:
            report = run_to_end(training, evaluator, checkpoints, 1, keep, probe=False) or {}
            provenance = {"teacher": "pixel", "val_loss": report["val_loss"], "val_r2": report["val_r2"]}
            save_encoder(folder, training.outcome.model.student, training.config, store.view, provenance)
            checkpoints.remove()
        finally:
            training.close()
            evaluator.close()


def _keep_report(file: Path, report: dict[str, Any]) -> None:
    """Adds a report to the curve; one that is made again after a restart takes the place of the first."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    curve = [line for line in lines if json.loads(line)["epoch"] < report["epoch"]]
    kept = ("epoch", "step", "lr", "train_loss", *computed("report"))
    curve.append(json.dumps({name: report[name] for name in kept}))
    with atomic_write(file) as temporary:
        temporary.write_text("\n".join(curve) + "\n", encoding="utf-8")
