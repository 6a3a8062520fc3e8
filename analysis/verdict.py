"""What a trained encoder is worth beside random weights, in one of four verdicts."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

COLLAPSED_BELOW: Final = {"effective_rank": 0.3, "lidar": 0.6}
"""Shares of what untrained encoders have of these metrics, below which an encoder counts as collapsed.

From the demo store (docs/transfer.md): of 16 configurations, those below one of them after 1 or 3 epochs have a linear
probe of 0.13 to 0.33 after 20, and random weights 0.3; the best has 0.53.
"""

BESIDE: Final = {
    "teacher": "teacher's latents",
    "untrained": "untrained",
    "pixels": "raw pixels",
    "chance": "chance",
}
"""The baselines whose probes stand beside a trial's, and what people call them."""

MODELS: Final = {"model": "this model", "trial": "the search's trial", "against": "--against"}
"""The encoders in the evaluation of a promoted model, and what people call them."""


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
