"""Checksums see every byte; what is drawn for a clip is the same everywhere."""

import hashlib
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tests.trainable.masking.drawn import keys
from trainable.hashing import clip_key, digest, uniforms

contents = st.binary(min_size=1, max_size=300)


def as_array(content: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(content, dtype=np.uint8)


@given(contents, st.data())
def test_a_digest_depends_on_every_byte(content: bytes, data: st.DataObject) -> None:
    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    assert digest(as_array(content)) != digest(as_array(bytes(changed)))
    assert digest(as_array(content)) == digest(as_array(content).copy())
    assert digest(as_array(content)) != digest(as_array(content + b"\0"))


@given(contents, st.data())
def test_arrays_count_as_their_bytes_one_after_the_other(content: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(content)))
    assert digest(as_array(content[:cut]), as_array(content[cut:])) == digest(as_array(content))
    assert digest(as_array(content)) == xxhash.xxh3_64_intdigest(content)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float16, np.float32])
def test_shape_and_type_do_not_matter(dtype: type[np.generic]) -> None:
    content = bytes(range(240))
    array = np.frombuffer(content, dtype=dtype)
    read_only = array.reshape(2, -1, 3)
    assert not read_only.flags.writeable
    assert digest(read_only) == digest(as_array(content)) == digest(array.copy())


def test_a_digest_is_the_same_on_every_machine() -> None:
    assert digest() == 0x2D06800538D394C2  # as in the specification of XXH3
    assert digest(np.arange(4, dtype="<f4"), as_array(b"salt")) == 0xD5CD9829500E5644


def test_keys_of_clips_are_the_same_on_every_machine() -> None:
    assert clip_key("1") == 0x7637BA9F0342FCF6
    assert clip_key("class/Straße") == int.from_bytes(
        hashlib.blake2b("class/Straße".encode(), digest_size=8).digest(), "little"
    )


@given(st.text(), st.text())
def test_other_names_have_other_keys(one: str, other: str) -> None:
    assert (clip_key(one) == clip_key(other)) == (one == other)


@pytest.mark.parametrize(
    "draws",
    [
        pytest.param(lambda: uniforms(0, 0, keys(2000), 50), id="clips"),
        pytest.param(lambda: uniforms(0, 0, np.arange(2000, dtype=np.uint64), 50), id="small keys"),
        pytest.param(lambda: np.concatenate([uniforms(seed, 0, keys(1), 50) for seed in range(2000)]), id="seeds"),
        pytest.param(lambda: np.concatenate([uniforms(0, epoch, keys(1), 50) for epoch in range(2000)]), id="epochs"),
    ],
)
def test_uniforms_are_uniform_and_independent(draws: Any) -> None:
    numbers = draws()
    assert numbers.shape == (2000, 50)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert len(np.unique(numbers)) == numbers.size
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert 50 < chi_square < 160  # 99 degrees of freedom: both tails below 1e-4
    assert np.abs(np.corrcoef(numbers.T) - np.eye(50)).max() < 0.12  # 5 standard errors
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 0.02


def test_uniforms_are_the_same_on_every_machine() -> None:
    drawn = uniforms(1, 2, np.array([3], dtype=np.uint64), 2)
    assert [number.hex() for number in drawn[0].tolist()] == ["0x1.6bed1a0af5d1ep-2", "0x1.db8414de15fb9p-1"]
