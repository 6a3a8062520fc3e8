"""Driven as Ray drives it: one actor takes trial after trial, which pause, go on, and run out of memory."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.trainable.small import assert_equal_tensors
from tests.trainable.trials import POINTS, clip_losses, make_run, make_trial, told
from trainable.data.store.clip_store import ClipStore
from trainable.ray_trainable import TaskTrainable
from trainable.worker import RunSpec, TrialSpec

Actor = Callable[..., TaskTrainable]


def told_by_ray(trial: TrialSpec, run: RunSpec) -> dict[str, Any]:
    """What Ray hands over."""
    return {"trial": asdict(trial), "run": asdict(run)}


@pytest.fixture
def actor(tmp_path: Path, store: ClipStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Actor]:
    """Starts actors with a trial; files of all trials go to `tmp_path`."""
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "ray"))
    started: list[TaskTrainable] = []

    def make(trial: TrialSpec) -> TaskTrainable:
        started.append(TaskTrainable(told_by_ray(trial, make_run(tmp_path, store))))
        return started[-1]

    yield make
    for made in started:
        made.stop()


def test_a_result_has_what_schedulers_ask_for(actor: Actor) -> None:
    running = actor(make_trial("T0"))
    results = [running.train() for _ in POINTS]
    for result in results:
        report = result["report"]
        assert {name: result[name] for name in ("trial", "resource", "epoch", "status", "val_loss", "val_r2")} == {
            name: report[name] for name in ("trial", "resource", "epoch", "status", "val_loss", "val_r2")
        }
    assert [result["done"] for result in results] == [False, False, False, True]
    assert [result["resource"] for result in results] == POINTS
    assert ["probe_top1" in result for result in results] == [False, True, False, True]


def test_trials_take_turns_in_one_actor_and_are_as_if_alone(actor: Actor, tmp_path: Path, store: ClipStore) -> None:
    run = make_run(tmp_path, store)
    trials = {"T0": make_trial("T0"), "T1": make_trial("T1", predictor_depth=2, batch_size=4)}
    running, paused, reports = actor(trials["T0"]), {}, {name: [] for name in trials}  # type: ignore[var-annotated]
    for turn in range(2 * len(POINTS)):
        name = f"T{turn % 2}"
        if turn:
            assert running.reset(told_by_ray(trials[name], run))
        if name in paused:  # Ray knows nothing newer than what it started with, but for its own checkpoint
            running.restore(paused[name])
        reports[name].append(running.train()["report"])
        paused[name] = running.save()

    for name, trial in trials.items():
        alone = actor(replace(trial, id=f"{name}-alone"))
        expected = [alone.train()["report"] for _ in POINTS]
        assert [told(report) for report in reports[name]] == [{**told(report), "trial": name} for report in expected]
        assert clip_losses(tmp_path, name) == clip_losses(tmp_path, f"{name}-alone")
        assert_equal_tensors(
            load_file(tmp_path / "checkpoints" / f"{name}.safetensors"),
            load_file(tmp_path / "checkpoints" / f"{name}-alone.safetensors"),
        )


def test_rays_own_checkpoint_is_a_marker(actor: Actor, tmp_path: Path) -> None:
    running = actor(make_trial())
    running.train()
    running.save(str(tmp_path / "saved"))
    (file,) = (tmp_path / "saved").glob("*.json")
    assert json.loads(file.read_text()) == {"trial": "T0", "known": 0.5}


@pytest.mark.parametrize(("known", "first"), [(0.0, 0.5), (0.5, 1.0)])
def test_an_actor_that_died_is_followed_by_one_that_knows(actor: Actor, known: float, first: float) -> None:
    """With Ray's marker lost, what the driver says it has decides whether the report is given again."""
    report = actor(make_trial()).train()["report"]
    again = actor(make_trial(known=known)).train()["report"]
    assert again["resource"] == first
    assert (again == report) is (first == 0.5)


def test_what_another_process_could_not_do_either_is_a_result(actor: Actor, tmp_path: Path, store: ClipStore) -> None:
    running = actor(make_trial("T0"))
    first = running.train()
    damaged = tmp_path / "checkpoints" / "T1.safetensors"
    damaged.write_bytes(b"cut off")
    assert running.reset(told_by_ray(make_trial("T1"), make_run(tmp_path, store)))
    result = running.train()
    assert (result["status"], result["resource"], result["done"]) == ("failed", 0.0, True)
    assert result["report"]["error"].startswith(f"{damaged}: ")
    assert running.reset(told_by_ray(make_trial("T2"), make_run(tmp_path, store)))
    assert running.train()["val_loss"] == first["val_loss"]


def test_hyperparameters_that_do_not_fit_are_a_result_of_the_first_and_of_later_trials(
    actor: Actor, tmp_path: Path, store: ClipStore
) -> None:
    fits = make_trial("T0")
    wrong = replace(fits, config={**fits.config, "predictor_dim": 100})
    running = actor(wrong)
    for _ in range(2):
        result = running.train()
        assert (result["status"], result["resource"], result["done"]) == ("failed", 0.0, True)
        assert result["report"]["error"].startswith("predictor_dim = 100: must be divisible by 64 (a head), such as")
        assert running.reset(told_by_ray(make_trial("T1"), make_run(tmp_path, store)))
        assert running.train()["status"] == "running"
        assert running.reset(told_by_ray(replace(wrong, id="T2"), make_run(tmp_path, store)))


# In one actor, with 600 MB of memory: a trial that fits; one whose weights fit, but not their gradients and moments;
# one whose weights do not; then one that fits again.
CROWDED = """
import json, resource, sys
from dataclasses import asdict
from pathlib import Path
from tests.trainable.trials import make_run, make_trial
from trainable.data.store.clip_store import ClipStore
from trainable.ray_trainable import TaskTrainable
import ray.tune.trainable.trainable as ray_trainable

ray_trainable.DEFAULT_STORAGE_PATH = sys.argv[2]
run = asdict(make_run(Path(sys.argv[2]), ClipStore.open(sys.argv[1])))
actor = TaskTrainable({"trial": asdict(make_trial("first")), "run": run})
results = [actor.train()]
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData:")) << 10
resource.setrlimit(resource.RLIMIT_DATA, (used + 600 * 2**20,) * 2)
for name, changes in {
    "in a step": {"predictor_dim": 1920},
    "in the model": {"predictor_dim": 16384},
    "last": {},
}.items():
    assert actor.reset({"trial": asdict(make_trial(name, **changes)), "run": run})
    results.append(actor.train())
actor.stop()
kept = ("trial", "status", "resource", "done", "val_loss")
print(json.dumps([{key: result[key] for key in kept} | {"step": result["report"]["step"]} for result in results]))
"""


@pytest.mark.slow  # test_trial_faults.py runs out of memory by default
def test_an_actor_survives_trials_that_run_out_of_memory(tmp_path: Path, store_path: Path) -> None:
    command = [sys.executable, "-c", CROWDED, str(store_path), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    first, in_a_step, in_the_model, last = json.loads(done.stdout.splitlines()[-1])
    for lost in (in_a_step, in_the_model):
        assert (lost["status"], lost["resource"], lost["step"], lost["done"]) == ("out_of_memory", 0.0, 0, True)
        assert lost["val_loss"] != lost["val_loss"]
    assert (first["status"], last["status"]) == ("running", "running")
    assert first["val_loss"] == last["val_loss"]
    assert sorted(file.stem for file in (tmp_path / "checkpoints").iterdir()) == ["first", "last"]
