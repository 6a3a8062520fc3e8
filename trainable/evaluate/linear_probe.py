"""`probe_top1`: what a linear probe reads off frozen features of whole clips, and the probe that others share."""

from typing import Final, cast

from trainable.evaluate.answers import Answers, Floats
from trainable.evaluate.cross_validate import Classifier, tell_classes
from trainable.evaluate.judged import Probed

PENALTY: Final = 0.005  # of ridge regression, times the width of the features


def probe_top1(judged: Probed) -> Answers | None:
    """Answers for each clip which class it is, by a ridge classifier on features pooled per time slot.

    None where there are not two classes that can be told.
    """
    return tell_classes(judged, linear_classifier)


def linear_classifier(features: Floats) -> Classifier:
    """Makes a ridge classifier for standardised features of shape (rows, width).

    Its penalty is the same for all. One that is chosen by leave-one-out accuracy takes twice the time, and changes the
    demo's accuracies by 0.03 at most where they are above those of random weights. One chosen by the smallest error,
    scikit-learn's default, lets weak features fall to chance: random weights are no rival then
    (`python -m benchmarks.panel`).
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return cast(Classifier, make_pipeline(StandardScaler(), RidgeClassifier(PENALTY * features.shape[1])))
