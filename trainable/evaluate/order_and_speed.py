"""`order_top1` and `speed_top1`: whether frozen features tell how a clip is played; they need no labels.

Both show the student stretches of half as many frames as a clip has, all at the same positions.
"""

import numpy as np

from trainable.evaluate.answers import Answers, Floats
from trainable.evaluate.cross_validate import cross_validate
from trainable.evaluate.judged import Probed
from trainable.evaluate.linear_probe import linear_classifier


def order_top1(judged: Probed) -> Answers | None:
    """Answers whether every second frame of a clip is shown forwards (0) or backwards (1).

    None where clips have one time slot.
    """
    stretches = judged.features.stretches
    return _told_apart(judged, stretches["sparse"], stretches["reversed"]) if stretches else None


def speed_top1(judged: Probed) -> Answers | None:
    """Answers whether all frames of a half of a clip are shown (0), or every second one of the whole (1).

    Which half it is follows from the clip's name. None where clips have one time slot.
    """
    stretches, panel = judged.features.stretches, judged.on.panel
    if not stretches:
        return None
    second = (panel.keys[panel.label_free] >> np.uint64(63)).astype(np.bool_)
    every = np.where(second[:, None, None], stretches["second"], stretches["first"])
    return _told_apart(judged, every, stretches["sparse"])


def _told_apart(judged: Probed, one: Floats, other: Floats) -> Answers | None:
    """Answers which of two ways each label-free clip is shown; both of a clip are in the same fold."""
    panel = judged.on.panel
    clips = np.flatnonzero(panel.label_free)
    features = np.concatenate([one, other]).reshape(2 * len(clips), -1)
    ways = np.repeat([0, 1], len(clips))
    return cross_validate(linear_classifier, features, ways, np.tile(clips, 2), panel.folds)
