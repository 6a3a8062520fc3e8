"""`above_untrained`: how much more probes read off a student than off random weights; and the verdict on it."""

from typing import Final

import numpy as np

from analysis.statistics.cross_validation import FoldMean, mean_over_folds
from analysis.statistics.verdict import COLLAPSED_BELOW, verdict_of
from trainable.evaluate.answers import Answers
from trainable.evaluate.judged import Judged
from trainable.evaluate.panel_baselines import baselines_beside

WITH_LABELS: Final = ("probe_top1",)
WITHOUT_LABELS: Final = ("order_top1", "speed_top1")


def above_untrained(judged: Judged) -> FoldMean | None:
    """Computes an accuracy less that of untrained students of the same architecture, fold by fold on the same clips.

    The accuracy is `probe_top1`, or, where there are no labels, the mean of `order_top1` and `speed_top1`.
    `retrieval_top1` is not in it: random weights find halves of clips better than trained ones do. None where none can
    be measured, or nothing stands beside the model.
    """
    if judged.on.folder is None:
        return None
    names = WITH_LABELS if judged.on.panel.labelled.any() else WITHOUT_LABELS
    own = [value for name in names if isinstance(value := judged.value(name), Answers)]
    if len(own) < len(names):
        return None
    untrained = baselines_beside(judged).untrained
    beside = np.mean([[answers[name].accuracies for name in names] for answers in untrained], axis=(0, 1))
    differences = np.mean([answers.accuracies for answers in own], axis=0) - beside
    return mean_over_folds(differences, own[0].test_to_train, least=-1.0, most=1.0)


def verdict_on(judged: Judged) -> str | None:
    """Judges the model beside the untrained ones: the value of a `Verdict`, None where `above_untrained` is."""
    above = judged.value("above_untrained")
    if not isinstance(above, FoldMean):
        return None
    untrained, shares = baselines_beside(judged).fields["untrained"], {}
    for name in COLLAPSED_BELOW:
        value, beside = judged.value(name), untrained[name]
        if isinstance(value, float) and beside:
            shares[name] = value / beside
    return verdict_of(above.low, above.high, shares).value
