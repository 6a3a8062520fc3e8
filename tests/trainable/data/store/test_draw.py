"""Clips are drawn from names alone, each as often."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.data.store.draw import draw_clips
from trainable.data.store.index import Clips
from trainable.hashing import clip_key, uniforms


def clips_named(names: list[str]) -> Clips:
    """Clips that have names and nothing else."""
    count = len(names)
    return Clips(
        split="val",
        views=1,
        ids=tuple(names),
        keys=np.array([clip_key(name) for name in names], dtype=np.uint64),
        labels=np.zeros(count, np.int64),
        groups=(None,) * count,
        shards=("val-00000",) * count,
        rows=np.arange(count),
        videos=tuple(names),
        jpegs=np.zeros((count, 1, 2), np.int64),
        digests=np.zeros((count, 1, 2), np.uint64),
    )


names = st.lists(st.text(max_size=5), min_size=1, max_size=30, unique=True)


@given(names, st.integers(1, 40), st.integers(0, 5))
def test_the_draw_is_in_the_stores_order_and_of_the_size_asked_for(found: list[str], most: int, seed: int) -> None:
    chosen = draw_clips(clips_named(found), most, seed)
    assert len(chosen) == min(most, len(found))
    assert (np.diff(chosen) > 0).all()


@given(names, st.integers(1, 40), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_draw_depends_on_names_alone(found: list[str], most: int, seed: int, random: Any) -> None:
    shuffled = random.sample(found, len(found))
    one, other = (
        {some[clip] for clip in draw_clips(clips_named(some), most, seed).tolist()} for some in (found, shuffled)
    )
    assert one == other


@given(names, st.integers(1, 30), st.integers(0, 5))
def test_a_larger_draw_holds_the_smaller_one(found: list[str], most: int, seed: int) -> None:
    clips = clips_named(found)
    assert set(draw_clips(clips, most, seed)) <= set(draw_clips(clips, most + 1, seed))


def test_other_seeds_draw_other_clips_and_each_clip_as_often() -> None:
    clips = clips_named([str(number) for number in range(40)])
    draws = [draw_clips(clips, 10, seed) for seed in range(200)]
    assert len({tuple(draw.tolist()) for draw in draws}) == 200
    counts = np.bincount(np.concatenate(draws), minlength=40)
    assert counts.min() > 25
    assert counts.max() < 80


def test_the_choice_of_clips_says_nothing_about_their_masks() -> None:
    """The first random number of the masks of the chosen third is drawn like those of the rest."""
    clips = clips_named([str(number) for number in range(48)])
    chosen: list[float] = []
    rest: list[float] = []
    for seed in range(60):
        first = uniforms(seed, 0, clips.keys, 1)[:, 0]
        is_chosen = np.isin(np.arange(48), draw_clips(clips, 16, seed))
        chosen += first[is_chosen].tolist()
        rest += first[~is_chosen].tolist()
    assert np.mean(chosen) == pytest.approx(np.mean(rest), abs=0.05)
