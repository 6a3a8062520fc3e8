"""No scheduler at all: every trial is trained to its end."""

from collections.abc import Sequence
from typing import Any

from salt_tune.schedulers.base import Job, Scheduler


class FullLength(Scheduler):
    """Trains all trials to the end, in the order of their start.

    Args:
        rungs: see `Scheduler`; only the last, the full trial, counts.
        allowed: see `Scheduler`.
        options: nothing.
    """

    pauses = False
    compares_early = False
    ranks_by_cost = True

    def __init__(self, rungs: Sequence[float], allowed: int, **options: Any) -> None:
        super().__init__(rungs[-1:], allowed, **options)

    @staticmethod
    def rung_points(first: float, full: float, reduction_factor: float) -> tuple[float, ...]:  # noqa: ARG004
        """See `Scheduler.rung_points`: none below the full trial."""
        return ()

    def next_job(self) -> Job | None:
        """See `Scheduler.next_job`."""
        return Job(None, self.rungs[0], "nothing to promote") if self.started < self.allowed else None

    def prunable(self) -> list[str]:
        """See `Scheduler.prunable`: none, as none pauses."""
        return []

    def on_trial_prune(self, trial: str) -> None:
        """See `Scheduler.on_trial_prune`."""

    def _arrived(self, trial: str, level: int, score: float) -> None:
        """Does nothing: nothing follows from it."""
