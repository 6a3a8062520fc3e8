"""What the student's features are worth: `probe_top1` of a linear probe on the labels, and `effective_rank`.

They stand beside the loss: one that improves while they fall is a warning.
"""

import numpy as np
import numpy.typing as npt

from trainable.evaluate.judged import Floats, Judged


def probe_top1(judged: Judged) -> float | None:
    """Measures the accuracy on the held-out clips of a ridge regression on features pooled per time slot.

    None where the training clips have fewer than two classes.
    """
    labels = judged.training_labels
    if len(np.unique(labels)) < 2:
        return None
    fitted_on, held_out = judged.training_features, judged.held_out_features
    scores = ridge_scores(
        fitted_on.reshape(len(fitted_on), -1),
        labels,
        held_out.reshape(len(held_out), -1),
        len(judged.on.store.labels),
    )
    return float((scores.argmax(axis=1) == judged.held_out_labels).mean())


def effective_rank(judged: Judged) -> float:
    """Measures how many directions the held-out features take up, see `rank_of`."""
    return rank_of(judged.held_out_features.mean(axis=1))


def rank_of(features: Floats) -> float:
    """Computes exp(entropy of the normalised singular values) of centred features (Roy and Vetterli, 2007).

    Args:
        features: shape (clips, width).

    Returns:
        Between 1 and min(clips, width); 0 where all features are equal.
    """
    singular = np.linalg.svd(features - features.mean(axis=0), compute_uv=False)
    if singular.sum() <= 1e-12:
        return 0.0
    share = singular[singular > 0] / singular.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def ridge_scores(train: Floats, labels: npt.NDArray[np.int64], held_out: Floats, classes: int) -> Floats:
    """Class scores of held-out clips from a ridge regression in closed form.

    Features are standardised. The penalty is the one with the smallest leave-one-out error on the training clips. The
    eigenvectors of the Gram matrix give that error for every penalty at once.

    Args:
        train: features to fit, shape (n, width).
        labels: their classes, shape (n,).
        held_out: features to score, shape (m, width).
        classes: number of classes.

    Returns:
        Shape (m, classes).
    """
    mean, scale = train.mean(axis=0), train.std(axis=0) + 1e-6
    train, held_out = (train - mean) / scale, (held_out - mean) / scale
    onehot = np.eye(classes)[labels]
    offset = onehot.mean(axis=0)
    values, vectors = np.linalg.eigh(train @ train.T)
    projected = vectors.T @ (onehot - offset)

    def dual(penalty: float) -> tuple[Floats, float]:
        shrunk = vectors / (np.maximum(values, 0) + penalty)
        weights = shrunk @ projected
        leave_one_out = weights / (shrunk * vectors).sum(axis=1, keepdims=True)
        return weights, float(np.square(leave_one_out).sum())

    penalties = max(values.max(), 1e-12) * np.logspace(-6, 1, 15)
    weights, _ = min((dual(penalty) for penalty in penalties), key=lambda result: result[1])
    scores: Floats = (held_out @ train.T) @ weights + offset
    return scores
