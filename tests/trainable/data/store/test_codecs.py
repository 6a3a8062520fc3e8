"""What storing takes away is small, and nothing is moved."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainable.data.store.codecs import JPEG_LONGEST, check_pixel_format, decode_jpeg, dequantise, encode_jpeg
from trainable.data.video.view import View
from trainable.errors import ConfigError

views = st.builds(
    lambda slots, tubelet, side, patch: View(slots * tubelet, side * patch, patch, tubelet),
    slots=st.integers(1, 4),
    tubelet=st.integers(1, 3),
    side=st.integers(2, 5),
    patch=st.sampled_from([3, 8, 16]),
)


def scene(view: View, seed: int) -> npt.NDArray[np.uint8]:
    """Smooth frames (frames, size, size, 3) that change from one to the next, with a sharp square in each."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (view.frames, 3, 3, 3), dtype=np.uint8)
    size = (view.size, view.size)
    frames = np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in small])
    frames[:, : view.size // 3, : view.size // 2] = rng.integers(0, 256, (view.frames, 1, 1, 3), dtype=np.uint8)
    return frames


@settings(max_examples=40, deadline=None)
@given(views, st.integers(0, 1000))
def test_a_jpeg_changes_little_and_moves_nothing(view: View, seed: int) -> None:
    frames = scene(view, seed)
    jpeg = encode_jpeg(view.to_tokens(frames), view)
    assert jpeg.dtype == np.uint8
    assert jpeg.ndim == 1
    decoded = decode_jpeg(jpeg, view)
    assert decoded.dtype == np.uint8
    assert decoded.shape == (view.tokens, view.token_values)
    error = np.abs(view.to_frames(decoded).astype(int) - frames)
    assert error.mean() < 6
    assert (error.mean(axis=(1, 2, 3)) < 10).all(), "a frame is in another's place"


def test_a_jpeg_of_a_video_is_an_eighth_of_it_and_hardly_to_be_told_from_it() -> None:
    view = View()
    frames = scene(view, 0)
    jpeg = encode_jpeg(view.to_tokens(frames), view)
    assert jpeg.nbytes < frames.nbytes / 8
    error = view.to_frames(decode_jpeg(jpeg, view)).astype(int) - frames
    assert np.abs(error).mean() < 1.3
    image = Image.open(io.BytesIO(jpeg.tobytes()))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (224, 16 * 224))


def test_a_jpeg_is_decoded_from_a_part_of_a_file() -> None:
    """As it lies in a shard: between others, at any byte."""
    view = View(frames=2, size=16, patch=8)
    jpegs = [encode_jpeg(view.to_tokens(scene(view, seed)), view) for seed in range(3)]
    shard = np.concatenate(jpegs)
    shard.flags.writeable = False
    start, length = len(jpegs[0]), len(jpegs[1])
    assert (decode_jpeg(shard[start : start + length], view) == decode_jpeg(jpegs[1], view)).all()


def test_a_view_too_tall_for_a_jpeg_is_refused() -> None:
    tallest = JPEG_LONGEST // 224
    for frames, fits in ((tallest, True), (tallest + 1, False)):
        view = View(frames=frames, tubelet=1)
        check_pixel_format("raw", view)
        check_pixel_format("none", view)
        if fits:
            check_pixel_format("jpeg", view)
        else:
            with pytest.raises(ConfigError, match=r"^pixels = 'jpeg': frames \* size must be at most 65500 for JPEG"):
                check_pixel_format("jpeg", view)


def test_the_tallest_jpeg_can_be_written_and_read() -> None:
    view = View(frames=JPEG_LONGEST // 20, size=20, patch=10, tubelet=1)
    tokens = view.to_tokens(scene(view, 0))
    assert np.abs(decode_jpeg(encode_jpeg(tokens, view), view).astype(int) - tokens).mean() < 10


def test_int8_latents_are_multiplied_by_their_tokens_scales() -> None:
    latents = np.array([[[1, -2], [127, 0]]], dtype=np.int8)
    values = dequantise(latents, np.array([[0.5, 2.0]], dtype=np.float32))
    assert values.dtype == np.float32
    assert values.tolist() == [[[0.5, -1.0], [254.0, 0.0]]]


def test_float16_latents_are_taken_as_they_are() -> None:
    latents = np.array([[1.5, -2.25], [1e-7, 65504.0]], dtype=np.float16)
    values = dequantise(latents, None)
    assert values.dtype == np.float32
    assert (values == latents).all()
