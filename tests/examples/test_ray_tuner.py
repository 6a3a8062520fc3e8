"""A task runs in Ray's own Tuner, beside Ray's own scheduler."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment_of_commands
from tests.salt_tune.conftest import MINUTES
from trainable.errors import UserError
from trainable.ray_trainable import MARKER, TaskTrainable

# In a process of its own, whose Ray is gone with it.
PROGRAM = """
import json, sys
from pathlib import Path
import ray
from examples.ray_tuner.tuner import search

folder = Path(sys.argv[1])
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
found = search(folder, folder / "runs", 4, "tests.toy_task:ToyTask")
results = [result.metrics for result in found]
print(json.dumps({"errors": found.num_errors, "best": found.get_best_result().metrics["val_loss"], "results": results},
    default=str))
"""


def test_it_is_searched_by_ray(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT, env=environment_of_commands(), capture_output=True, text=True, timeout=MINUTES, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["errors"] == 0 and len(told["results"]) == 4
    assert told["best"] == min(result["val_loss"] for result in told["results"])
    assert {result["status"] for result in told["results"]} <= {"running", "complete"}
    assert max(result["resource"] for result in told["results"]) == 3
    assert len({result["trial"] for result in told["results"]}) == 4
    kept = {path.stem for path in (tmp_path / "runs" / "checkpoints").iterdir()}
    assert kept == {result["trial"] for result in told["results"]}


def make(folder: Path, **trial: object) -> TaskTrainable:
    """A trial of the toy task, as Tune makes one."""
    budget = {"kind": "epoch", "full": 2.0, "points": [1.0, 2.0], "probe_points": [2.0]}
    run = {"task": "tests.toy_task:ToyTask", "data": str(folder), "evaluation": {}, "budget": budget, "threads": 1,
           "checkpoints": str(folder / "checkpoints"), "device": "cpu",
           "clip_losses": str(folder / "{trial}-{resource}.parquet")}  # fmt: skip
    return TaskTrainable({"run": run, "trial": trial})


@pytest.fixture(autouse=True)
def _rays_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "ray"))


def test_it_goes_on_from_its_marker(tmp_path: Path) -> None:
    trial = make(tmp_path, lr=1e-3)
    first = trial.train()
    trial.save(str(tmp_path / "saved"))
    trial.stop()
    again = make(tmp_path, lr=1e-3)
    again.restore(str(tmp_path / "saved"))
    last = again.train()
    again.stop()
    assert [(result["resource"], result["done"], result["status"]) for result in (first, last)] == [
        (1.0, False, "running"),
        (2.0, True, "complete"),
    ]
    assert last["report"]["val_loss"] == last["val_loss"] and "probe_top1" not in first and "probe_top1" in last


def test_what_cannot_go_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fate = 'failed': take another one"):
        make(tmp_path, fate="failed").train()


def test_it_does_not_take_the_weights_of_another_trial(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / MARKER).write_text(json.dumps({"trial": "another", "known": 1.0}))
    with pytest.raises(UserError, match="trial default cannot go on from the checkpoint of another"):
        make(tmp_path).load_checkpoint(tmp_path / "saved")
