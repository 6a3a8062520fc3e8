"""What so many held-out clips can tell apart, before any trial has been trained.

A held-out loss is a mean over clips, so that its interval shrinks with 1 / sqrt(clips). Accuracies of the panel are of
training and held-out clips, and bring intervals of their own.
"""

import math

ENOUGH = 200  # held-out clips


def few_clips(clips: int) -> str | None:
    """Returns a line that warns of too few held-out clips to tell trials apart; None where there are enough."""
    if clips >= ENOUGH:
        return None
    wider = math.sqrt(ENOUGH / clips)
    return f"only {clips} held-out clips: intervals of val_loss are {wider:.1f} times as wide as with {ENOUGH}"
