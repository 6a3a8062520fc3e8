"""All trials are judged by the same numbers, and the numbers are what they are called."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainable.conftest import MakeTraining, StoreOf
from tests.trainable.small import rows
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import PixelFormat
from trainable.errors import StoreError
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator, measure
from trainable.evaluate.held_out_loss import val_loss, val_loss_se, val_r2
from trainable.masking.masks import Masks

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
        visible, masked = (torch.from_numpy(tokens[:, 0]) for tokens in masks.draw(0, store.val.keys[[clip]]))
        with torch.no_grad():
            prediction = training.model.eval()(pixels[:, visible[0]], visible, masked)
        losses.append((prediction - latents[:, masked[0]]).square().mean().item())
    evaluation = evaluator.judge(training)
    assert len(losses) == 11
    assert evaluation.clip_losses.tolist() == pytest.approx(losses, rel=1e-4)
    assert val_loss(evaluation) == pytest.approx(np.mean(losses), rel=1e-4)
    assert val_loss_se(evaluation) == pytest.approx(np.std(losses, ddof=1) / 11**0.5, rel=1e-3)


@pytest.mark.parametrize("masking", ["multiblock", "random", "multiblock_both"])
def test_the_loss_by_time_slot_is_of_the_tokens_masked_there(
    make_training: MakeTraining, store: ClipStore, masking: str
) -> None:
    evaluator = Evaluator(store, EvaluationConfig(clips=5, masking=masking, mask_ratio=0.5, seed=4, batch_size=3))
    training = make_training()
    training.train_to(3)
    judged = evaluator.judge(training)
    masks, (slots, *patch) = Masks(store.view, masking, 0.5, 4), store.view.grid
    assert judged.time_slot_losses.shape == (5, slots)
    for row, name in enumerate(evaluator.clip_ids):
        clip = store.val.ids.index(name)
        pixels, latents = rows(store, store.val, np.array([clip]))
        visible, masked = (torch.from_numpy(tokens[0]) for tokens in masks.draw(0, store.val.keys[[clip]]))
        every = torch.zeros(len(masked), 1, dtype=torch.int64)
        with torch.no_grad():
            prediction = training.model.eval()(pixels[every, visible], visible, masked)
        errors, slot = (prediction - latents[every, masked]).square().mean(dim=2), masked // int(np.prod(patch))
        expected = [float(errors[slot == number].mean()) for number in range(slots)]
        assert judged.time_slot_losses[row].tolist() == pytest.approx(expected, rel=1e-4)
    evaluator.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"mask_ratio": 0.3},
        {"loss": "l1"},
        {"masking": "random"},
        {"masking": "multiblock_both"},
        {"predict_share": 0.2},
        {"context_weight": 0.5},
        {"batch_size": 5, "lr": 1.0},
    ],
)
def test_what_a_trial_trains_with_does_not_change_how_it_is_judged(
    evaluator: Evaluator, make_training: MakeTraining, changes: dict[str, Any]
) -> None:
    """Untrained, the two are the same model, and must get the same marks."""
    plain, other = evaluator.judge(make_training()), evaluator.judge(make_training(**changes))
    assert val_loss(plain) == val_loss(other)
    assert val_r2(plain) == val_r2(other)
    assert (plain.clip_losses == other.clip_losses).all()


def test_under_two_masks_a_clips_loss_is_the_mean_of_both(make_training: MakeTraining, store: ClipStore) -> None:
    both = Evaluator(store, EvaluationConfig(clips=9, masking="multiblock_both", mask_ratio=0.6, seed=4))
    short = Evaluator(store, EvaluationConfig(clips=9, masking="multiblock", mask_ratio=0.6, seed=4))
    training = make_training()
    clips = [store.val.ids.index(name) for name in both.clip_ids]
    masks = Masks(store.view, "multiblock_both", 0.6, 4).draw(0, store.val.keys[clips])
    pixels, latents = rows(store, store.val, np.array(clips))
    visible, masked = (torch.from_numpy(tokens[:, 1]) for tokens in masks)
    every = torch.arange(len(clips))[:, None]
    with torch.no_grad():
        prediction = training.model.eval()(pixels[every, visible], visible, masked)
    long = (prediction - latents[every, masked]).square().mean(dim=(1, 2)).numpy()
    expected = (short.judge(training).clip_losses + long) / 2
    assert both.judge(training).clip_losses.tolist() == pytest.approx(expected.tolist(), rel=1e-4)
    for evaluator in (both, short):
        evaluator.close()


def test_judging_changes_nothing_and_is_repeatable(evaluator: Evaluator, make_training: MakeTraining) -> None:
    judged, plain = make_training(), make_training()
    for step in (1, 3, 8):
        judged.train_to(step)
        first, again = evaluator.judge(judged), evaluator.judge(judged)
        measure(evaluator.judge(judged), "probe")
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
    assert val_r2(evaluator.judge(training)) == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        training.model.predictor.project.bias.add_(1.0)
    assert val_r2(evaluator.judge(training)) < -0.1
    evaluator.close()


def test_training_raises_the_share_explained(make_training: MakeTraining, store: ClipStore) -> None:
    training, evaluator = make_training(epochs=40, lr=3e-3), Evaluator(store, EvaluationConfig())
    before = val_r2(evaluator.judge(training))
    training.train_to(training.total_steps)
    assert val_r2(evaluator.judge(training)) > max(before, 0.05)
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
    assert evaluator.judge(training).clip_losses.tolist() == whole.judge(training).clip_losses.tolist()
    assert measure(evaluator.judge(training), "probe") == measure(whole.judge(training), "probe")
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
            _ = evaluator.judge(make_training()).clip_losses
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
    one, other = (evaluator.judge(training) for evaluator in evaluators)
    np.testing.assert_allclose(other.clip_losses, one.clip_losses, rtol=5e-3)
    assert (other.clip_losses != one.clip_losses).all()
    assert val_r2(other) == pytest.approx(val_r2(one), rel=5e-3)
    for evaluator in evaluators:
        evaluator.close()
