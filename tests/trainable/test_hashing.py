"""Checksums see every byte; what is drawn for a clip is the same everywhere."""

import hashlib

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from trainable.hashing import clip_key, digest

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
