"""A trial's resource in optimiser steps: what a step costs differs from trial to trial, and the points are shared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["epoch", "tflop", "second"]


@dataclass(frozen=True)
class Budget:
    """What a full trial may use up, and where it reports on the way; needs no torch.

    Attributes:
        kind: what it is counted in: epochs, TFLOP or seconds of training.
        full: of a full trial.
        points: where a trial reports, ascending; the last one is `full`.
        probe_points: those of them where its features are probed too.
    """

    kind: Kind
    full: float
    points: Sequence[float]
    probe_points: Sequence[float] = ()

    def total_steps(self, cost: float) -> int:
        """Returns the steps of a full trial, at least one.

        Args:
            cost: what a step costs, in the unit of `kind`.
        """
        return max(1, round(self.full / cost))

    def step(self, point: float, cost: float) -> int:
        """Returns the step that a report at `point` is made after; points that lie close may share one."""
        return min(self.total_steps(cost), max(1, round(point / cost)))

    def next_point(self, reached: float) -> float:
        """Returns the first point beyond `reached`; the last one where none lies beyond."""
        return next((point for point in self.points if point > reached), self.points[-1])
