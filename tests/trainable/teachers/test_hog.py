"""Histograms of oriented gradients and of normal flow: what is seen is in its bin, and every clip has a descriptor."""

import hashlib
import json
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainable.data.video.view import View
from trainable.teachers.hog import DIRECTIONS, ORIENTATIONS, PARAMETERS, HogTeacher, oriented_votes

VIEW = View(frames=4, size=32, patch=8, tubelet=2)
LENGTH = 37.0  # of a block, squared: 4 cells of 9 bins and what contrast it lacks
Frames = npt.NDArray[np.uint8]
Picture = Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]]


def latents(frames: Frames, view: View = VIEW, name: str = "hog+motion") -> torch.Tensor:
    """Of one clip: (tokens, dim)."""
    return HogTeacher(name, view, "cpu").latents(torch.from_numpy(view.to_tokens(frames))[None])[0]


def histograms(frames: Frames, view: View = VIEW) -> tuple[torch.Tensor, torch.Tensor]:
    """Of gradients and of motion, each (slots, rows, columns, cell rows, cell columns, bins)."""
    blocks = torch.split(latents(frames, view), 37, dim=-1)
    gradients, motion = (block[:, :-1].reshape(*view.grid, 2, 2, 9) for block in blocks)
    return gradients, motion


def filmed(picture: Picture, dx: float = 0, dy: float = 0) -> Frames:
    """Four grey frames of a picture of intensities in [0, 1], which moves by (dx, dy) pixels a frame."""
    y, x = np.mgrid[: VIEW.size, : VIEW.size].astype(np.float64)
    frames = np.stack([picture(x - dx * t, y - dy * t) for t in range(VIEW.frames)])
    return np.rint(np.repeat(frames[..., None], 3, axis=-1) * 255).astype(np.uint8)


