"""What a metric is computed from: one model on the clips and masks that all trials of a search are judged on."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.loader import Batch, Loader, Target
from trainable.evaluate.answers import Value
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.features import Features, student_features
from trainable.evaluate.panel import Panel
from trainable.evaluate.token_features import student_tokens
from trainable.masking.masks import Masks
from trainable.metrics import METRICS
from trainable.model.predictor import VJepa

Floats = npt.NDArray[np.float64]


class Judgeable(Protocol):
    """What is judged; a `Training` is one.

    Attributes:
        config: its hyperparameters.
        model: student and predictor.
        device: where they are.
    """

    config: TrialConfig
    model: VJepa
    device: torch.device

    def autocast(self) -> AbstractContextManager[Any]:
        """Returns the precision that forward passes run in."""
        ...

    def targets(self, batch: Batch) -> torch.Tensor:
        """Returns a batch's targets in float32, shape (clips, masked tokens, width)."""
        ...


@dataclass(frozen=True)
class JudgedOn:
    """The clips that models are judged on, the same for all.

    Attributes:
        store: the clip store.
        evaluation: what to judge on.
        target: what the models predict.
        masks: of the evaluation.
        masked: serves the held-out clips under their masks.
        whole: serves whole clips of the splits "train" and "val".
        chosen: positions of the held-out clips, shape (clips,).
        panel: the clips whose features are probed.
        folder: where what baselines of the panel get is kept; None: nothing is measured beside a model.
        known: what does not depend on the model, by name, once it has been computed.
    """

    store: ClipStore
    evaluation: EvaluationConfig
    target: Target
    masks: Masks
    masked: Loader
    whole: Mapping[str, Loader]
    chosen: npt.NDArray[np.int64]
    panel: Panel
    folder: Path | None = None
    known: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, compute: Callable[[], Any]) -> Any:
        """Returns what `compute` gave when it was first asked for under this name."""
        if name not in self.known:
            self.known[name] = compute()
        return self.known[name]


class Probed:
    """Frozen features of the panel's clips, whoever they are of; each metric is computed when it is first asked for.

    Args:
        on: what they are judged on.
        encode: gives the features; it is called once, when they are first needed.
        encode_tokens: gives those of every token, likewise; None: there are none.

    Attributes:
        on: as given.
    """

    def __init__(
        self, on: JudgedOn, encode: Callable[[], Features], encode_tokens: Callable[[], torch.Tensor] | None = None
    ) -> None:
        self.on, self._encode, self._encode_tokens = on, encode, encode_tokens
        self._values: dict[str, Value] = {}

    @cached_property
    def features(self) -> Features:
        """Of the panel's clips."""
        return self._encode()

    @cached_property
    def tokens(self) -> torch.Tensor | None:
        """Of the panel's clips, see `token_features`; None where nothing gives them."""
        return None if self._encode_tokens is None else self._encode_tokens()

    def value(self, name: str) -> Value:
        """Returns what the metric of this name gives.

        Raises:
            KeyError: there is no such metric.
        """
        if name not in self._values:
            self._values[name] = METRICS[name].function(self)
        return self._values[name]

    @property
    def values(self) -> dict[str, Value]:
        """What has been computed so far, by metric."""
        return dict(self._values)


class Judged(Probed):
    """One model as it stands; each pass over the clips is made when something first needs it, and only once.

    Args:
        model: must not be trained on before all that is wanted has been asked for.
        on: what it is judged on.

    Attributes:
        model: as given.
    """

    def __init__(self, model: Judgeable, on: JudgedOn) -> None:
        student = model.model.student
        super().__init__(
            on,
            lambda: student_features(student, model.autocast, on),
            lambda: student_tokens(student, model.autocast, on),
        )
        self.model = model

    def finite(self, *, features: bool) -> bool:
        """Says whether it can be judged: all losses are numbers, and all features where they are asked for."""
        return bool(np.isfinite(self.clip_losses).all() and (not features or np.isfinite(self.features.whole).all()))

    @property
    def clip_losses(self) -> Floats:
        """Mean squared error of each held-out clip on the targets of its masked tokens, all masks alike: (clips,)."""
        return self._losses[0]

    @property
    def time_slot_losses(self) -> Floats:
        """The same by the time slot of the masked tokens, NaN where a clip has none there: (clips, time slots)."""
        return self._losses[1]

    @cached_property
    def _losses(self) -> tuple[Floats, Floats]:
        """Both, from one pass."""
        self.model.model.eval()
        grid, masks = self.on.store.view.grid, self.on.masks.per_clip
        slots = torch.arange(grid[0], device=self.model.device)
        losses, sums, counts = [], [], []
        with torch.no_grad():
            for batch in self.on.masked.in_order(self.on.chosen):
                with self.model.autocast():
                    prediction = self.model.model(batch.pixels, batch.visible, batch.masked)
                errors = (prediction.float() - self.model.targets(batch)).square()
                losses.append(errors.mean(dim=(1, 2)))
                is_there = (batch.masked[:, :, None] // (grid[1] * grid[2]) == slots).float()
                sums.append((errors.mean(dim=2)[:, None] @ is_there)[:, 0])
                counts.append(is_there.sum(dim=1))
        each, summed, count = (torch.cat(parts).double().cpu().numpy() for parts in (losses, sums, counts))
        summed, count = (part.reshape(-1, masks, len(slots)).sum(axis=1) for part in (summed, count))
        by_slot = np.divide(summed, count, out=np.full_like(summed, np.nan), where=count > 0)
        return each.reshape(-1, masks).mean(axis=1), by_slot
