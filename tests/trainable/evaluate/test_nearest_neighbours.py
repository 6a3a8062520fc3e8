"""The nearest clips vote for a clip's class, the nearer the more."""

import numpy as np

from tests.trainable.evaluate.probing import SLOTS, WIDTH, accuracy, labelled, noise, probed, whole
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.features import Features
from trainable.evaluate.nearest_neighbours import knn_top1
from trainable.evaluate.panel import Panel


def along_axes(panel: Panel) -> Features:
    """A direction a class, of any length: cosine similarity alone tells them."""
    lengths = np.geomspace(0.01, 100, len(panel.ids))[:, None, None]
    directions = np.eye(8)[panel.labels] + 0.05 * noise(len(panel.ids), 8)
    return whole(np.repeat(directions[:, None], SLOTS, axis=1) * lengths)


def test_directions_tell_classes_whatever_their_length(store: ClipStore) -> None:
    assert accuracy(knn_top1(probed(store, along_axes))) > 0.95


def test_near_votes_outweigh_many_far_ones(store: ClipStore) -> None:
    """Two clips of a class among 46 of another: of any 20 neighbours, most are of the other."""
    labels = [0] * 2 + [1] * 46
    assert accuracy(knn_top1(probed(labelled(store, labels[:32], labels[32:]), along_axes, folds=2))) > 0.6


def test_noise_is_not_read(store: ClipStore) -> None:
    assert accuracy(knn_top1(probed(store, lambda panel: whole(noise(len(panel.ids), SLOTS, WIDTH))))) < 0.3


def test_nothing_is_measured_without_labels(store: ClipStore) -> None:
    assert knn_top1(probed(labelled(store, [0] * 32, [0] * 16), along_axes)) is None
