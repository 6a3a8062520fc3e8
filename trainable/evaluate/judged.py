"""What a metric is computed from: one model on the clips and masks that all trials of a search are judged on."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from trainable.data.store.clip_store import ClipStore
from trainable.data.store.index import Clips
from trainable.data.store.loader import Batch, Loader, Target
from trainable.model.predictor import VJepa

Floats = npt.NDArray[np.float64]


class Judgeable(Protocol):
    """What is judged; a `Training` is one.

    Attributes:
        model: student and predictor.
        device: where they are.
    """

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
        target: what the models predict.
        masked: serves the held-out clips under their masks.
        whole: serves whole clips of the splits "train" and "val".
        chosen: positions of the held-out clips, shape (clips,).
        probe_chosen: positions of the training clips that a probe is fitted to, shape (probe clips,).
        known: what does not depend on the model, by name, once it has been computed.
    """

    store: ClipStore
    target: Target
    masked: Loader
    whole: Mapping[str, Loader]
    chosen: npt.NDArray[np.int64]
    probe_chosen: npt.NDArray[np.int64]
    known: dict[str, float] = field(default_factory=dict)

    def once(self, name: str, compute: Callable[[], float]) -> float:
        """Returns what `compute` gave when it was first asked for under this name."""
        if name not in self.known:
            self.known[name] = compute()
        return self.known[name]


class Judged:
    """One model as it stands; each pass over the clips is made when something first needs it, and only once.

    Args:
        model: must not be trained on before all that is wanted has been asked for.
        on: what it is judged on.

    Attributes:
        model: as given.
        on: as given.
    """

    def __init__(self, model: Judgeable, on: JudgedOn) -> None:
        self.model, self.on = model, on

    @cached_property
    def clip_losses(self) -> Floats:
        """Mean squared error of each held-out clip on the targets of its masked tokens, shape (clips,)."""
        self.model.model.eval()
        losses = []
        with torch.no_grad():
            for batch in self.on.masked.in_order(self.on.chosen):
                with self.model.autocast():
                    prediction = self.model.model(batch.pixels, batch.visible, batch.masked)
                losses.append((prediction.float() - self.model.targets(batch)).square().mean(dim=(1, 2)))
        return torch.cat(losses).double().cpu().numpy()

    @cached_property
    def held_out_features(self) -> Floats:
        """Student's features of the held-out clips, mean over each time slot: shape (clips, slots, width)."""
        return self._features("val", self.on.chosen)

    @cached_property
    def training_features(self) -> Floats:
        """The same of the training clips that a probe is fitted to, shape (probe clips, slots, width)."""
        return self._features("train", self.on.probe_chosen)

    @property
    def held_out_labels(self) -> npt.NDArray[np.int64]:
        """Classes of the held-out clips, shape (clips,)."""
        return _labels(self.on.store.val, self.on.chosen)

    @property
    def training_labels(self) -> npt.NDArray[np.int64]:
        """Classes of the training clips that a probe is fitted to, shape (probe clips,)."""
        return _labels(self.on.store.train, self.on.probe_chosen)

    @torch.no_grad()
    def _features(self, split: str, chosen: npt.NDArray[np.int64]) -> Floats:
        self.model.model.eval()
        parts = []
        for batch in self.on.whole[split].in_order(chosen):
            with self.model.autocast():
                tokens = self.model.model.student(batch.pixels)
            slots = tokens.float().unflatten(1, (self.on.store.view.grid[0], -1)).mean(dim=2)
            parts.append(slots.double().cpu().numpy())
        return np.concatenate(parts)


def _labels(clips: Clips, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    labels: npt.NDArray[np.int64] = clips.labels[chosen]
    return labels
