"""Pictures of a store show what they are given."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.plots.clips import GAP, HIDDEN, STRIPE, Floats, Images, ShownClip, as_picture, holding, spectrum
from analysis.plots.store import contact_sheet, latents, teacher
from analysis.tables.baselines import BASELINE_LABELS
from trainable.evaluate.baselines import BASELINE_NAMES


def clip(size: int = 48, hidden: Any = None) -> ShownClip:
    frames: Images = np.random.default_rng(0).integers(0, 100, (3, size, size, 3), dtype=np.uint8)
    return ShownClip("a clip", frames, hidden)


@pytest.mark.parametrize(("size", "factor"), [(48, 4), (224, 1), (32, 6)])
def test_a_picture_has_the_frames_side_by_side(size: int, factor: int) -> None:
    shown = clip(size)
    picture = as_picture(shown)
    side = size * factor
    assert picture.shape == (side, 3 * side + 2 * GAP, 3)
    for number, frame in enumerate(shown.frames):
        left = number * (side + GAP)
        assert (picture[::factor, left : left + side : factor] == frame).all()
    assert (picture[:, side : side + GAP] == 255).all()


@given(arrays(np.bool_, (3, 4, 4)))
def test_masked_patches_are_hatched_and_the_others_as_they_were(hidden: Any) -> None:
    shown = clip(48, hidden)
    picture = as_picture(shown)
    side = 48 * 4
    greys = {int(255 * HIDDEN), int(255 * STRIPE)}
    for number in range(3):
        below = picture[side + GAP :, number * (side + GAP) :][:side, :side]
        for row, column in np.ndindex(4, 4):
            patch = (slice(row * 48, row * 48 + 48), slice(column * 48, column * 48 + 48))
            if hidden[number, row, column]:
                assert set(np.unique(below[patch]).tolist()) == greys
            else:
                whole = shown.frames[number].repeat(4, axis=0).repeat(4, axis=1)
                assert (below[patch] == whole[patch]).all()


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 100)), st.floats(0.05, 1))
def test_the_largest_hold_their_share_and_one_fewer_do_not(variances: Floats, share: float) -> None:
    count, falling = holding(variances, share), np.sort(variances)[::-1]
    if variances.sum() == 0:
        assert count == 0
        return
    assert falling[:count].sum() >= (share - 1e-9) * falling.sum()
    assert falling[: count - 1].sum() <= share * falling.sum()


def test_the_spectrum_is_the_variance_along_principal_directions() -> None:
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    tokens = rng.normal(size=(20_000, 3)) * np.sqrt([6, 3, 1]) @ rotation + 5
    assert spectrum(tokens) == pytest.approx([0.6, 0.3, 0.1], abs=0.02)
    assert spectrum(np.ones((5, 3))).tolist() == [0, 0, 0]


def test_the_contact_sheet_shows_every_clip_with_its_caption() -> None:
    masked = np.zeros((3, 4, 4), dtype=np.bool_)
    long = ShownClip("x" * 200, clip().frames, masked)
    sheet = contact_sheet("Frames", [clip(hidden=masked)] * 4 + [long], "Views", [clip(), clip(), clip()])
    shown = [ax for ax in sheet.axes if ax.images]
    assert len(shown) == 8
    captions = [ax.get_title(loc="left") for ax in shown]
    assert captions.count("a clip") == 7
    assert "x…x" in captions[4] and len(captions[4]) < 80
    assert len([ax for ax in contact_sheet("Frames", [long], "", []).axes if ax.images]) == 1


def test_the_latents_spectrum_is_summed_and_counted() -> None:
    (ax,) = latents(np.array([0.85, 0.1, 0.05])).axes
    assert np.asarray(ax.lines[0].get_ydata()).tolist() == pytest.approx([85, 95, 100])
    assert ax.get_title(loc="left") == "2 of 3 principal directions hold 90% of the variance"


@pytest.mark.parametrize("epochs", [1, 5])
def test_the_teachers_curve_ends_with_its_value(epochs: int) -> None:
    steps = np.arange(1, epochs + 1)
    drawn = teacher({"epoch": steps.tolist(), "val_loss": (1 / steps).tolist(), "val_r2": (1 - 1 / steps).tolist()})
    assert np.asarray(drawn.axes[0].lines[0].get_ydata()).tolist() == (1 / steps).tolist()
    assert [ax.texts[0].get_text() for ax in drawn.axes] == [f"{1 / epochs:.3g}", f"{1 - 1 / epochs:.3g}"]


def test_baselines_are_called_the_same_everywhere() -> None:
    assert BASELINE_LABELS == BASELINE_NAMES
