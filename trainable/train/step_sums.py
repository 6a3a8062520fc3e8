"""What the steps since the last report have come to: sums over windows of a few steps, on the device until read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from trainable.train.ranks import Ranks

SPIKE = 3.0  # a loss so many times the recent mean is one
RECENT = 0.02  # weight of a step in that mean

ADDED = ("train_loss", "context_loss", "grad_norm", "clipped_share", "steps", "spikes")


@dataclass(frozen=True)
class Window:
    """The means of some steps, one after the other.

    Attributes:
        step: the last of them.
        steps: how many were made; those whose batch was left out are not counted.
        train_loss: on masked tokens.
        grad_norm: before clipping.
        clipped_share: of the steps.
    """

    step: int
    steps: int
    train_loss: float
    grad_norm: float
    clipped_share: float


class StepSums:
    """Sums over the steps since the last report, window by window, and the mean of the latest losses.

    Args:
        device: where the training runs; nothing but `read` and `take` waits for it.
    """

    def __init__(self, device: torch.device) -> None:
        self._recent = torch.full((), math.nan, device=device)  # goes on through reports
        self._sums = torch.zeros(1, len(ADDED), device=device)  # of the window that is open
        self._closed: list[torch.Tensor] = []  # those before it: rows of sums
        self._ends: list[int] = []  # the last step of each of these rows
        self._seconds = {"seconds": 0.0, "waited": 0.0}

    def is_spike(self, loss: torch.Tensor) -> torch.Tensor:
        """Returns 1.0 where the loss of a step is far above the recent mean, else 0.0; not before the first step."""
        return (loss > SPIKE * self._recent).float()

    def add(self, loss: torch.Tensor, context_loss: torch.Tensor, norm: torch.Tensor, clipped: torch.Tensor) -> None:
        """Adds a step: both losses, the gradient norm, and whether that was clipped."""
        spike = self.is_spike(loss)
        self._recent = torch.where(self._recent.isnan(), loss, self._recent.lerp(loss, RECENT))
        self._sums += torch.stack([loss, context_loss, norm, clipped.float(), torch.ones_like(norm), spike])

    def close_window(self, step: int) -> None:
        """Begins another window after this step."""
        self._closed.append(self._sums)
        self._ends.append(step)
        self._sums = torch.zeros_like(self._sums)

    def add_seconds(self, seconds: float, waited: float) -> None:
        """Adds the seconds of some steps, and those of them that were spent waiting for data."""
        self._seconds["seconds"] += seconds
        self._seconds["waited"] += waited

    def _rows(self) -> torch.Tensor:
        return torch.cat([*self._closed, self._sums])

    def read(self, ranks: Ranks) -> tuple[bool, bool]:
        """Takes the means over all ranks.

        Returns:
            Whether all is finite, and whether there was a spike since the last report.
        """
        rows = self._rows()
        means = ranks.mean(torch.cat([rows.flatten(), self._recent[None]]))
        rows, self._recent = means[:-1].reshape(rows.shape), means[-1]
        self._closed, self._sums = [rows[:-1]], rows[-1:]
        sums = rows.sum(dim=0).tolist()
        return all(map(math.isfinite, sums)), sums[-1] > 0

    def take(self, step: int) -> tuple[dict[str, float], list[Window]]:
        """Returns what there is, and begins anew.

        Args:
            step: the last one that was made.

        Returns:
            The means by name, with `steps`, `seconds` and `waited`; and the windows, in order.
        """
        rows = self._rows().double().cpu()
        sums = dict(zip(ADDED, rows.sum(dim=0).tolist(), strict=True))
        steps = sums.pop("steps")
        del sums["spikes"]
        means = {name: value / steps if steps else math.nan for name, value in sums.items()}
        windows = []
        for end, (loss, _, norm, clipped, count, _) in zip([*self._ends, step], rows.tolist(), strict=True):
            if count:
                windows.append(Window(end, round(count), loss / count, norm / count, clipped / count))
        taken = {**means, "steps": steps, **self._seconds}
        self._sums = torch.zeros_like(self._sums)
        self._closed, self._ends = [], []
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        return taken, windows

    def state_dict(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Returns the tensors and the numbers that a resumed run needs."""
        return {"sums": self._rows(), "recent": self._recent}, {**self._seconds, "ends": [*self._ends]}

    def restored(self, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]) -> "StepSums":
        """Returns sums as `state_dict` gave them, on this device.

        Raises:
            KeyError: something is missing.
        """
        device, other = self._sums.device, StepSums(self._sums.device)
        rows, other._recent = tensors["sums"].to(device), tensors["recent"].to(device)
        other._closed, other._sums = [rows[:-1]], rows[-1:].clone()
        other._ends = [*numbers["ends"]]
        other._seconds = {name: numbers[name] for name in self._seconds}
        return other
