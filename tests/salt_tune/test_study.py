"""The Optuna study in the run directory: others read it while it is written, and whatever became of its writer."""

import json
import math
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

from salt_tune.searcher import Proposal, proposal
from salt_tune.space import SearchSpace
from salt_tune.study import StudyView
from trainable.errors import UserError

ROOT = Path(__file__).parents[2]
SPACE = SearchSpace.model_validate(
    {
        "name": "s",
        "parameters": {
            "lr": {"type": "log_uniform", "low": 1e-5, "high": 1e-1},
            "loss": {"type": "choice", "values": ["mse", "l1"]},
            "predictor_depth": {"type": "int", "low": 1, "high": 4, "when": {"loss": "l1"}},
        },
        "start_from": [{"batch_size": 4, "lr": 1.0}],
        "objective": "val_r2",
        "schedule": {"epochs": 3, "rungs": [1], "reports": 2},
        "trials": 9,
    }
)

READER = """
import json, sys, optuna
study = optuna.load_study(study_name="run", storage="sqlite:///" + sys.argv[1])
print(json.dumps([study.direction.name, study.user_attrs, [
    [t.state.name, t.value, t.params, t.intermediate_values, t.user_attrs] for t in study.trials
]]))
"""

WRITER = """
import itertools, sys
from pathlib import Path
from tests.salt_tune.test_study import SPACE, StudyView, trial
view = StudyView.create(Path(sys.argv[1]), "run", SPACE)
for number in itertools.count():
    view.start(trial(f"T{number}"))
    view.report(f"T{number}", 1.0, 0.5)
"""


def trial(name: str, **values: Any) -> Proposal:
    return proposal(SPACE, name, {"lr": 1e-3, "loss": "mse", **values}, seed=5)


def read(path: Path) -> Any:
    """What another process reads."""
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True, timeout=600
    )
    return json.loads(done.stdout)


def trials(path: Path) -> list[optuna.trial.FrozenTrial]:
    return list(optuna.load_study(study_name="run", storage=f"sqlite:///{path}").trials)


def test_another_process_reads_what_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    view = StudyView.create(path, "run", SPACE)
    view.start(trial("T0", loss="l1", predictor_depth=2))
    view.report("T0", 1.0, -0.25)
    view.report("T0", 3.0, -0.5)
    view.start(trial("T0"))  # goes on
    view.end("T0", "finished", -0.5)
    view.start(trial("T1"))
    view.report("T1", 1.0, -0.125)
    direction, attributes, (finished, paused) = read(path)
    assert direction == "MINIMIZE"
    assert {name: attributes[name] for name in ("objective", "mode", "resource", "points")} == {
        "objective": "val_r2",
        "mode": "max",
        "resource": "epoch",
        "points": [1.0, 1.5, 3.0],
    }
    params = {"lr": 1e-3, "loss": "l1", "predictor_depth": 2}
    assert finished[:4] == ["COMPLETE", -0.5, params, {"0": -0.25, "2": -0.5}]
    assert paused[:4] == ["RUNNING", None, {"lr": 1e-3, "loss": "mse"}, {"0": -0.125}]
    assert (paused[4]["trial"], paused[4]["seed"], paused[4]["fixed"]["batch_size"]) == ("T1", 5, 32)
    view.end("T1", "pruned", -0.125)
    assert trials(path)[1].state == optuna.trial.TrialState.PRUNED


def test_lost_trials_and_replicates_are_told_as_such(tmp_path: Path) -> None:
    view = StudyView.create(tmp_path / "study.db", "run", SPACE)
    ends = ["diverged", "out_of_memory", "failed", "finished", "interrupted"]
    for number, state in enumerate(ends):
        view.start(trial(f"T{number}"))
        view.end(f"T{number}", state, math.inf, "no CUDA" if state == "failed" else None)
    first = trial("T0")
    view.start(Proposal("T0-seed1", first.parameters, first.config, 6, replicate_of="T0"))
    shown = trials(tmp_path / "study.db")
    assert [entry.state.name for entry in shown] == ["FAIL"] * 4 + ["RUNNING"] * 2
    assert [entry.user_attrs.get("state") for entry in shown] == [*ends, None]
    assert shown[2].user_attrs["error"] == "no CUDA"
    assert (shown[5].user_attrs["replicate_of"], shown[5].user_attrs["seed"]) == ("T0", 6)


def test_a_value_outside_its_range_is_told_beside_the_parameters(tmp_path: Path) -> None:
    view = StudyView.create(tmp_path / "study.db", "run", SPACE)
    view.start(trial("T0", lr=1.0, batch_size=4))
    (shown,) = trials(tmp_path / "study.db")
    assert shown.params == {"loss": "mse"}
    assert (shown.user_attrs["fixed"]["lr"], shown.user_attrs["fixed"]["batch_size"]) == (1.0, 4)


def test_a_killed_writer_leaves_a_study_that_can_be_read_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT)
    try:
        limit = time.monotonic() + 60
        while not path.exists() or len(trials(path)) < 3:
            assert writer.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.05)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    left = trials(path)
    assert len(left) >= 3
    assert all(entry.intermediate_values == {0: 0.5} for entry in left[:-1])
    path.with_name("study.db-journal").write_bytes(b"of the old file")
    StudyView.create(path, "run", SPACE).start(trial("T0"))
    assert len(trials(path)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.db"]


def test_an_odd_path_is_only_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "what? {a} 100%#"
    folder.mkdir()
    StudyView.create(folder / "study.db", "run", SPACE).close()
    assert [entry.name for entry in folder.iterdir()] == ["study.db"]


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    view = StudyView.create(path, "run", SPACE)
    view.start(trial("T0"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(UserError) as raised:
            view.report("T0", 1.0, 0.5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(raised.value).startswith(f"{path}: cannot be written: ")
    assert "\n" not in str(raised.value)
    view.report("T0", 1.0, 0.5)


def test_a_folder_in_the_place_of_the_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "study.db").mkdir()
    with pytest.raises(UserError, match=r"study\.db: cannot be written: "):
        StudyView.create(tmp_path / "study.db", "run", SPACE)
