"""Gradients of a batch: its losses, and the parts in which it goes through the model where memory is short."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from trainable.data.store.loader import Batch
from trainable.memory import free_memory
from trainable.registry import LOSSES

if TYPE_CHECKING:
    from trainable.train.training import Training


class Gradients:
    """Adds up a training's gradients over the clips of a batch.

    Args:
        training: its configuration, model, device and ranks.

    Attributes:
        forward: the model as it computes a batch: compiled, or shared by several ranks.
        micro_batch: clips that go through it at once. With `auto_batch` it is halved where they do not fit.
    """

    def __init__(self, training: "Training") -> None:
        config = training.config
        self._training, self._loss = training, LOSSES[config.loss]
        joined = training.ranks.joined(training.model)
        # Static shapes: as masks have fixed counts, one graph serves the whole run. With `dynamic=None`, a later trial
        # of this process would get kernels of any shape, and other numbers than in a process of its own.
        self.forward: Any = torch.compile(joined, dynamic=False) if config.compile else joined
        self.micro_batch = config.micro_batch or config.batch_size

    def add(self, batch: Batch, context_weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds the gradients of a batch to those that the parameters have, which are none.

        Args:
            batch: of this rank.
            context_weight: weight of the loss on visible tokens; 0 where they are not predicted.

        Returns:
            The loss on the masked tokens, and that on the visible ones. Their means over ranks are those of all clips.

        Raises:
            torch.OutOfMemoryError: the GPU's memory does not suffice, for a single clip with `auto_batch`.
        """
        while True:
            try:
                return self._add(batch, context_weight)
            except torch.OutOfMemoryError:
                alone = self._training.ranks.count == 1  # others would wait for the gradients of this step
                if not (self._training.config.auto_batch and alone and self.micro_batch > 1):
                    raise
            self._training.optimizer.zero_grad(set_to_none=True)  # of the parts that did fit
            free_memory()  # and of this one, which the error has held until here
            self.micro_batch = math.ceil(min(self.micro_batch, len(batch.clips)) / 2)

    def _add(self, batch: Batch, context_weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        sums = torch.zeros(2, device=batch.pixels.device)
        parts = [*batch.parts(self.micro_batch)]
        for part in parts:
            # Ranks add theirs up once, with the last part.
            with nullcontext() if part is parts[-1] else self._training.ranks.apart():
                sums += self._add_part(part, context_weight)
        return sums[0], sums[1]

    def _add_part(self, part: Batch, context_weight: float) -> torch.Tensor:
        """Adds the gradients of a part of a batch; returns both losses as its share of them, shape (2,)."""
        training = self._training
        context = training.config.context_weight > 0
        with training.autocast():
            prediction = self.forward(part.pixels, part.visible, part.masked, context=context)
        # The mean over ranks of what this gives is that of all rows, also where some ranks have one row more.
        share = len(part.clips) * training.ranks.count / training.config.batch_size
        loss, context_loss = (each * share for each in self._losses(prediction.float(), part))
        (loss + context_weight * context_loss if context else loss).backward()
        return torch.stack([loss.detach(), context_loss.detach()])

    def _losses(self, prediction: torch.Tensor, batch: Batch) -> Iterator[torch.Tensor]:
        """Yields the loss on the masked tokens, and that on the visible ones; 0 where they are not predicted."""
        errors, masked = self._loss(prediction, self._training.targets(batch)), batch.masked.shape[1]
        yield errors[:, :masked].mean()
        if errors.shape[1] == masked:
            yield errors.new_zeros(())
        else:
            yield (errors[:, masked:].mean(dim=2) * batch.context_weights).mean()
