"""All trials are judged by the same numbers, and the numbers are what they are called."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainable.conftest import MakeTraining, StoreOf
from tests.trainable.small import rows
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import PixelFormat
from trainable.errors import StoreError
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator, effective_rank, ridge_scores
from trainable.masking.masks import Masks

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
        losses.append((prediction - latents[:, masked[0]]).square().mean().item())
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
    targets = latents if target == "latents" else training.model.student.normalise(pixels)
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


def test_judging_and_probing_look_at_centre_crops_alone(
    make_training: MakeTraining, store_of: StoreOf, tmp_path: Path
) -> None:
    """A store whose further views are damaged, so that reading one of them would be an error."""
    path = shutil.copytree(store_of("raw", "float16").path, tmp_path / "store")
    for part in ("pixels", "latents"):
        shard = np.load(path / f"train-00000.{part}.npy", mmap_mode="r+")
        shard.view(np.uint8).reshape(32, 3, -1)[:, 1:] = 7
        shard.flush()
    damaged = ClipStore.open(path)
    training, evaluator = make_training(of=damaged), Evaluator(damaged, JUDGED_ON)
    whole = Evaluator(store_of("raw", "float16"), JUDGED_ON)
    assert evaluator.evaluate(training).clip_losses.tolist() == whole.evaluate(training).clip_losses.tolist()
    assert evaluator.features(training) == whole.features(training)
    with pytest.raises(StoreError, match=r"view [12], row"):
        training.train_to(training.total_steps)
    for made in (evaluator, whole):
        made.close()


def test_a_held_out_row_that_was_changed_is_named(
    store_path: Path, make_training: MakeTraining, tmp_path: Path
) -> None:
    path = shutil.copytree(store_path, tmp_path / "store")
    shard = np.load(path / "val-00000.latents.npy", mmap_mode="r+")
    shard[3] += 1
    shard.flush()
    damaged = ClipStore.open(path)
    name = damaged.val.ids[damaged.val.rows.tolist().index(3)]
    evaluator = Evaluator(damaged, EvaluationConfig())
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            evaluator.evaluate(make_training())
        message = str(caught.value)
        assert message.startswith(f"{path / 'val-00000.latents.npy'}: clip {name!r}, row 3: latents differ")
        assert f"prepare repair {path}" in message
    evaluator.close()


@pytest.mark.parametrize("pixels", ["raw", "jpeg", "none"])
def test_int8_targets_are_judged_in_their_own_units(
    make_training: MakeTraining, store_of: StoreOf, pixels: PixelFormat
) -> None:
    """The same model, on the same clips: rounding moves each clip's loss by a hair."""
    exact, rounded = store_of(pixels, "float16"), store_of(pixels, "int8")
    training = make_training(of=exact)
    evaluators = [Evaluator(store, JUDGED_ON, threads=2) for store in (exact, rounded)]
    one, other = (evaluator.evaluate(training) for evaluator in evaluators)
    np.testing.assert_allclose(other.clip_losses, one.clip_losses, rtol=5e-3)
    assert (other.clip_losses != one.clip_losses).all()
    assert other.val_r2 == pytest.approx(one.val_r2, rel=5e-3)
    for evaluator in evaluators:
        evaluator.close()


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
