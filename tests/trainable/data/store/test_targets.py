"""Targets: what storing takes away of them, and what is summed up for the manifest."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trainable.data.store.codecs import LatentFormat, dequantise
from trainable.data.store.targets import INT8_LARGEST, decode, encode, normalise

KINDS: tuple[LatentFormat, ...] = ("float16", "int8")

# Latents after a LayerNorm lie below sqrt(dim); others may be of any size that half precision can hold.
SMALLEST, LARGEST = 2.0**-20, 2.0**13
latents = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=6),
    elements=st.one_of(st.just(0.0), st.floats(SMALLEST, LARGEST, width=32), st.floats(-LARGEST, -SMALLEST, width=32)),
)


@given(latents)
def test_int8_is_off_by_half_a_step_of_its_token_at_most(values: npt.NDArray[np.float32]) -> None:
    stored = encode(torch.from_numpy(values), "int8")
    assert stored.latents.dtype == np.int8
    assert stored.scales is not None
    assert stored.scales.dtype == np.float32
    assert stored.scales.shape == values.shape[:2]
    assert stored.latents.min() >= -INT8_LARGEST
    largest = np.abs(values).max(axis=2)
    np.testing.assert_allclose(stored.scales, largest / INT8_LARGEST, rtol=1e-6)
    error = np.abs(dequantise(stored.latents, stored.scales) - values)
    assert (error <= stored.scales[..., None] * 0.5 * (1 + 1e-4)).all()
    zeros = largest == 0
    assert (stored.latents[zeros] == 0).all()
    assert (stored.scales[zeros] == 0).all()
    used = np.abs(stored.latents).max(axis=2)
    assert (used[~zeros] == INT8_LARGEST).all(), "a token does not use the whole range"


@given(latents)
def test_float16_is_rounded_once(values: npt.NDArray[np.float32]) -> None:
    stored = encode(torch.from_numpy(values), "float16")
    assert stored.scales is None
    assert stored.latents.dtype == np.float16
    assert (stored.latents == values.astype(np.float16)).all()


@pytest.mark.parametrize("kind", KINDS)
@given(values=latents)
def test_device_and_numpy_read_the_same(kind: LatentFormat, values: npt.NDArray[np.float32]) -> None:
    stored = encode(torch.from_numpy(values), kind)
    scales = None if stored.scales is None else torch.from_numpy(stored.scales)
    read = decode(torch.from_numpy(stored.latents), scales)
    assert read.dtype == torch.float32
    assert (read.numpy() == dequantise(stored.latents, stored.scales)).all()


@pytest.mark.parametrize("kind", KINDS)
@given(values=latents)
def test_the_sums_are_of_what_is_stored(kind: LatentFormat, values: npt.NDArray[np.float32]) -> None:
    stored = encode(torch.from_numpy(values), kind)
    read = dequantise(stored.latents, stored.scales).astype(np.float64)
    size = float(np.abs(values).max())
    slack = 1e-5 * (1 + size) ** 2
    assert stored.total.dtype == stored.square_total.dtype == np.float64
    np.testing.assert_allclose(stored.total, read.sum(axis=(0, 1)), rtol=1e-5, atol=slack)
    np.testing.assert_allclose(stored.square_total, np.square(read).sum(axis=(0, 1)), rtol=1e-5, atol=slack)
    np.testing.assert_allclose(stored.squared_error, np.square(read - values).sum(), rtol=1e-3, atol=1e-3)


def test_normalised_latents_lose_less_than_a_percent_in_either_format() -> None:
    targets = normalise(torch.randn(4, 64, 384, generator=torch.Generator().manual_seed(0)) * 30, "layer_norm")
    errors = {kind: (encode(targets, kind).squared_error / targets.square().sum().item()) ** 0.5 for kind in KINDS}
    assert errors["float16"] < 3e-4
    assert errors["int8"] < 1e-2
    assert errors["float16"] < errors["int8"] / 10


def test_normalised_latents_have_no_mean_and_unit_variance_in_each_token() -> None:
    torch.manual_seed(0)
    raw = torch.randn(2, 5, 64) * torch.rand(2, 5, 1) * 40 + 7
    normal = normalise(raw.half(), "layer_norm")
    assert normal.dtype == torch.float32
    assert normal.mean(dim=-1).abs().max() < 1e-4
    assert (normal.var(dim=-1, unbiased=False) - 1).abs().max() < 1e-2
    assert torch.equal(normalise(raw, "none"), raw)
    assert normalise(raw.half(), "none").dtype == torch.float32
