"""A store larger than the memory a trial may take: it is read through the page cache, by all trials together."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.small_store import build_store
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.view import View

CLIPS = 260
HEADROOM_MB = 48

# Trains through the whole store with little more writable memory than it has after two steps, and says what it took.
TRIAL = """
import json, resource, sys
import torch
from tests.trainable.small import SMALL
from trainable.data.store.clip_store import ClipStore
from trainable.train.training import Training

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(name + ":"))

torch.set_num_threads(1)
training = Training(SMALL.replace(batch_size=4, epochs=1), ClipStore.open(sys.argv[1]), device="cpu")
training.train_to(2)
before = status("RssAnon")
limit = (status("VmData") + int(sys.argv[2])) << 20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
training.train_to(training.total_steps)
mapped = [line.split() for line in open("/proc/self/smaps") if line.split()[0] in ("Anonymous:",) or ".npy" in line]
private = [int(after[1]) for line, after in zip(mapped, mapped[1:]) if ".npy" in line[-1]]
print(json.dumps({"steps": training.step, "grown": status("RssAnon") - before, "private": private}))
training.close()
"""


@pytest.fixture(scope="module")
def large_store(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> Path:
    """260 clips of 16 x 112 x 112: 156 MB of pixels, of 16 videos under many names."""
    folder = tmp_path_factory.mktemp("large")
    originals = sorted(videos.glob("*.webm"))[:16]
    for number in range(CLIPS):
        link = folder / "videos" / f"class {number % 4}" / f"{number}.webm"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(originals[number % len(originals)])
    return build_store(folder / "store", folder / "videos", view=View(16, 112)).path


@pytest.mark.slow  # a store of 156 MB
def test_trials_read_a_store_larger_than_their_memory_without_a_copy(large_store: Path) -> None:
    size = sum(file.stat().st_size for file in large_store.glob("*.npy")) >> 20
    assert size > 3 * HEADROOM_MB
    command = [sys.executable, "-c", TRIAL, str(large_store), str(HEADROOM_MB)]
    trials = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    steps = len(ClipStore.open(large_store).train) // 4
    for trial in trials:
        output, _ = trial.communicate(timeout=600)
        assert trial.returncode == 0
        took = json.loads(output)
        assert took["steps"] == steps
        assert took["grown"] < HEADROOM_MB
        assert took["private"]
        assert not any(took["private"]), "pages of the store that the trials do not share"
