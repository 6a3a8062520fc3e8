"""What the steps since the last report have come to: sums that stay on the device until they are read."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from trainable.train.ranks import Ranks

SPIKE = 3.0  # a loss so many times the recent mean is one
RECENT = 0.02  # weight of a step in that mean

ADDED = ("train_loss", "context_loss", "grad_norm", "clipped_share", "steps", "spikes")


class StepSums:
    """Sums over the steps since the last report, and the mean of the latest losses.

    Args:
        device: where the training runs; nothing but `read` and `take` waits for it.
    """

    def __init__(self, device: torch.device) -> None:
        self._recent = torch.full((), math.nan, device=device)  # goes on through reports
        self._sums = torch.zeros(len(ADDED), device=device)
        self._seconds = {"seconds": 0.0, "waited": 0.0}

    def is_spike(self, loss: torch.Tensor) -> torch.Tensor:
        """Returns 1.0 where the loss of a step is far above the recent mean, else 0.0; not before the first step."""
        return (loss > SPIKE * self._recent).float()

    def add(self, loss: torch.Tensor, context_loss: torch.Tensor, norm: torch.Tensor, clipped: torch.Tensor) -> None:
        """Adds a step: both losses, the gradient norm, and whether that was clipped."""
        spike = self.is_spike(loss)
        self._recent = torch.where(self._recent.isnan(), loss, self._recent.lerp(loss, RECENT))
        self._sums += torch.stack([loss, context_loss, norm, clipped.float(), torch.ones_like(norm), spike])

    def add_seconds(self, seconds: float, waited: float) -> None:
        """Adds the seconds of some steps, and those of them that were spent waiting for data."""
        self._seconds["seconds"] += seconds
        self._seconds["waited"] += waited

    def read(self, ranks: Ranks) -> tuple[bool, bool]:
        """Takes the means over all ranks.

        Returns:
            Whether all is finite, and whether there was a spike since the last report.
        """
        means = ranks.mean(torch.cat([self._sums, self._recent[None]]))
        self._sums, self._recent = means[:-1], means[-1]
        sums = self._sums.tolist()
        return all(map(math.isfinite, sums)), sums[-1] > 0

    def take(self) -> dict[str, float]:
        """Returns the means by name, with `steps`, `seconds` and `waited`, and begins anew."""
        sums = dict(zip(ADDED, self._sums.tolist(), strict=True))
        steps = sums.pop("steps")
        del sums["spikes"]
        means = {name: value / steps if steps else math.nan for name, value in sums.items()}
        taken = {**means, "steps": steps, **self._seconds}
        self._sums = torch.zeros_like(self._sums)
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        return taken

    def state_dict(self) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
        """Returns the tensors and the numbers that a resumed run needs."""
        return {"sums": self._sums, "recent": self._recent}, dict(self._seconds)

    def restored(self, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]) -> "StepSums":
        """Returns sums as `state_dict` gave them, on this device.

        Raises:
            KeyError: something is missing.
        """
        device, other = self._sums.device, StepSums(self._sums.device)
        other._sums, other._recent = tensors["sums"].to(device), tensors["recent"].to(device)
        other._seconds = {name: numbers[name] for name in self._seconds}
        return other
