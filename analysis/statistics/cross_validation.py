"""What the accuracies of cross-validation folds say: a mean and its interval, of one model or of a difference.

Folds share training clips, and repeats share all clips, so that their accuracies depend on each other. Taken as
independent, they give intervals that are too narrow. Nadeau and Bengio (2003) multiply the variance over the folds by
(1 / folds + test / train) in place of 1 / folds. Bouckaert and Frank (2004) found that to hold for repeated folds too.
So the interval counts the clips, by the spread of small folds, and never shrinks to nothing by more repeats.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Floats = npt.NDArray[np.float64]

UPPER = 0.975  # quantile of the upper end of a 95% interval


@dataclass(frozen=True)
class FoldMean:
    """A mean over folds, with its 95% interval.

    Attributes:
        mean: over the folds.
        standard_error: of the mean; None of a single fold.
        low: the lower end of the interval.
        high: its upper end.
    """

    mean: float
    standard_error: float | None
    low: float
    high: float


def mean_over_folds(values: Floats, test_to_train: float, *, least: float = 0.0, most: float = 1.0) -> FoldMean:
    """Returns the mean of what was measured on each fold, and its interval.

    Args:
        values: one a fold of a repeat: accuracies, or differences of two models' accuracies on the same folds; shape
            (repeats * folds,).
        test_to_train: clips of a fold, over those that are trained on meanwhile: 1 / (folds - 1).
        least: that a value can be; the interval ends there.
        most: that a value can be.

    Raises:
        ValueError: there is no value.
    """
    if not len(values):
        raise ValueError("values has no fold, and must have at least one")
    mean = float(np.mean(values))
    if len(values) == 1:
        return FoldMean(mean, None, least, most)
    error = float(np.sqrt(np.var(values, ddof=1) * (1 / len(values) + test_to_train)))
    margin = float(stdtrit(len(values) - 1, UPPER)) * error
    return FoldMean(mean, error, max(least, mean - margin), min(most, mean + margin))
