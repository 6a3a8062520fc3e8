"""`retrieval_top1`: whether one half of a clip is nearest to the other half of the same clip; it needs no labels."""

import numpy as np

from trainable.evaluate.answers import Answers
from trainable.evaluate.judged import Probed


def retrieval_top1(judged: Probed) -> Answers | None:
    """Answers, for the first half of each label-free clip, which clip's second half has the largest cosine similarity.

    Labels are positions in the panel. Nothing is fitted: the folds are there for the interval alone. Random weights do
    well at it (0.93 on the demo store, trained ones 0.7), as they keep what clips look like. None where clips have one
    time slot.
    """
    from sklearn.metrics.pairwise import cosine_similarity

    stretches, panel = judged.features.stretches, judged.on.panel
    if not stretches or not len(panel.folds):
        return None
    clips = np.flatnonzero(panel.label_free)
    similar = cosine_similarity(stretches["first"].mean(axis=1), stretches["second"].mean(axis=1))
    repeats = len(panel.folds)
    return Answers(
        clips=np.tile(clips, repeats),
        labels=np.tile(clips, repeats),
        repeats=np.repeat(np.arange(repeats), len(clips)),
        folds=panel.folds[:, clips].reshape(-1),
        predicted=np.tile(clips[similar.argmax(axis=1)], repeats),
    )
