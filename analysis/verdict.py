"""What a trained encoder is worth beside random weights, in one of four verdicts."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

COLLAPSED_BELOW: Final = {"effective_rank": 0.15, "lidar": 0.5}
"""Shares of what untrained encoders have of these metrics, below which an encoder counts as collapsed.

Measured on the demo store (`python -m benchmarks.panel`, 3 epochs): learning rates whose students are better than
untrained ones keep 0.70 of LiDAR and 0.20 of the effective rank or more. Those that collapse (0.005, 0.01) keep 0.35 to
0.58 of LiDAR. Effective rank alone tells the two apart only where it is nearly gone.
"""


class Verdict(StrEnum):
    """What is said of a trial; the values stand in the files of a run."""

    BETTER = "better than untrained"
    NOT_SHOWN = "not shown to be better"
    WORSE = "worse than untrained"
    COLLAPSED = "collapsed"

    @property
    def unfit(self) -> bool:
        """Whether the encoder is of no use: random weights serve as well or better. It wins only where all are."""
        return self in (Verdict.WORSE, Verdict.COLLAPSED)


UNFIT: Final = tuple(verdict for verdict in Verdict if verdict.unfit)


def verdict_of(low: float, high: float, shares: Mapping[str, float]) -> Verdict:
    """Judges an encoder.

    Args:
        low: the lower end of the interval of its accuracy less that of untrained encoders.
        high: the upper end.
        shares: its metrics over those of untrained encoders, by the names of `COLLAPSED_BELOW`; those that are not
            there are not asked for.
    """
    if any(share < COLLAPSED_BELOW[name] for name, share in shares.items()):
        return Verdict.COLLAPSED
    if low > 0:
        return Verdict.BETTER
    return Verdict.WORSE if high < 0 else Verdict.NOT_SHOWN
