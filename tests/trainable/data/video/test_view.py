"""Views: the geometry of clips, which frames they take, and their hash."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.data.video.view import Flips, View
from trainable.errors import ConfigError

views = st.builds(
    lambda slots, tubelet, side, patch: View(slots * tubelet, side * patch, patch, tubelet),
    slots=st.integers(1, 5),
    tubelet=st.integers(1, 3),
    side=st.integers(2, 5),
    patch=st.integers(1, 6),
)


@given(views)
def test_tokens_turn_back_into_the_same_frames(view: View) -> None:
    shape = (view.frames, view.size, view.size, 3)
    clip = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    tokens = view.to_tokens(clip)
    assert tokens.shape == (view.tokens, view.token_values)
    np.testing.assert_array_equal(view.to_frames(tokens), clip)


def test_a_token_is_the_tube_at_its_place_in_the_grid() -> None:
    view = View(frames=4, size=6, patch=2, tubelet=2)
    clip = np.arange(4 * 6 * 6 * 3, dtype=np.uint8).reshape(4, 6, 6, 3)
    token = view.to_tokens(clip)[np.ravel_multi_index((1, 2, 0), view.grid)]
    np.testing.assert_array_equal(token, clip[2:4, 4:6, 0:2].ravel())


@given(views, st.integers(1, 400))
def test_frames_run_forward_inside_the_video(view: View, length: int) -> None:
    indices = view.frame_indices(length)
    assert indices.shape == (view.frames,)
    assert indices.min() >= 0
    assert indices.max() < length
    steps = np.diff(indices)
    if length >= view.frames:
        assert (steps > 0).all()
    else:  # frames repeat, and none is left out
        assert set(indices) == set(range(length))
        assert (steps >= 0).all()


def test_frames_are_the_middles_of_equal_segments() -> None:
    assert View(frames=4, tubelet=2).frame_indices(48).tolist() == [6, 18, 30, 42]
    assert View(frames=4, tubelet=2).frame_indices(2).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "change", [{"frames": 8}, {"size": 112}, {"patch": 8}, {"tubelet": 1}, {"views": 3}, {"flips": "all"}]
)
def test_every_field_changes_the_hash(change: dict[str, Any]) -> None:
    view = View(views=2)
    assert view.hash == View(**asdict(view)).hash
    assert replace(view, **change).hash != view.hash


def test_without_further_views_nothing_can_be_mirrored() -> None:
    assert View(flips="all") == View(flips="none") == View()
    assert View(flips="all").hash == View().hash


@given(views, st.integers(1, 4), st.sampled_from(["undirected", "all", "none"]))
def test_a_view_is_what_it_says_of_itself(view: View, count: int, flips: Flips) -> None:
    view = replace(view, views=count, flips=flips)
    assert View.from_description(view.describe()) == view


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"frames": 0}, "frames"),
        ({"frames": 15}, "frames"),
        ({"frames": 16.0}, "frames"),
        ({"tubelet": True}, "tubelet"),
        ({"size": 225}, "size"),
        ({"size": 16}, "size"),
        ({"patch": -16}, "patch"),
        ({"views": 0}, "views"),
        ({"views": 2.0}, "views"),
        ({"flips": "some"}, "flips"),
    ],
)
def test_impossible_fields_are_refused_by_name(fields: dict[str, Any], blamed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        View(**fields)
    assert caught.value.field == blamed
    assert caught.value.value == fields[blamed]
