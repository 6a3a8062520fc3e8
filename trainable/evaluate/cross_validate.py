"""Fits a probe to the clips outside a fold and asks it about those within, fold by fold."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from trainable import heartbeat
from trainable.evaluate.answers import Answers, Floats, Ints
from trainable.evaluate.judged import Probed

Told = tuple[Ints, int, int, Ints]
"""Rows of a fold, its repeat, its number, and what was predicted of these rows."""


class Classifier(Protocol):
    """What is fitted: a classifier of scikit-learn."""

    def fit(self, features: Floats, labels: Ints) -> object:
        """Fits to features of shape (answers, width) and labels of shape (answers,)."""
        ...

    def predict(self, features: Floats) -> Ints:
        """Returns a label a row."""
        ...


def tell_classes(judged: Probed, make: Callable[[Floats], Classifier]) -> Answers | None:
    """Answers for each labelled clip which class it is, from its features pooled per time slot.

    Args:
        judged: whose features.
        make: see `cross_validate`.

    Returns:
        None where there are not two classes that can be told.
    """
    panel = judged.on.panel
    clips = np.flatnonzero(panel.labelled)
    if not len(clips):
        return None
    features = judged.features.whole[clips].reshape(len(clips), -1)
    return cross_validate(make, features, panel.labels[clips], clips, panel.folds)


def cross_validate(
    make: Callable[[Floats], Classifier], features: Floats, labels: Ints, clips: Ints, folds: Ints
) -> Answers | None:
    """Returns the answers to all rows, each given by a probe that was fitted to none of its fold.

    Args:
        make: makes the classifier for the rows that it will be fitted to, shape (rows, width).
        features: shape (rows, width).
        labels: shape (rows,).
        clips: positions of the rows' clips in the panel, shape (rows,); a clip may have several rows.
        folds: of the panel's clips, shape (repeats, clips of the panel).

    Returns:
        None where no fold can be held out.
    """
    parts: list[Told] = []
    for repeat, assigned in enumerate(folds):
        of = assigned[clips]
        for fold in np.unique(of):
            held, fitted = np.flatnonzero(of == fold), np.flatnonzero(of != fold)
            heartbeat.beat()
            if len(fitted):
                parts.append((held, repeat, int(fold), _predict(make, features, labels, fitted, held)))
    return joined(parts, labels, clips)


def joined(parts: Sequence[Told], labels: Ints, clips: Ints) -> Answers | None:
    """Joins what was answered fold by fold.

    Args:
        parts: of each fold.
        labels: of all rows.
        clips: positions of the rows' clips in the panel.

    Returns:
        None where no fold was held out.
    """
    if not parts:
        return None
    rows = np.concatenate([held for held, *_ in parts])
    sizes = [len(held) for held, *_ in parts]
    return Answers(
        clips=clips[rows],
        labels=labels[rows],
        repeats=np.repeat([repeat for _, repeat, *_ in parts], sizes),
        folds=np.repeat([fold for *_, fold, _ in parts], sizes),
        predicted=np.concatenate([predicted for *_, predicted in parts]),
    )


def _predict(make: Callable[[Floats], Classifier], features: Floats, labels: Ints, fitted: Ints, held: Ints) -> Ints:
    if (labels[fitted] == labels[fitted[0]]).all():  # nothing to tell apart
        return np.full(len(held), labels[fitted[0]])
    classifier = make(features[fitted])
    classifier.fit(features[fitted], labels[fitted])
    return np.asarray(classifier.predict(features[held]), dtype=np.int64)
