"""What so many held-out clips can tell apart, before any trial has been trained.

The probe's accuracy on n clips is a mean of n answers that are right or wrong. The difference of two encoders'
accuracies p and q on the same clips has the variance

    (p (1 - p) + q (1 - q) - 2 c) / n

where c is the covariance of their answers to a clip (matched pairs: Agresti, Categorical Data Analysis, 3rd edition,
section 11.1). Encoders are right on the same easy clips, so c >= 0; and p (1 - p) <= 1 / 4. The standard deviation is
then sqrt(1 / (2 n)) at most, and a difference below 1.96 times that may be chance. It is the bound for the worst case.
The intervals of a summary come from the trials' own answers and losses.

Losses are not bounded, but means over clips all the same: their intervals shrink with 1 / sqrt(n) too.
"""

import math

ENOUGH = 200  # held-out clips: a probe tells 10 points then
QUANTILE = 1.96  # of a normal distribution, two-sided 95%


def tellable_difference(clips: int) -> float:
    """Returns the largest difference of two probes' accuracies that may be chance on so many clips (95%); 1 at most."""
    return min(1.0, QUANTILE * math.sqrt(1 / (2 * clips)))


def few_clips(clips: int) -> str | None:
    """Returns a line that warns of too few held-out clips to tell trials apart; None where there are enough."""
    if clips >= ENOUGH:
        return None
    points, wider = 100 * tellable_difference(clips), math.sqrt(ENOUGH / clips)
    return (
        f"warning: only {clips} held-out clips: {points:.0f} points of probe_top1 may be chance (95%), "
        f"and intervals of val_loss are {wider:.1f} times as wide as with {ENOUGH}"
    )
