"""Features are those of the student, of whole clips and of stretches whose frames are the ones that are named."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.small_store import build_store
from tests.trainable.conftest import MakeTraining
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.view import View
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator, measure
from trainable.evaluate.features import VIEWS, latent_features, pixel_features
from trainable.evaluate.stretches import STRETCHES, cut_stretches
from trainable.masking.masks import Masks


@pytest.fixture
def evaluator(store: ClipStore) -> Iterator[Evaluator]:
    made = Evaluator(store, EvaluationConfig(panel_clips=20, batch_size=7))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("frames", "tubelet", "expected"),
    [
        (8, 2, {"first": [0, 1, 2, 3], "second": [4, 5, 6, 7], "sparse": [0, 2, 4, 6], "reversed": [6, 4, 2, 0]}),
        (6, 2, {"first": [0, 1], "second": [4, 5], "sparse": [0, 2], "reversed": [2, 0]}),
        (4, 1, {"first": [0, 1], "second": [2, 3], "sparse": [0, 2], "reversed": [2, 0]}),
        (9, 3, {"first": [0, 1, 2], "second": [6, 7, 8], "sparse": [0, 2, 4], "reversed": [4, 2, 0]}),
    ],
)
def test_stretches_have_the_frames_of_their_names(frames: int, tubelet: int, expected: dict[str, list[int]]) -> None:
    view = View(frames, 16, 8, tubelet)
    random = np.random.default_rng(0)
    clip = random.integers(0, 256, (frames, 16, 16, 3), dtype=np.uint8)
    half = View(frames // tubelet // 2 * tubelet, 16, 8, tubelet)
    found = cut_stretches(torch.from_numpy(view.to_tokens(clip))[None], view)
    assert list(found) == list(STRETCHES)
    for name, tokens in found.items():
        assert (half.to_frames(tokens[0].numpy()) == clip[expected[name]]).all()


def test_whole_clips_are_pooled_per_slot_and_stretches_stand_in_the_first_slots(
    evaluator: Evaluator, make_training: MakeTraining, store: ClipStore
) -> None:
    training, panel = make_training(), evaluator.on.panel
    features = evaluator.judge(training).features
    student = training.model.student.eval()
    assert features.whole.shape == (20, 4, 64)
    assert {name: each.shape for name, each in features.stretches.items()} == dict.fromkeys(STRETCHES, (4, 2, 64))
    assert features.views is not None and features.views.shape == (5, VIEWS, 64)
    for position, (clips, clip) in {0: (store.val, panel.held_out[0]), 12: (store.train, panel.training[2])}.items():
        pixels = torch.from_numpy(np.array(store.pixels(clips, int(clip))))[None]
        with torch.no_grad():
            tokens = student(pixels)[0].reshape(4, 16, 64)
        np.testing.assert_allclose(features.whole[position], tokens.mean(dim=1).numpy(), atol=1e-5)
    first = int(np.flatnonzero(panel.label_free)[0])
    pixels = torch.from_numpy(np.array(store.pixels(store.val, int(panel.held_out[first]))))[None]
    with torch.no_grad():
        second = student(pixels[:, 32:], torch.arange(32)[None])[0].reshape(2, 16, 64)
    np.testing.assert_allclose(features.stretches["second"][0], second.mean(dim=1).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("masking", "drawn"),
    [
        ("multiblock", [(0, 0), (1, 0), (2, 0), (3, 0)]),
        ("multiblock_both", [(0, 0), (0, 1), (1, 0), (1, 1)]),
    ],
)
def test_views_see_the_tokens_that_masks_of_the_evaluation_leave_visible(
    make_training: MakeTraining, store: ClipStore, masking: str, drawn: list[tuple[int, int]]
) -> None:
    """Each is named by its epoch and its number among the masks of a clip."""
    evaluator = Evaluator(store, EvaluationConfig(panel_clips=20, batch_size=7, masking=masking))
    training, panel = make_training(), evaluator.on.panel
    views = evaluator.judge(training).features.views
    evaluator.close()
    assert views is not None and views.shape[1] == len(drawn) == VIEWS
    clip = int(panel.held_out[np.flatnonzero(panel.viewed)[2]])
    pixels = torch.from_numpy(np.array(store.pixels(store.val, clip)))
    masks = Masks(store.view, masking, 0.75, 0)
    for view, (epoch, number) in enumerate(drawn):
        visible = torch.from_numpy(masks.draw(epoch, store.val.keys[[clip]]).visible[:, number])
        with torch.no_grad():
            seen = training.model.student.eval()(pixels[visible[0]][None], visible)[0].mean(dim=0)
        np.testing.assert_allclose(views[2, view], seen.numpy(), atol=1e-5)


def test_pixels_backwards_are_the_pixels_forwards_in_other_slots(evaluator: Evaluator) -> None:
    features = pixel_features(evaluator.on)
    assert features.whole.shape == (20, 4, 4 * 4 * 3) and features.views is None
    np.testing.assert_allclose(features.stretches["reversed"], features.stretches["sparse"][:, ::-1])
    halves = np.concatenate([features.stretches["first"], features.stretches["second"]], axis=1)
    np.testing.assert_allclose(halves, features.whole[evaluator.on.panel.label_free])


def test_latents_are_pooled_as_they_are_stored(evaluator: Evaluator, store: ClipStore) -> None:
    features = latent_features(evaluator.on)
    clip = int(evaluator.on.panel.training[3])
    expected = store.latents(store.train, clip).reshape(4, 16, -1).mean(axis=1)
    np.testing.assert_allclose(features.whole[13], expected, rtol=1e-6)
    assert not features.stretches


def test_a_store_of_one_time_slot_has_no_probes_of_time(
    make_training: MakeTraining, tmp_path: Path, videos: Path
) -> None:
    flat = build_store(tmp_path / "store", videos, view=View(2, 32, 8, 2))
    evaluator = Evaluator(flat, EvaluationConfig(clips=8, panel_clips=16))
    found = measure(evaluator.judge(make_training(of=flat)), "probe")
    evaluator.close()
    for name in ("order_top1", "speed_top1", "retrieval_top1"):
        assert found[name] is found[f"{name}_low"] is found[f"{name}_high"] is None
    assert found["probe_top1"] is not None and found["lidar"] is not None
