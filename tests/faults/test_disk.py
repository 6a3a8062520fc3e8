"""Disks that are too small, that fill up while a store grows, or that cannot be written to."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, complaints
from tests.faults.conftest import MINUTES, SMALL, refusal

LOW, AMPLE = "2m", "48m"


@pytest.fixture
def on_small_disk(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a shell script whose `disk/` is a memory disk of a few megabytes; `$PREPARE` is the command."""
    probe = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"],  # noqa: S607
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if probe.returncode:
        pytest.skip(f"this machine lets no user mount a disk of their own: {probe.stderr.strip()}")
    (tmp_path / "disk").mkdir()

    def run(script: str, size: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "salt_tune.prepare", *map(str, arguments), *map(str, SMALL), "--workers", "2"]
        mount = f"mount -t tmpfs -o size={size} tmpfs disk"
        return subprocess.run(
            ["unshare", "-Urm", "sh", "-c", f"{mount} && {script}"],  # noqa: S607
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE", "PREPARE": shlex.join(words)},
            capture_output=True,
            text=True,
            timeout=MINUTES,
            check=False,
        )

    return run


Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_disk_that_cannot_hold_the_store(on_small_disk: Run, many_videos: Path, store_path: Path) -> None:
    script = 'sh -c "$PREPARE"; code=$?; find disk; exit $code'
    done = on_small_disk(script, LOW, many_videos, "--store", "disk/new/store", "--teacher-weights", store_path)
    line = refusal(done)
    for words in ("disk/new/store: the store needs 5.9 MB more", "2.1 MB free", "--latents int8", "--pixels jpeg"):
        assert words in line
    assert done.stdout.endswith("\ndisk\n"), "it left something behind"


# Fills the disk as soon as the first shard is whole, whatever is deleted on it, until the command has given up.
FILLS = """
(until ls disk/store.partial/{until} >/dev/null 2>&1; do sleep 0.01; done
 until [ -e first.code ]; do cat /dev/zero >> disk/film 2>/dev/null; sleep 0.03; done) &
sh -c "$PREPARE" > first.out 2> first.err; echo $? > first.code
wait
ls -A disk/store.partial disk/store.partial/shards > listing
rm disk/film
sh -c "$PREPARE" && cp -r disk/store good
"""


@pytest.mark.slow  # test_search_disk.py fills one as a search writes
@pytest.mark.parametrize(
    ("until", "flags"),
    [
        pytest.param("shards/train-00000.pixels.json", ("--teacher-weights", "STORE"), id="as shards are written"),
        pytest.param("teacher/reports.jsonl", ("--teacher-epochs", 12), id="as the teacher is trained"),
    ],
)
def test_a_disk_that_fills_up(
    on_small_disk: Run, many_videos: Path, store_path: Path, tmp_path: Path, until: str, flags: tuple[object, ...]
) -> None:
    flags = tuple(store_path if flag == "STORE" else flag for flag in flags)
    done = on_small_disk(FILLS.format(until=until), AMPLE, many_videos, "--store", "disk/store", *flags)
    errors = (tmp_path / "first.err").read_text()
    assert (tmp_path / "first.code").read_text() == "2\n", errors
    assert complaints(errors).startswith("error: ")
    assert complaints(errors).count("\n") == 1, errors
    assert "No space left on device; free some space, then run the same command again" in errors
    assert "disk/store" in errors
    left = (tmp_path / "listing").read_text().splitlines()
    assert "train-00000.pixels.json" in left
    assert not [name for name in left if name.endswith(".tmp")]
    assert (done.returncode, complaints(done.stderr)) == (0, ""), f"{done.stdout}\n{done.stderr}"
    assert "of it still to write" in done.stdout
    assert_good(tmp_path / "good")


def assert_good(path: Path) -> None:
    """Every row of a store agrees with its checksum, which a reader compares."""
    from trainable.data.store.clip_store import ClipStore

    store = ClipStore.open(path)
    for clips in (store.train, store.val):
        for clip in range(len(clips)):
            store.pixels(clips, clip)
            store.latents(clips, clip)
    assert len(store.train) + len(store.val) == 144
    assert json.loads((path / "manifest.json").read_text())["skipped"] == []


def test_a_disk_that_is_read_only(on_small_disk: Run, videos: Path, store_path: Path) -> None:
    script = 'mount -o remount,ro disk && sh -c "$PREPARE"'
    line = refusal(on_small_disk(script, AMPLE, videos, "--store", "disk/new/store", "--teacher-weights", store_path))
    assert "disk/new" in line
    assert "Read-only file system" in line


def test_a_file_where_a_folder_should_be(
    refused: Callable[..., str], videos: Path, store_path: Path, tmp_path: Path
) -> None:
    shutil.copy(videos / "1.webm", tmp_path / "file")
    line = refused(videos, "--store", "file/s", *SMALL, "--teacher-weights", store_path)
    assert "file/s" in line
    assert "Not a directory" in line
