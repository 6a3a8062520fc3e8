"""Hashes: what is drawn for a clip follows from its name, and what is stored of it can be checked."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

UInts = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


def clip_key(clip_id: str) -> int:
    """Returns a 64-bit hash of a clip's name, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(clip_id.encode(), digest_size=8).digest(), "little")


def digest(*arrays: npt.NDArray[np.generic]) -> int:
    """Hashes the bytes of contiguous arrays, one after the other (XXH3, 64 bits): a checksum at the speed of memory."""
    state = xxhash.xxh3_64()
    for array in arrays:
        state.update(array.reshape(-1).view(np.uint8).data)
    return state.intdigest()


def file_sha256(path: Path) -> str:
    """Hashes a file: SHA-256, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def uniforms(seed: int, epoch: int, keys: UInts, count: int) -> Floats:
    """Draws `count` uniform numbers in [0, 1) a key, shape (keys, count): a pure function of (seed, epoch, key)."""
    stream = _mix(_mix(_mix(np.uint64(seed)) + np.uint64(epoch)) + keys)
    counters = np.arange(1, count + 1, dtype=np.uint64)
    mixed = _mix(stream[:, None] + counters * np.uint64(0x9E3779B97F4A7C15))
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(value: UInts | np.uint64) -> UInts:
    """Applies the finaliser of SplitMix64 (Steele, Lea and Flood, 2014); wraps around on purpose."""
    mixed = np.atleast_1d(np.asarray(value, dtype=np.uint64))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
