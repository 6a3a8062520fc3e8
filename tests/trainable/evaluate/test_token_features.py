"""Tokens for attentive probes: normalised, never too many, of any scale."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainable.conftest import MakeTraining
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.evaluate.token_features import MOST_TOKENS, latent_tokens, pooled_size, student_tokens, token_features


@given(st.integers(1, 64), st.integers(1, 40), st.integers(1, 40))
def test_no_clip_has_too_many_tokens(slots: int, rows: int, columns: int) -> None:
    height, width = pooled_size((slots, rows, columns))
    assert slots * height * width <= max(MOST_TOKENS, slots)
    if slots * rows * columns <= MOST_TOKENS:
        assert (height, width) == (rows, columns)


def test_a_clip_of_16_frames_of_224_pixels_keeps_392_tokens() -> None:
    assert pooled_size((8, 14, 14)) == (7, 7)


def test_neighbours_in_a_slot_are_averaged_and_each_token_is_normalised_whatever_its_scale() -> None:
    grid = (8, 14, 14)
    features = 1e5 * torch.randn(2, 8 * 14 * 14, 16, generator=torch.Generator().manual_seed(0)) + 7e5
    tokens = token_features([features[:1], features[1:]], grid)
    assert (tokens.shape, tokens.dtype) == ((2, 8 * 49, 16), torch.float16)
    torch.testing.assert_close(tokens.float().mean(dim=-1), torch.zeros(2, 8 * 49), rtol=0, atol=1e-3)
    first = features.reshape(2, *grid, 16)[0, 3, 2:4, 4:6].mean(dim=(0, 1))
    expected = (first - first.mean()) / first.std(correction=0)
    torch.testing.assert_close(tokens[0, 3 * 49 + 1 * 7 + 2].float(), expected, rtol=1e-2, atol=1e-2)


def test_clips_stand_in_the_order_of_the_panel(store: ClipStore, make_training: MakeTraining) -> None:
    evaluator = Evaluator(store, EvaluationConfig(panel_clips=20, batch_size=7))
    on, training = evaluator.on, make_training()
    tokens, latents = student_tokens(training.model.student, training.autocast, on), latent_tokens(on)
    evaluator.close()
    assert tokens.shape == (20, store.view.tokens, 64) and latents.shape == (20, store.view.tokens, store.teacher.dim)
    parts = ((store.val, on.panel.held_out), (store.train, on.panel.training))
    rows = [(clips, int(clip)) for clips, chosen in parts for clip in chosen]
    for position in (0, 9, 10, 19):
        clips, clip = rows[position]
        with torch.no_grad():
            features = training.model.student(torch.from_numpy(store.pixels(clips, clip).copy())[None])
        torch.testing.assert_close(
            tokens[position], token_features([features], store.view.grid)[0], rtol=0.01, atol=0.01
        )
        alone = token_features([torch.from_numpy(store.latents(clips, clip))[None]], store.view.grid)[0]
        assert torch.equal(latents[position], alone)
