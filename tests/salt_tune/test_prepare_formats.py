"""The formats of pixels and latents, views and flips, and what is said of bytes and time beforehand."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.faults.conftest import SMALL, assert_well, content, here, listing, many_videos, refused, started, wait_until
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.targets import normalise
from trainable.data.video.crops import names_direction
from trainable.data.video.reader import read_clip
from trainable.teachers.pixel import PixelTeacher

__all__ = ["here", "many_videos", "refused", "started"]  # fixtures

Run = Callable[..., subprocess.CompletedProcess[str]]

UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
SIZES = re.compile(
    r"^(\d+) clips in (\d+) rows: pixels ([\d.,]+ \w+) \(\w+\) \+ latents ([\d.,]+ \w+) \(\w+\) = ([\d.,]+ \w+)"
    r"(?:, (\d+)% of it still to write)?; [\d.,]+ \w+ free$",
    re.MULTILINE,
)


def said(output: str) -> tuple[int, float, float, float]:
    """Rows, and bytes of pixels, latents and both, as the command announces them."""
    found = SIZES.search(output)
    assert found, output
    sizes = [float(number.replace(",", "")) * UNITS[unit] for number, unit in (found[n].split() for n in (3, 4, 5))]
    return int(found[2]), sizes[0], sizes[1], sizes[2]


def taken(store: Path, *parts: str) -> int:
    return sum(file.stat().st_size for part in parts for file in store.glob(f"*.{part}.npy"))


# Each format of either once; the other pairs with `make test-all`.
@pytest.mark.parametrize(
    ("pixels", "latents"),
    [
        ("raw", "float16"),
        ("jpeg", "int8"),
        ("none", "float16"),
        pytest.param("raw", "int8", marks=pytest.mark.slow),
        pytest.param("jpeg", "float16", marks=pytest.mark.slow),
        pytest.param("none", "int8", marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_format(here: Run, videos: Path, store_path: Path, tmp_path: Path, pixels: str, latents: str) -> None:
    formats = ("--pixels", pixels, "--latents", latents)
    arguments = (videos, "--store", "new/store", *SMALL, *formats, "--workers", 1, "--teacher-weights", store_path)
    announced = here(*arguments, "--dry-run")
    assert_well(announced)
    assert re.search(r"^about \d+ s: decode \d+ s, latents \d+ s$", announced.stdout, re.MULTILINE)
    assert listing(tmp_path) == set()
    assert_well(here(*arguments))
    store = ClipStore.open(tmp_path / "new" / "store")
    assert (store.pixel_format, store.latent_format) == (pixels, latents)

    rows, pixel_bytes, latent_bytes, both = said(announced.stdout)
    assert rows == 48
    assert pixel_bytes == pytest.approx(taken(store.path, "pixels"), rel=0.25 if pixels == "jpeg" else 0.02)
    assert latent_bytes == pytest.approx(taken(store.path, "latents", "scales"), rel=0.02)
    assert both == pytest.approx(pixel_bytes + latent_bytes, rel=0.02)
    assert_halves_fit(store, store_path)


def assert_halves_fit(store: ClipStore, teacher_store: Path) -> None:
    """Pixels are the video's, and latents the teacher's of the pixels as a student will see them."""
    teacher = PixelTeacher(teacher_store / "teacher", "cpu")
    for clips in (store.train, store.val):
        for number in range(0, len(clips), 7):
            pixels = store.pixels(clips, number)
            decoded = read_clip(store.videos / clips.videos[number], store.view)[0][0]
            if store.pixel_format == "jpeg":
                assert 0 < np.abs(pixels.astype(float) - decoded).mean() < 4
            else:
                np.testing.assert_array_equal(pixels, decoded)
            expected = normalise(teacher.latents(torch.from_numpy(pixels.copy())[None]), "layer_norm")[0].numpy()
            off = 2e-3 if store.latent_format == "float16" else np.abs(expected).max() / 127
            np.testing.assert_allclose(store.latents(clips, number), expected, atol=off)


@pytest.mark.parametrize(
    "flips", ["undirected", *(pytest.param(name, marks=pytest.mark.slow) for name in ("all", "none"))]
)
def test_views_and_flips(here: Run, videos: Path, store_path: Path, tmp_path: Path, flips: str) -> None:
    arguments = (videos, "--store", "store", *SMALL, "--workers", 1, "--teacher-weights", store_path)
    done = here(*arguments, "--views", 3, "--flips", flips)
    assert_well(done)
    assert said(done.stdout)[0] == 32 * 3 + 16
    assert "48 clips" in done.stdout
    assert "8 x 32 x 32 in 64 tokens, 3 views, latents 128 wide by pixel" in done.stdout
    store = ClipStore.open(tmp_path / "store")
    assert (store.view.views, store.view.flips, store.train.views, store.val.views) == (3, flips, 3, 1)
    rows = pq.read_table(store.path / "index.parquet").to_pylist()
    flipped = {(row["id"], row["label"]) for row in rows if row["flip"]}
    assert bool(flipped) == (flips != "none")
    assert any(names_direction(store.labels[label]) for _, label in flipped) == (flips == "all")
    assert not any(row["flip"] for row in rows if row["view"] == 0 or row["split"] == "val")
    first, second = (store.pixels(store.train, 0, view) for view in (0, 1))
    assert np.abs(first.astype(int) - second).mean() > 1


def test_a_dry_run_of_synthetic_videos_leaves_nothing(here: Run, tmp_path: Path) -> None:
    done = here("--synthetic", 16, "--store", "deep/down/store", "--dry-run")
    assert_well(done)
    assert said(done.stdout)[0] == 16
    assert listing(tmp_path) == set()


def test_what_is_still_to_do(
    here: Run, many_videos: Path, tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    arguments = (many_videos, "--store", "store", *SMALL, "--workers", 1, "--teacher-epochs", 200)
    process = started(tmp_path, *arguments)
    partial = tmp_path / "store.partial"
    wait_until(lambda: (partial / "teacher" / "reports.jsonl").exists(), process)
    process.kill()
    process.communicate(timeout=600)
    before = content(partial)
    done = here(*arguments, "--dry-run")
    assert_well(done)
    found = SIZES.search(done.stdout)
    assert found
    assert found[6] == "40"  # all latents, at 256 bytes a token beside 384 of pixels
    assert "decode 0 s, teacher " in done.stdout
    assert content(partial) == before
    other = here(*arguments, "--latents", "int8", "--dry-run")
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert "with other arguments" in other.stderr
    assert "--overwrite" in other.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--pixels", "jpeg", "--frames", 300, "--size", 224), ["pixels = 'jpeg'", "at most 65500"]),
        (("--pixels", "png"), ["--pixels", "png", "raw"]),
        (("--latents", "float32"), ["--latents", "float32", "float16"]),
        (("--views", 0), ["--views", "0"]),
        (("--flips", "some"), ["--flips", "some", "undirected"]),
        (("--workers", 0), ["--workers", "0"]),
        (("--teacher", "dino"), ["--teacher", "dino", "videomaev2_base"]),
        (("--store", "."), ["holds something that is not a clip store"]),
    ],
)
def test_what_cannot_be(
    refused: Callable[..., str],
    videos: Path,
    tmp_path: Path,
    flags: tuple[object, ...],
    words: list[str],
) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    line = refused(videos, *flags)
    for word in words:
        assert word in line
