"""The checkpoints of a long training: the last two, the best, and the trunk that a longer one goes on from."""

import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

from trainable.errors import CheckpointError
from trainable.files import atomic_write
from trainable.train.checkpoint import Training, load_checkpoint, read_note, save_checkpoint

MINUTES = 10.0  # at most so much training is lost when a process dies; a checkpoint of ViT-Base takes seconds


class Checkpoints:
    """Writes and finds them; each file is whole at any moment, whatever dies.

    Args:
        folder: where they lie.
        minutes: at most so much time lies between two of them.

    Attributes:
        last: what the training goes on from.
        previous: the one before, for the case that the last one is damaged.
        best: that of the report with the lowest `val_loss`.
        trunk: as the cooldown began.
    """

    def __init__(self, folder: Path, minutes: float = MINUTES) -> None:
        self.last = folder / "checkpoint.safetensors"
        self.previous = folder / "previous.safetensors"
        self.best = folder / "best.safetensors"
        self.trunk = folder / "trunk.safetensors"
        self._seconds, self._saved = minutes * 60, time.monotonic()
        self._whole = True  # the last one, as far as is known

    @property
    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self._saved >= self._seconds

    def save(self, training: Training, report: dict[str, Any] | None = None) -> None:
        """Saves the last checkpoint and keeps the one before; with the best `report` so far, also as the best."""
        if self._whole and self.last.exists():
            _copy(self.last, self.previous)
        save_checkpoint(self.last, training, {"val_loss": report["val_loss"]} if report else None)
        self._whole, self._saved = True, time.monotonic()
        if report and report["val_loss"] <= self._least():
            _copy(self.last, self.best)

    def _least(self) -> float:
        """Returns the loss of the best one; infinite where there is none, or a damaged one."""
        try:
            return float(read_note(self.best)["val_loss"]) if self.best.exists() else math.inf
        except CheckpointError:
            return math.inf

    def save_trunk(self, training: Training, epoch: float) -> None:
        """Saves what a longer run goes on from."""
        save_checkpoint(self.trunk, training, {"epoch": epoch})

    def load(self, training: Training) -> str | None:
        """Puts `training` where the last checkpoint was written, or the one before where that is damaged.

        Returns:
            What is wrong with the last one, for people; None where it is whole or there is none.

        Raises:
            CheckpointError: none is whole, or they belong to another run.
        """
        if not self.last.exists():
            return None
        try:
            load_checkpoint(self.last, training)
        except CheckpointError as error:
            if not self.previous.exists():
                raise
            load_checkpoint(self.previous, training)
            self._whole = False
            return str(error)
        return None

    def remove(self) -> None:
        """Deletes them all."""
        for path in (self.last, self.previous, self.best, self.trunk):
            path.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Gives a file a second name, atomically; copies it where the file system has no links."""
    with atomic_write(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
