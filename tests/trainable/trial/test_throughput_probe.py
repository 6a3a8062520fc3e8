"""A throw-away training says how fast it is as long as something reads; `resources/test_packing.py` kills it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.trainable.small import JUDGED, SMALL, probe_task
from trainable.data.store.clip_store import ClipStore

pytestmark = pytest.mark.slow  # resources/test_packing.py starts one by default


def start(store: Path) -> "subprocess.Popen[str]":
    task = {**probe_task(store), "evaluation": JUDGED}
    words = [sys.executable, "-m", "trainable.trial.throughput_probe", json.dumps(task)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_trains_on_until_nothing_reads_any_more(store: ClipStore) -> None:
    with start(store.path) as process:
        assert process.stdout is not None and process.stderr is not None
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        process.stdout.close()
        assert (process.wait(300), process.stderr.read()) == (0, "")
    assert first.keys() == {"time", "step", "clips", "ram"} and first["clips"] == SMALL.batch_size
    assert second["step"] > first["step"] and second["time"] > first["time"]


def test_what_it_cannot_train_is_its_last_line(tmp_path: Path) -> None:
    with start(tmp_path / "nowhere") as process:
        output, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    assert "nowhere" in json.loads(output)["error"]
