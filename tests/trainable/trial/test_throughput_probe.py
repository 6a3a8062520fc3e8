"""A throw-away training says how fast it is as long as something reads; `resources/test_packing.py` kills it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.trainable.small import SMALL
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.config import EvaluationConfig

pytestmark = pytest.mark.slow  # resources/test_packing.py starts one by default
EVALUATION = EvaluationConfig(clips=8, panel_clips=16, batch_size=8).to_dict()


def start(store: Path) -> "subprocess.Popen[str]":
    shared = {"device": "cpu", "threads": 1, "cores": 1, "evaluation": EVALUATION}
    task = json.dumps({"store": str(store), "hyperparameters": SMALL.to_dict(), **shared})
    words = [sys.executable, "-m", "trainable.trial.throughput_probe", task]
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
