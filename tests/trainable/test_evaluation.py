"""All trials are judged by the same numbers, and the numbers are what they are called."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainable.conftest import MakeTraining
from tests.trainable.small import rows
from trainable.data.store import ClipStore, clip_key
from trainable.errors import ConfigError
from trainable.evaluation import EvaluationConfig, Evaluator, effective_rank, ridge_scores
from trainable.masking import Masks, uniforms

Floats = npt.NDArray[np.float64]

JUDGED_ON = EvaluationConfig(clips=11, mask_ratio=0.5, masking="tube", seed=4, batch_size=4)


@pytest.fixture
def evaluator(store: ClipStore) -> Iterator[Evaluator]:
    made = Evaluator(store, JUDGED_ON)
    yield made
    made.close()


def test_the_loss_is_the_mean_over_the_clips_under_their_own_masks(
    evaluator: Evaluator, make_training: MakeTraining, store: ClipStore
) -> None:
    training = make_training()
    training.train_to(3)
    masks = Masks(store.view, "tube", 0.5, 4)
    losses = []
    for name in evaluator.clip_ids:
        clip = store.val.ids.index(name)
        pixels, latents = rows(store, store.val, np.array([clip]))
        visible, masked = map(torch.from_numpy, masks.draw(0, store.val.keys[[clip]]))
        with torch.no_grad():
            prediction = training.model.eval()(pixels[:, visible[0]], visible, masked)
        losses.append((prediction - latents[:, masked[0]].float()).square().mean().item())
    evaluation = evaluator.evaluate(training)
    assert len(losses) == 11
    assert evaluation.clip_losses.tolist() == pytest.approx(losses, rel=1e-4)
    assert evaluation.val_loss == pytest.approx(np.mean(losses), rel=1e-4)
    assert evaluation.val_loss_se == pytest.approx(np.std(losses, ddof=1) / 11**0.5, rel=1e-3)


@pytest.mark.parametrize(
    "changes", [{"mask_ratio": 0.3}, {"loss": "l1"}, {"masking": "random"}, {"batch_size": 5, "lr": 1.0}]
)
def test_what_a_trial_trains_with_does_not_change_how_it_is_judged(
    evaluator: Evaluator, make_training: MakeTraining, changes: dict[str, Any]
) -> None:
    """Untrained, the two are the same model, and must get the same marks."""
    plain, other = evaluator.evaluate(make_training()), evaluator.evaluate(make_training(**changes))
    assert plain.val_loss == other.val_loss
    assert plain.val_r2 == other.val_r2
    assert (plain.clip_losses == other.clip_losses).all()


def test_judging_changes_nothing_and_is_repeatable(evaluator: Evaluator, make_training: MakeTraining) -> None:
    judged, plain = make_training(), make_training()
    for step in (1, 3, 8):
        judged.train_to(step)
        first, again = evaluator.evaluate(judged), evaluator.evaluate(judged)
        evaluator.features(judged)
        assert first.clip_losses.tolist() == again.clip_losses.tolist()
    plain.train_to(8)
    assert judged.collect()["train_loss"] == plain.collect()["train_loss"]


@pytest.mark.parametrize("target", ["latents", "pixels"])
def test_always_predicting_the_training_mean_explains_nothing(
    make_training: MakeTraining, store: ClipStore, target: Any
) -> None:
    training = make_training(options={"target": target})
    evaluator = Evaluator(store, EvaluationConfig(batch_size=7), target=target)  # 32 clips: the last batch is smaller
    pixels, latents = rows(store, store.train, np.arange(len(store.train)))
    targets = latents.float() if target == "latents" else training.as_target(pixels)
    with torch.no_grad():
        training.model.predictor.project.weight.zero_()
        training.model.predictor.project.bias.copy_(targets.mean(dim=(0, 1)))
    assert evaluator.evaluate(training).val_r2 == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        training.model.predictor.project.bias.add_(1.0)
    assert evaluator.evaluate(training).val_r2 < -0.1
    evaluator.close()


def test_training_raises_the_share_explained(make_training: MakeTraining, store: ClipStore) -> None:
    training, evaluator = make_training(epochs=40, lr=3e-3), Evaluator(store, EvaluationConfig())
    before = evaluator.evaluate(training)
    training.train_to(training.total_steps)
    after = evaluator.evaluate(training)
    assert after.val_r2 > max(before.val_r2, 0.05)
    evaluator.close()


def test_two_evaluators_choose_the_same_clips_in_the_stores_order(evaluator: Evaluator, store: ClipStore) -> None:
    again = Evaluator(store, JUDGED_ON)
    assert again.clip_ids == evaluator.clip_ids
    assert evaluator.clip_ids == [name for name in store.val.ids if name in set(evaluator.clip_ids)]
    other = Evaluator(store, EvaluationConfig(clips=11, seed=5))
    assert other.clip_ids != evaluator.clip_ids
    whole = Evaluator(store, EvaluationConfig())
    assert whole.clip_ids == list(store.val.ids)
    for made in (again, other, whole):
        made.close()


def test_the_choice_of_clips_says_nothing_about_their_masks(store: ClipStore) -> None:
    """The masks of the chosen third are drawn like those of the rest."""
    chosen: list[float] = []
    rest: list[float] = []
    for seed in range(60):
        evaluator = Evaluator(store, EvaluationConfig(clips=5, seed=seed))
        for name in store.val.ids:
            first = uniforms(seed, 0, np.array([clip_key(name)], dtype=np.uint64), 1)[0, 0]
            (chosen if name in evaluator.clip_ids else rest).append(first)
        evaluator.close()
    assert np.mean(chosen) == pytest.approx(np.mean(rest), abs=0.1)


def test_the_probe_reads_labels_off_features(evaluator: Evaluator, make_training: MakeTraining) -> None:
    features = evaluator.features(make_training())
    assert set(features) == {"probe_top1", "effective_rank"}
    assert features["probe_top1"] is not None
    assert features["effective_rank"] is not None
    assert features["probe_top1"] * 11 == pytest.approx(round(features["probe_top1"] * 11))
    assert 1 <= features["effective_rank"] <= 11


def test_the_probe_is_left_out_where_there_is_one_class(store: ClipStore, make_training: MakeTraining) -> None:
    one_class = replace(store, train=replace(store.train, labels=store.train.labels * 0))
    evaluator = Evaluator(one_class, EvaluationConfig())
    features = evaluator.features(make_training())
    assert features["probe_top1"] is None
    assert features["effective_rank"] is not None
    evaluator.close()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clips": 1}, "clips = 1: must be at least 2"),
        ({"probe_clips": 0}, "probe_clips = 0: must be at least 2"),
        ({"batch_size": 0}, "batch_size = 0: must be at least 1"),
        ({"mask_ratio": 1.5}, "mask_ratio = 1.5: must be between 0 and 1"),
        ({"masking": "blocks"}, "masking = 'blocks': must be one of multiblock, tube, random"),
        ({"seed": -1}, "seed = -1: must be at least 0"),
    ],
)
def test_an_evaluation_that_cannot_be_made_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EvaluationConfig(**values)
    assert str(caught.value) == message


@given(dimensions=st.integers(1, 6), scale=st.floats(1e-3, 1e3))
def test_the_effective_rank_counts_directions(dimensions: int, scale: float) -> None:
    """Each direction with the same spread, in both senses, so that the mean is zero."""
    axes = np.eye(8)[:dimensions] * scale
    assert effective_rank(np.concatenate([axes, -axes]) + 5) == pytest.approx(dimensions)


def test_the_effective_rank_of_unequal_directions() -> None:
    spread = np.diag([3.0, 1.0])
    features = np.concatenate([spread, -spread])
    assert effective_rank(features) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    assert effective_rank(np.ones((5, 3))) == 0.0


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
