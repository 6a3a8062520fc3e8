"""`knn_top1`: what the nearest clips say of a clip's class; nothing is fitted (DINO: Caron et al., 2021)."""

from typing import Final, cast

import numpy as np

from trainable.evaluate.answers import Answers, Floats
from trainable.evaluate.cross_validate import Classifier, tell_classes
from trainable.evaluate.judged import Probed

NEIGHBOURS: Final = 20  # DINO
TEMPERATURE: Final = 0.07  # DINO


def knn_top1(judged: Probed) -> Answers | None:
    """Answers for each clip which class it is, by the votes of the nearest 20 that are not of its fold.

    Features are pooled per time slot; near is a large cosine similarity s, and a vote counts exp(s / 0.07). None where
    there are not two classes that can be told.
    """
    return tell_classes(judged, _voters)


def _voters(features: Floats) -> Classifier:
    from sklearn.neighbors import KNeighborsClassifier

    nearest = min(NEIGHBOURS, len(features))
    return cast(Classifier, KNeighborsClassifier(nearest, weights=_votes, metric="cosine", algorithm="brute"))


def _votes(distances: Floats) -> Floats:
    votes: Floats = np.exp((1 - distances) / TEMPERATURE)
    return votes
