"""`above_untrained`: how much more probes read off a student than off random weights; and the verdict on it."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from analysis.statistics.cross_validation import FoldMean, mean_over_folds
from analysis.verdict import COLLAPSED_BELOW, verdict_of
from trainable.evaluate.answers import Answers, answers_of
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
    own = answers_of({name: judged.value(name) for name in names})
    return above(own, names, baselines_beside(judged).untrained) if len(own) == len(names) else None


def above(own: Mapping[str, Answers], names: Sequence[str], untrained: Sequence[Mapping[str, Answers]]) -> FoldMean:
    """Computes the mean accuracy of some metrics less that of untrained students, fold by fold on the same clips.

    Args:
        own: answers of an encoder, by metric.
        names: the metrics.
        untrained: answers of each untrained student.
    """
    beside = np.mean([[answers[name].accuracies for name in names] for answers in untrained], axis=(0, 1))
    differences = np.mean([own[name].accuracies for name in names], axis=0) - beside
    return mean_over_folds(differences, own[names[0]].test_to_train, least=-1.0, most=1.0)


def verdict_on(judged: Judged) -> str | None:
    """Judges the model beside the untrained ones: the value of a `Verdict`, None where `above_untrained` is."""
    found = judged.value("above_untrained")
    if not isinstance(found, FoldMean):
        return None
    untrained, shares = baselines_beside(judged).fields["untrained"], {}
    for name in COLLAPSED_BELOW:
        value, beside = judged.value(name), untrained[name]
        if isinstance(value, float) and beside:
            shares[name] = value / beside
    return verdict_of(found.low, found.high, shares).value