def rings(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rings that fade away from the middle, with as much contrast in one direction as in any other."""
    apart = np.hypot(x - 16, y - 16)
    return np.asarray(0.5 + 0.5 * np.cos(apart * math.tau / 12) * np.exp(-((apart / 10) ** 2)))


def noise(seed: int = 0) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (VIEW.frames, VIEW.size, VIEW.size, 3), dtype=np.uint8)


@pytest.mark.parametrize("orientation", range(ORIENTATIONS))
@pytest.mark.parametrize("sign", [1, -1])
def test_a_gradient_of_known_orientation_gives_its_bin(orientation: int, sign: int) -> None:
    angle = orientation * math.pi / ORIENTATIONS
    frames = filmed(lambda x, y: 0.5 + sign * 0.02 * (math.cos(angle) * (x - 16) + math.sin(angle) * (y - 16)))
    gradients, motion = histograms(frames)
    share = gradients / gradients.sum(dim=-1, keepdim=True)
    assert share[..., orientation].mean() > 0.8  # the rest is what whole numbers make of a ramp
    assert (share.argmax(dim=-1) == orientation).all()
    assert motion[..., :DIRECTIONS].max() == 0


def test_between_two_orientations_a_vote_is_shared() -> None:
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    angle = 1.25 * math.pi / ORIENTATIONS
    ramp = (0.1 * (math.cos(angle) * x + math.sin(angle) * y)).expand(1, 3, 8, 8)
    expected = torch.zeros(1, 8, 8, ORIENTATIONS)
    expected[..., 1], expected[..., 2] = 0.075, 0.025
    torch.testing.assert_close(oriented_votes(ramp), expected)


@pytest.mark.parametrize("direction", range(DIRECTIONS))
@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_a_shifted_pattern_gives_the_bin_of_its_direction(direction: int, speed: float) -> None:
    angle = direction * math.tau / DIRECTIONS
    frames = filmed(rings, speed * math.cos(angle), speed * math.sin(angle))
    _, motion = histograms(frames)
    seen = motion.sum(dim=(0, 1, 2, 3, 4))[:DIRECTIONS].numpy()
    mean = np.angle(seen @ np.exp(1j * math.tau / DIRECTIONS * np.arange(DIRECTIONS)))
    assert math.cos(mean - angle) > math.cos(0.1)
    assert seen[(direction + DIRECTIONS // 2) % DIRECTIONS] < 0.05 * seen[direction]


def test_the_faster_the_less_stands_still_and_a_still_picture_does_so_in_all() -> None:
    still = [histograms(filmed(rings, speed))[1][..., DIRECTIONS].mean().item() for speed in (0, 0.25, 0.5, 1)]
    assert still == sorted(still, reverse=True)
    assert histograms(filmed(rings))[1][..., :DIRECTIONS].max() == 0


def test_a_turn_by_90_degrees_turns_the_directions_by_two_bins() -> None:
    frames = noise()
    _, motion = histograms(frames)
    _, turned = histograms(np.ascontiguousarray(np.rot90(frames, axes=(1, 2))))  # counter-clockwise on the screen
    expected = motion.rot90(dims=(1, 2)).rot90(dims=(3, 4))
    expected = torch.cat([expected[..., :DIRECTIONS].roll(-2, dims=-1), expected[..., DIRECTIONS:]], dim=-1)
    torch.testing.assert_close(turned, expected, atol=1e-4, rtol=1e-4)


def test_a_mirror_and_half_a_turn_permute_the_orientations() -> None:
    frames = noise()
    gradients, _ = histograms(frames)
    mirrored, _ = histograms(np.ascontiguousarray(frames[:, :, ::-1]))
    expected = gradients.flip(2, 4)[..., [-k % ORIENTATIONS for k in range(ORIENTATIONS)]]
    torch.testing.assert_close(mirrored, expected, atol=1e-4, rtol=1e-4)
    turned, _ = histograms(np.ascontiguousarray(frames[:, ::-1, ::-1]))
    torch.testing.assert_close(turned, gradients.flip(1, 2, 3, 4), atol=1e-4, rtol=1e-4)


def test_the_channel_with_the_largest_gradient_is_seen() -> None:
    frames = np.zeros((VIEW.frames, VIEW.size, VIEW.size, 3), np.uint8)
    frames[..., 2] = np.arange(VIEW.size, dtype=np.uint8) * 5  # of blue from left to right
    frames[..., 0] = np.arange(VIEW.size, dtype=np.uint8)[:, None]  # of red from top to bottom
    gradients, _ = histograms(frames)
    assert gradients[..., 0].min() > 0
    assert gradients[..., 1:].abs().max() < 1e-5


@pytest.mark.parametrize("level", [0, 7, 255])
def test_what_is_flat_points_along_the_contrast_that_it_lacks(level: int) -> None:
    frames = np.full((VIEW.frames, VIEW.size, VIEW.size, 3), level, np.uint8)
    expected = torch.zeros(VIEW.tokens, 74)
    expected[:, [36, 73]] = math.sqrt(LENGTH)
    torch.testing.assert_close(latents(frames), expected, atol=1e-3, rtol=1e-3)
    faint = latents(frames // 2 + noise() // 128)  # of one grey level
    assert torch.nn.functional.cosine_similarity(faint, expected).min() > 0.9


@st.composite
def clips(draw: st.DrawFn) -> tuple[View, Frames]:
    """Draws any small view, and noise in any range of it."""
    tubelet, patch = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    slots, side = draw(st.integers(1, 3)), draw(st.integers(2, 3))
    view = View(frames=slots * tubelet, size=side * patch, patch=patch, tubelet=tubelet)
    low, high = sorted(draw(st.tuples(st.integers(0, 255), st.integers(0, 255))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    grey = rng.integers(low, high + 1, (view.frames, view.size, view.size, 1), np.uint8)
    colour = rng.integers(low, high + 1, (view.frames, view.size, view.size, 3), np.uint8)
    return view, draw(st.sampled_from([colour, np.repeat(grey, 3, axis=-1)]))


@given(clips(), st.sampled_from(sorted(PARAMETERS)))
def test_any_clip_has_finite_latents_of_one_length(clip: tuple[View, Frames], name: str) -> None:
    view, frames = clip
    teacher, found = HogTeacher(name, view, "cpu"), latents(frames, view, name)
    assert found.shape == (view.tokens, teacher.dim)
    assert found.isfinite().all()
    assert found.min() >= 0
    lengths = torch.stack(torch.split(found, 37, dim=-1)).square().sum(dim=-1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, LENGTH), rtol=1e-4, atol=0)


def test_both_know_the_same_of_gradients() -> None:
    frames = noise()
    assert torch.equal(latents(frames, name="hog"), latents(frames)[:, :37])


def test_a_teacher_is_known_by_its_name_and_its_parameters() -> None:
    said = [HogTeacher(name, VIEW, "cpu").describe() for name in PARAMETERS]
    assert len({teacher["sha256"] for teacher in said}) == len(said)
    for teacher in said:
        sha256 = teacher.pop("sha256")
        assert teacher == {"name": teacher["name"], **PARAMETERS[teacher["name"]]}
        assert sha256 == hashlib.sha256(json.dumps(teacher, sort_keys=True).encode()).hexdigest()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_gpu_gives_the_same_but_for_rounding() -> None:
    pixels = torch.from_numpy(VIEW.to_tokens(noise()))[None]
    found = HogTeacher("hog+motion", VIEW, "cuda").latents(pixels)
    torch.testing.assert_close(found.cpu(), HogTeacher("hog+motion", VIEW, "cpu").latents(pixels), atol=1e-3, rtol=1e-3)
