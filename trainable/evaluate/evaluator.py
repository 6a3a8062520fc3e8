"""The objective: the same held-out clips under the same masks for every trial, whatever it trained with.

`val_loss` is the mean squared error on the targets of the masked tokens, also where a trial trained with another loss
or mask ratio; `val_r2` says what share of the error of always predicting the training mean that takes away. A linear
probe on the labels and the effective rank of the features stand beside them: a loss that improves while they fall is
a warning.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from trainable.data.store.clip_store import ClipStore
from trainable.data.store.loader import Loader, Target
from trainable.evaluate.config import EvaluationConfig, draw_clips
from trainable.masking.masks import Masks
from trainable.train.training import Training

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """The objective of one student and predictor.

    Attributes:
        val_loss: mean squared error over all clips, masked tokens and dimensions.
        val_loss_se: its standard error over the clips.
        val_r2: 1 - val_loss / the error of predicting the mean of the training targets.
        clip_losses: the error of each clip, shape (clips,), in the order of `Evaluator.clip_ids`.
    """

    val_loss: float
    val_loss_se: float
    val_r2: float
    clip_losses: Floats


class Evaluator:
    """Judges trainings on a store's held-out clips; made once and used for every trial.

    Args:
        store: the clip store.
        config: what to judge on.
        target: what the trainings predict.
        device: where the trainings run.
        threads: background threads that decode, where pixels are not stored raw; None: one a core.

    Attributes:
        clip_ids: names of the held-out clips that are used.

    Raises:
        ConfigError: the masks do not fit the store's view.
    """

    def __init__(
        self,
        store: ClipStore,
        config: EvaluationConfig,
        *,
        target: Target = "latents",
        device: torch.device | str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.store, self.config = store, config
        masks = Masks(store.view, config.masking, config.mask_ratio, config.seed)
        self._chosen = draw_clips(store.val, config.clips, config.seed)
        self._probe_chosen = draw_clips(store.train, config.probe_clips, config.seed)
        size = min(config.batch_size, len(store.val))
        self._loader = Loader(store, store.val, masks, size, target=target, device=device, threads=threads)
        self._whole = {
            split: Loader(store, store.clips(split), None, size, target="pixels", device=device, threads=threads)
            for split in ("train", "val")
        }
        self._target = target
        self._baseline: float | None = None
        self.clip_ids = [store.val.ids[clip] for clip in self._chosen]

    def close(self) -> None:
        """Ends the background threads."""
        for loader in (self._loader, *self._whole.values()):
            loader.close()

    @torch.no_grad()
    def evaluate(self, training: Training) -> Evaluation:
        """The objective of `training` as it stands."""
        training.model.eval()
        losses = []
        for batch in self._loader.in_order(self._chosen):
            with training.autocast():
                prediction = training.model(batch.pixels, batch.visible, batch.masked)
            losses.append((prediction.float() - training.targets(batch)).square().mean(dim=(1, 2)))
        clip_losses = torch.cat(losses).double().cpu().numpy()
        val_loss = float(clip_losses.mean())
        finite = len(clip_losses) > 1 and math.isfinite(val_loss)
        if self._baseline is None:
            self._baseline = self._error_of_the_mean(training)
        return Evaluation(
            val_loss=val_loss,
            val_loss_se=float(clip_losses.std(ddof=1) / len(clip_losses) ** 0.5) if finite else 0.0,
            val_r2=1 - val_loss / self._baseline if self._baseline else 0.0,
            clip_losses=clip_losses,
        )

    def _error_of_the_mean(self, training: Training) -> float:
        """The loss of always predicting the mean of the training targets, per dimension."""
        if self._target == "latents":
            mean = torch.tensor(self.store.teacher.mean, dtype=torch.float32, device=training.device)
        else:
            batches = self._whole["train"].in_order(self._probe_chosen)
            mean = torch.cat([training.model.student.normalise(batch.pixels).mean(dim=1) for batch in batches]).mean(
                dim=0
            )
        errors = [
            (training.targets(batch) - mean).square().mean(dim=(1, 2)) for batch in self._loader.in_order(self._chosen)
        ]
        return torch.cat(errors).double().mean().item()

    def features(self, training: Training) -> dict[str, float | None]:
        """Probes the student's features.

        Returns:
            `probe_top1`: accuracy on the held-out clips of a ridge regression on features pooled per time slot, None
            where the training clips have fewer than two classes. `effective_rank` of the held-out features.
        """
        held_out = np.concatenate(list(self._pooled(training, "val", self._chosen)))
        rank = effective_rank(held_out.mean(axis=1))
        train_labels = self.store.train.labels[self._probe_chosen]
        if len(np.unique(train_labels)) < 2:
            return {"probe_top1": None, "effective_rank": rank}
        fitted_on = np.concatenate(list(self._pooled(training, "train", self._probe_chosen)))
        scores = ridge_scores(
            fitted_on.reshape(len(fitted_on), -1),
            train_labels,
            held_out.reshape(len(held_out), -1),
            len(self.store.labels),
        )
        return {
            "probe_top1": float((scores.argmax(axis=1) == self.store.val.labels[self._chosen]).mean()),
            "effective_rank": rank,
        }

    @torch.no_grad()
    def _pooled(self, training: Training, split: str, chosen: npt.NDArray[np.int64]) -> Iterator[Floats]:
        """Features of whole clips, mean over each time slot: arrays of shape (clips, slots, student's width)."""
        training.model.eval()
        for batch in self._whole[split].in_order(chosen):
            with training.autocast():
                tokens = training.model.student(batch.pixels)
            slots = tokens.float().unflatten(1, (self.store.view.grid[0], -1)).mean(dim=2)
            yield slots.double().cpu().numpy()


def effective_rank(features: Floats) -> float:
    """exp(entropy of the normalised singular values) of centred features (Roy and Vetterli, 2007).

    Args:
        features: shape (clips, width).

    Returns:
        Between 1 and min(clips, width); 0 where all features are equal.
    """
    singular = np.linalg.svd(features - features.mean(axis=0), compute_uv=False)
    if singular.sum() <= 1e-12:
        return 0.0
    share = singular[singular > 0] / singular.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def ridge_scores(train: Floats, labels: npt.NDArray[np.int64], held_out: Floats, classes: int) -> Floats:
    """Class scores of held-out clips from a ridge regression in closed form.

    Features are standardised; the penalty is the one with the smallest leave-one-out error on the training clips, which
    the eigenvectors of the Gram matrix give for every penalty at once.

    Args:
        train: features to fit, shape (n, width).
        labels: their classes, shape (n,).
        held_out: features to score, shape (m, width).
        classes: number of classes.

    Returns:
        Shape (m, classes).
    """
    mean, scale = train.mean(axis=0), train.std(axis=0) + 1e-6
    train, held_out = (train - mean) / scale, (held_out - mean) / scale
    onehot = np.eye(classes)[labels]
    offset = onehot.mean(axis=0)
    values, vectors = np.linalg.eigh(train @ train.T)
    projected = vectors.T @ (onehot - offset)

    def dual(penalty: float) -> tuple[Floats, float]:
        shrunk = vectors / (np.maximum(values, 0) + penalty)
        weights = shrunk @ projected
        leave_one_out = weights / (shrunk * vectors).sum(axis=1, keepdims=True)
        return weights, float(np.square(leave_one_out).sum())

    penalties = max(values.max(), 1e-12) * np.logspace(-6, 1, 15)
    weights, _ = min((dual(penalty) for penalty in penalties), key=lambda result: result[1])
    scores: Floats = (held_out @ train.T) @ weights + offset
    return scores
