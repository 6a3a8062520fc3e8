"""Features that are made up, on the panel of a real store, for tests of what is computed from them."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.answers import Answers, Value
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.evaluate.features import Features
from trainable.evaluate.judged import Probed

Floats = npt.NDArray[np.float64]
SLOTS, WIDTH = 4, 6


def labelled(store: ClipStore, train: Any, val: Any) -> ClipStore:
    """The store with other labels."""
    return replace(
        store,
        train=replace(store.train, labels=np.asarray(train, dtype=np.int64)),
        val=replace(store.val, labels=np.asarray(val, dtype=np.int64)),
    )


def probed(store: ClipStore, make: Any, **evaluation: Any) -> Probed:
    """Features of the panel that `make` gives, of the panel."""
    evaluator = Evaluator(store, EvaluationConfig(**evaluation))
    evaluator.close()
    return Probed(evaluator.on, lambda: make(evaluator.on.panel))


def noise(*shape: int, seed: int = 0) -> Floats:
    """Features that say nothing."""
    return np.random.default_rng(seed).normal(size=shape)


def whole(features: Floats) -> Features:
    """Features of whole clips alone."""
    return Features(features, {})


def accuracy(value: Value) -> float:
    """The accuracy of answers."""
    assert isinstance(value, Answers)
    return value.estimate().mean
