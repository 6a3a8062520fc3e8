"""The probe reads off features what can be read off, and the effective rank counts directions."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainable.conftest import MakeTraining
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator, measure
from trainable.evaluate.probe import rank_of, ridge_scores

Floats = npt.NDArray[np.float64]


@pytest.fixture
def evaluator(store: ClipStore) -> Iterator[Evaluator]:
    made = Evaluator(store, EvaluationConfig(clips=11, mask_ratio=0.5, masking="tube", seed=4, batch_size=4))
    yield made
    made.close()


def test_the_probe_reads_labels_off_features(evaluator: Evaluator, make_training: MakeTraining) -> None:
    features = measure(evaluator.judge(make_training()), "probe")
    assert set(features) == {"probe_top1", "effective_rank"}
    assert features["probe_top1"] is not None
    assert features["effective_rank"] is not None
    assert features["probe_top1"] * 11 == pytest.approx(round(features["probe_top1"] * 11))
    assert 1 <= features["effective_rank"] <= 11


def test_the_probe_is_left_out_where_there_is_one_class(store: ClipStore, make_training: MakeTraining) -> None:
    one_class = replace(store, train=replace(store.train, labels=store.train.labels * 0))
    evaluator = Evaluator(one_class, EvaluationConfig())
    features = measure(evaluator.judge(make_training()), "probe")
    assert features["probe_top1"] is None
    assert features["effective_rank"] is not None
    evaluator.close()


@given(dimensions=st.integers(1, 6), scale=st.floats(1e-3, 1e3))
def test_the_effective_rank_counts_directions(dimensions: int, scale: float) -> None:
    """Each direction with the same spread, in both senses, so that the mean is zero."""
    axes = np.eye(8)[:dimensions] * scale
    assert rank_of(np.concatenate([axes, -axes]) + 5) == pytest.approx(dimensions)


def test_the_effective_rank_of_unequal_directions() -> None:
    spread = np.diag([3.0, 1.0])
    features = np.concatenate([spread, -spread])
    assert rank_of(features) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    assert rank_of(np.ones((5, 3))) == 0.0


def blobs(rng: np.random.Generator, count: int, spread: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    labels = np.arange(count) % 3
    return np.eye(3, 6)[labels] * 10 + rng.normal(0, spread, (count, 6)), labels


def test_the_probe_separates_what_is_separable() -> None:
    rng = np.random.default_rng(0)
    train, labels = blobs(rng, 60, 0.5)
    held_out, held_out_labels = blobs(rng, 30, 0.5)
    scores = ridge_scores(train, labels, held_out, 4)
    assert scores.shape == (30, 4)
    assert (scores.argmax(axis=1) == held_out_labels).all()


def brute_force_scores(train: Floats, labels: npt.NDArray[np.int64], held_out: Floats, classes: int) -> Floats:
    """The same regression, in the primal, with every clip really left out under every penalty."""
    mean, scale = train.mean(axis=0), train.std(axis=0) + 1e-6
    train, held_out = (train - mean) / scale, (held_out - mean) / scale
    offset = np.eye(classes)[labels].mean(axis=0)
    targets = np.eye(classes)[labels] - offset

    def solve(kept: npt.NDArray[np.bool_], penalty: float) -> Floats:
        gram = train[kept].T @ train[kept] + penalty * np.eye(train.shape[1])
        return np.asarray(np.linalg.solve(gram, train[kept].T @ targets[kept]))

    def error(penalty: float) -> float:
        left_out = (np.arange(len(train)) != clip for clip in range(len(train)))
        return sum(float(np.square(targets[~kept] - train[~kept] @ solve(kept, penalty)).sum()) for kept in left_out)

    penalties = np.linalg.eigvalsh(train @ train.T).max() * np.logspace(-6, 1, 15)
    best = min(penalties.tolist(), key=error)
    return np.asarray(held_out @ solve(np.ones(len(train), dtype=np.bool_), best) + offset)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), clips=st.integers(8, 20), width=st.integers(2, 30), noise=st.floats(0.1, 30))
def test_the_penalty_is_the_one_that_really_leaves_clips_out_best(
    seed: int, clips: int, width: int, noise: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = np.arange(clips) % 3
    train = rng.normal(0, noise, (clips, width)) + labels[:, None]
    held_out = rng.normal(0, noise, (5, width)) + 1
    expected = brute_force_scores(train, labels, held_out, 3)
    np.testing.assert_allclose(ridge_scores(train, labels, held_out, 3), expected, atol=1e-5)
