"""Many files of which one in 25 is bad: those are skipped and named, and move no other."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, complaints
from tests.faults.conftest import write_video
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.reader import read_clip
from trainable.data.video.view import View
from trainable.hashing import digest

Here = Callable[..., subprocess.CompletedProcess[str]]

MANY, VERY_MANY, FEW, VERY_FEW = 300, 10_000, 100, 64
BAD = 25  # one in so many
MOST_GROWTH_MB = {MANY: 40, VERY_MANY: 100}  # of memory, from FEW files to so many
VIEW = View(frames=2, size=16, patch=8, tubelet=2)
FLAGS = ("--frames", 2, "--size", 16, "--patch", 8, "--workers", 2)
GOOD = 9

# Says on the standard error how many MB the process, without its workers, took at most.
MEASURED = """
import atexit, resource, runpy, sys
if __name__ == "__main__":
    peak = lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
    atexit.register(peak)
    from salt_tune.prepare import main
    main()
"""


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], dict[str, Path]]:
    """Good videos, the last of one frame, and bad ones by what their reasons say."""
    folder = tmp_path_factory.mktemp("samples")
    good = [write_video(folder / f"good{n}.webm", 2 + n) for n in range(GOOD - 1)]
    good.append(write_video(folder / "one frame.mp4", 1, codec="mpeg4"))
    whole = good[-2].read_bytes()
    contents = {"is not a readable video": b"", "Invalid data": b"just text\n" * 50, "is cut short": whole[:-200]}
    bad = {reason: folder / f"bad{number}.webm" for number, reason in enumerate(contents)}
    for reason, path in bad.items():
        path.write_bytes(contents[reason])
    bad["holds no video stream"] = write_video(folder / "sound.webm", 0, sound=True)
    return good, bad


def link_all(folder: Path, count: int, samples: tuple[list[Path], dict[str, Path]]) -> dict[str, str]:
    """Fills a folder with links, in ten classes; the ids of the bad ones, with what should be said of each."""
    good, bad = samples
    wrong: dict[str, str] = {}
    for number in range(count):
        clip = f"class {number % 10}/{number:05d}"
        reason = list(bad)[number // BAD % len(bad)] if number % BAD == 12 else None
        video = good[number % GOOD] if reason is None else bad[reason]
        target = folder / f"{clip}{video.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(video, target)
        if reason is not None:
            wrong[clip] = reason
    return wrong


def run_measured(folder: Path, *arguments: object) -> tuple[str, int]:
    """Runs the command; what it says, and the most memory that its own process took, in MB."""
    (folder / "measured.py").write_text(MEASURED)
    done = subprocess.run(
        [sys.executable, "measured.py", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, int(complaints(done.stderr))


@pytest.mark.slow  # test_bad_videos.py has one of each kind
@pytest.mark.parametrize("count", [MANY, VERY_MANY])
def test_the_bad_ones_are_skipped_and_named(
    samples: tuple[list[Path], dict[str, Path]], here: Here, tmp_path: Path, count: int
) -> None:
    for name, files in (("few", FEW), ("very few", VERY_FEW)):
        link_all(tmp_path / name, files, samples)
    wrong = link_all(tmp_path / "videos", count, samples)
    teacher = tmp_path / "teacher"
    assert here("very few", "--store", "teacher", "--teacher-epochs", 1, *FLAGS).returncode == 0
    flags = (*FLAGS, "--teacher-weights", teacher)
    _, less = run_measured(tmp_path, "few", "--store", "less", *flags)
    output, more = run_measured(tmp_path, "videos", "--store", "store", *flags)
    assert more - less < MOST_GROWTH_MB[count], "memory grows with the number of clips"

    store = ClipStore.open(tmp_path / "store")
    skipped: dict[str, Any] = {clip["id"]: clip for clip in store.manifest["skipped"]}
    assert len(wrong) == count // BAD
    assert skipped.keys() == wrong.keys()
    for clip, reason in wrong.items():
        assert reason in skipped[clip]["reason"]
        assert f"{clip}.webm" in skipped[clip]["reason"]
    assert output.count("\n  skipped ") == 10
    assert f"... and {len(wrong) - 10} more; all are named in the store's manifest.json" in output
    assert f", {len(wrong)} skipped;" in output
    assert len(store.train) + len(store.val) == count - len(wrong)
    assert_pixels(store, samples[0])


def assert_pixels(store: ClipStore, good: list[Path]) -> None:
    """Every clip has the pixels of its own video: no skipped one moved another."""
    digests = [digest(read_clip(video, VIEW)[0][0]) for video in good]
    assert len(set(digests)) == GOOD
    for clips in (store.train, store.val):
        for number, name in enumerate(clips.ids):
            assert clips.digests[number, 0, 0] == digests[int(name[-5:]) % GOOD]
            if number % 97 == 0:
                row = store.pixels(clips, number)
                np.testing.assert_array_equal(row, read_clip(store.videos / clips.videos[number], VIEW)[0][0])
