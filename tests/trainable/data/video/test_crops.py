"""Views of a clip: the centre, then boxes that follow from its name, mirrored only where the label allows it."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainable.data.video.crops import AREA, ASPECT, CENTRE, Cut, cut_image, cuts_of, names_direction
from trainable.data.video.reader import read_clip
from trainable.data.video.view import Flips, View

SIZE = 32
NAMES = [f"clip {number}" for number in range(400)]
DIRECTED, UNDIRECTED = "Pushing something from left to right", "Opening something"

shares = st.floats(0, 1)
drawn_cuts = st.builds(Cut, area=st.floats(*AREA), aspect=shares, left=shares, top=shares, flip=st.booleans())


class Box(NamedTuple):
    """Where a cut lies in its image, in pixels, as its content shows."""

    left: float
    top: float
    width: float
    height: float


def ramps(height: int, width: int) -> npt.NDArray[np.uint8]:
    """An image whose red says the column and whose green says the row of each pixel."""
    rows, columns = np.indices((height, width), dtype=np.uint8)
    return np.stack([columns, rows, np.zeros_like(rows)], axis=2)


def measured(cut: npt.NDArray[np.uint8]) -> Box:
    """Reads the box of a cut out of `ramps`; pixels at the edges are left out, where resizing bends the ramps."""
    inner = slice(4, -4)
    at = np.arange(SIZE)[inner] + 0.5
    width, left = np.polyfit(at / SIZE, cut[SIZE // 2, inner, 0] + 0.5, 1)
    height, top = np.polyfit(at / SIZE, cut[inner, SIZE // 2, 1] + 0.5, 1)
    return Box(float(left), float(top), float(width), float(height))


@settings(max_examples=200, deadline=None)
@given(height=st.integers(120, 255), width=st.integers(120, 255), cut=drawn_cuts)
def test_a_box_lies_inside_the_frame_and_has_the_area_and_the_shape_that_are_stated(
    height: int, width: int, cut: Cut
) -> None:
    pixels = cut_image(ramps(height, width), SIZE, cut._replace(flip=False))
    assert pixels.shape == (SIZE, SIZE, 3)
    box = measured(pixels)
    slack = 2.0  # pixels: boxes end at whole ones, and colours are whole numbers
    assert box.left > -slack
    assert box.top > -slack
    assert box.left + box.width < width + slack
    assert box.top + box.height < height + slack
    assert AREA[0] * 0.95 < box.width * box.height / (height * width) < AREA[1] * 1.05
    assert ASPECT[0] * 0.95 < box.width / box.height < ASPECT[1] * 1.05


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), cut=st.one_of(st.just(CENTRE), drawn_cuts))
def test_a_frame_of_any_size_is_cut(height: int, width: int, cut: Cut) -> None:
    colour = np.array([200, 100, 50], dtype=np.uint8)
    pixels = cut_image(np.broadcast_to(colour, (height, width, 3)).copy(), SIZE, cut)
    assert pixels.shape == (SIZE, SIZE, 3)
    assert (pixels == colour).all()


@pytest.mark.parametrize("place", [0.0, 0.25, 1.0])
def test_a_box_lies_where_the_cut_says(place: float) -> None:
    height, width = 200, 250
    box = measured(cut_image(ramps(height, width), SIZE, Cut(0.3, 0.5, place, 1 - place)))
    assert box.left == pytest.approx(place * (width - box.width), abs=2)
    assert box.top == pytest.approx((1 - place) * (height - box.height), abs=2)


@given(cut=drawn_cuts)
def test_a_mirrored_cut_is_the_other_one_seen_in_a_mirror(cut: Cut) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    plain, mirrored = (cut_image(image, SIZE, cut._replace(flip=flip)) for flip in (False, True))
    assert (mirrored == plain[:, ::-1]).all()
    assert (mirrored != plain).any()


def test_the_centre_crop_takes_the_whole_short_side() -> None:
    image = ramps(100, 200)
    expected = np.asarray(Image.fromarray(image[:, 50:150]).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    found = cut_image(image, SIZE, CENTRE)
    assert np.abs(found.astype(int) - expected)[:, 1:-1].max() <= 1
    box = measured(found)
    assert box == pytest.approx((50, 0, 100, 100), abs=1)


@given(
    name=st.text(),
    views=st.integers(2, 6),
    fewer=st.integers(1, 6),
    label=st.text(),
    split=st.sampled_from(["train", "val"]),
)
def test_views_follow_from_the_name_alone(
    name: str, views: int, fewer: int, label: str, split: Literal["train", "val"]
) -> None:
    cuts = cuts_of(View(views=views), name, UNDIRECTED, "train")
    assert len(cuts) == views
    assert cuts[0] == CENTRE
    assert cuts == cuts_of(View(8, 48, 8, 2, views=views), name, UNDIRECTED, "train")
    kept = min(fewer, views)
    assert cuts[:kept] == cuts_of(View(views=kept), name, UNDIRECTED, "train")
    of_the_label = cuts_of(View(views=views), name, label, split)
    assert [cut[:4] for cut in of_the_label] == [cut[:4] for cut in cuts[: len(of_the_label)]]
    assert len(of_the_label) == (1 if split == "val" else views)


def test_no_two_views_are_the_same_and_all_of_them_are_spread_over_their_range() -> None:
    cuts = [cut for name in NAMES for cut in cuts_of(View(views=4), name, UNDIRECTED, "train")[1:]]
    assert len({cut[:4] for cut in cuts}) == len(cuts)
    areas = np.array([cut.area for cut in cuts], dtype=float)
    assert areas.mean() == pytest.approx(np.mean(AREA), abs=0.02)
    for values in ((areas - AREA[0]) / (AREA[1] - AREA[0]), *np.array([cut[1:4] for cut in cuts]).T):
        assert values.min() >= 0
        assert values.max() < 1
        assert values.mean() == pytest.approx(0.5, abs=0.03)
        assert values.std() == pytest.approx(12**-0.5, abs=0.02)


@pytest.mark.parametrize(
    ("flips", "label", "share"),
    [
        ("undirected", UNDIRECTED, 0.5),
        ("undirected", DIRECTED, 0.0),
        ("all", UNDIRECTED, 0.5),
        ("all", DIRECTED, 0.5),
        ("none", UNDIRECTED, 0.0),
        ("none", DIRECTED, 0.0),
    ],
)
def test_clips_are_mirrored_where_the_view_and_the_label_allow_it(flips: Flips, label: str, share: float) -> None:
    cuts = [cuts_of(View(views=3, flips=flips), name, label, "train") for name in NAMES]
    assert not any(first.flip for first, *_ in cuts)
    for number in (1, 2):
        assert np.mean([clip[number].flip for clip in cuts]) == pytest.approx(share, abs=0.08 if share else 0)


@pytest.mark.parametrize(
    ("label", "named"),
    [
        (DIRECTED, True),
        ("Turning the camera LEFT while filming", True),
        ("swipe_right", True),
        ("left-hand turn", True),
        ("Turning Hand Clockwise", True),
        ("counterclockwise", True),
        ("Turning counter-clockwise", True),
        ("anti-clockwise", True),
        ("anticlockwise/slow", True),
        (UNDIRECTED, False),
        ("Putting something upright on the table", False),
        ("Eating leftovers in bright light", False),
        ("watching a clock", False),
        ("", False),
    ],
)
def test_directions_are_found_in_labels(label: str, named: bool) -> None:
    assert names_direction(label) == named


def test_the_views_of_a_video_are_decoded_together(videos: Path) -> None:
    view = View(frames=8, size=32, patch=8, tubelet=2, views=4, flips="all")
    cuts = cuts_of(view, "1", UNDIRECTED, "train")
    together, frames = read_clip(videos / "1.webm", view, cuts)
    assert together.shape == (4, view.tokens, view.token_values)
    for tokens, cut in zip(together, cuts, strict=True):
        alone, same_frames = read_clip(videos / "1.webm", view, [cut])
        assert (alone[0] == tokens).all()
        assert (same_frames == frames).all()
    assert (together[0] == read_clip(videos / "1.webm", view)[0][0]).all()
    assert len({tokens.tobytes() for tokens in together}) == 4
    mirrored, _ = read_clip(videos / "1.webm", view, [cuts[1]._replace(flip=not cuts[1].flip)])
    assert (view.to_frames(mirrored[0]) == view.to_frames(together[1])[:, :, ::-1]).all()
