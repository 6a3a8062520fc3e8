"""Shards: whatever comes in batches is what numpy reads; files are whole, or they are not there."""

import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.data.build.shard_writer import ShardWriter
from trainable.data.store.codecs import LatentFormat, dequantise
from trainable.data.store.shards import Part, shard_file
from trainable.data.store.targets import encode
from trainable.hashing import digest

TOKENS, VALUES, DIM = 3, 5, 4
NAME = "train-00000"

KINDS: tuple[LatentFormat, ...] = ("float16", "int8")
batches = st.lists(st.integers(1, 5), max_size=6)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def file(folder: Path, part: Part) -> Path:
    return shard_file(folder, NAME, part)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(sizes=batches, seed=st.integers(0, 100))
def test_what_is_appended_in_any_batches_is_what_numpy_reads(kind: LatentFormat, sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (sum(sizes), TOKENS, VALUES), dtype=np.uint8)
    latents = torch.from_numpy(rng.normal(size=(sum(sizes), TOKENS, DIM)).astype(np.float32))
    whole = encode(latents, kind)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ShardWriter(folder, NAME) as writer:
            for rows in np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1]) if sizes else []:
                starts = [writer.add_pixels(pixels[row]) for row in rows]
                assert starts == rows.tolist()
                writer.add_latents(encode(latents[rows.tolist()], kind))
        if not sizes:
            assert files(folder) == set()
            return
        assert files(folder) == {
            f"{NAME}.{part}.npy" for part in ("pixels", "latents", *(("scales",) * (kind == "int8")))
        }
        for part, expected in (("pixels", pixels), ("latents", whole.latents), ("scales", whole.scales)):
            if expected is None:
                continue
            for mode in (None, "r"):
                read = np.load(file(folder, part), mmap_mode=mode, allow_pickle=False)  # type: ignore[arg-type]
                assert (read.dtype, read.shape) == (expected.dtype, expected.shape)
                assert (read == expected).all()
    facts = writer.latent_facts()
    stored = dequantise(whole.latents, whole.scales).astype(np.float64)
    rows_of = [(row,) if whole.scales is None else (row, whole.scales[at]) for at, row in enumerate(whole.latents)]
    assert facts["digests"] == [digest(*row) for row in rows_of]
    assert facts["tokens"] == sum(sizes) * TOKENS
    np.testing.assert_allclose(facts["total"], stored.sum(axis=(0, 1)), atol=1e-4)
    np.testing.assert_allclose(facts["square_total"], np.square(stored).sum(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(facts["squared_error"], np.square(stored - latents.numpy()).sum(), rtol=1e-3, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(jpegs=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=20))
def test_jpegs_lie_one_after_the_other_where_it_says(jpegs: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ShardWriter(folder, NAME) as writer:
            starts = [writer.add_pixels(np.frombuffer(jpeg, dtype=np.uint8)) for jpeg in jpegs]
        shard = np.load(file(folder, "pixels"), allow_pickle=False)
    assert shard.dtype == np.uint8
    assert shard.tobytes() == b"".join(jpegs)
    for start, jpeg in zip(starts, jpegs, strict=True):
        assert shard[start : start + len(jpeg)].tobytes() == jpeg


def test_a_shard_of_latents_alone_has_no_pixels(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, NAME) as writer:
        writer.add_latents(encode(torch.ones(2, TOKENS, DIM), "int8"))
    assert files(tmp_path) == {f"{NAME}.latents.npy", f"{NAME}.scales.npy"}


def test_a_shard_without_rows_has_no_file_and_no_facts(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, NAME) as writer:
        pass
    assert files(tmp_path) == set()
    assert writer.latent_digests == []


def write_some(folder: Path, rows: int) -> ShardWriter:
    """A writer that is open, with so many rows in it."""
    writer = ShardWriter(folder, NAME).__enter__()
    for row in range(rows):
        writer.add_pixels(np.full((TOKENS, VALUES), row, dtype=np.uint8))
        writer.add_latents(encode(torch.full((1, TOKENS, DIM), float(row)), "int8"))
    return writer


def test_nothing_has_its_name_before_all_of_it_is_there(tmp_path: Path) -> None:
    writer = write_some(tmp_path, 3)
    assert not list(tmp_path.glob(f"{NAME}*"))
    writer.__exit__(None, None, None)
    assert files(tmp_path) == {f"{NAME}.{part}.npy" for part in ("pixels", "latents", "scales")}


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_an_error_leaves_nothing_and_harms_nothing(tmp_path: Path, rows: int) -> None:
    file(tmp_path, "pixels").write_bytes(b"from before")

    def fail() -> None:
        with ShardWriter(tmp_path, NAME) as writer:
            for _ in range(rows):
                writer.add_pixels(np.zeros((TOKENS, VALUES), dtype=np.uint8))
                writer.add_latents(encode(torch.ones(1, TOKENS, DIM), "int8"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert files(tmp_path) == {f"{NAME}.pixels.npy"}
    assert file(tmp_path, "pixels").read_bytes() == b"from before"


@pytest.mark.parametrize("rows", [1, 300])
def test_a_full_disk_leaves_nothing(tmp_path: Path, rows: int) -> None:
    """Also where the last bytes are written only as the shard is finished."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def write() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            with ShardWriter(tmp_path, NAME) as writer:
                for _ in range(rows):
                    writer.add_pixels(np.zeros((TOKENS, 1000), dtype=np.uint8))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.raises(OSError, match="File too large"):
        write()
    assert files(tmp_path) == set()


def test_a_folder_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    def write() -> None:
        with ShardWriter(tmp_path / "gone", NAME) as writer:
            writer.add_pixels(np.zeros((TOKENS, VALUES), dtype=np.uint8))

    with pytest.raises(FileNotFoundError):
        write()
    assert files(tmp_path) == set()
