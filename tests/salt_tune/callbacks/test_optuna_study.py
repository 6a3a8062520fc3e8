"""The Optuna study in the run directory: others read it while it is written, and whatever became of its writer."""

import contextlib
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest

from analysis.run_directory.events import JobStarted, TrialEnded, TrialPruned, Trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.ranking import standing
from analysis.run_directory.trials import TrialState
from salt_tune.callbacks.optuna_study import OptunaStudy
from salt_tune.controller.new_trial import new_trial
from salt_tune.space.search_space import SearchSpace
from tests.conftest import ROOT
from tests.salt_tune.made_trials import add_report, make_report

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
study = optuna.load_study(study_name=None, storage="sqlite:///" + sys.argv[1])
print(json.dumps([study.direction.name, study.metric_names, study.user_attrs, [
    [t.state.name, t.value, t.params, t.intermediate_values, t.user_attrs] for t in study.trials
]]))
"""

WRITER = """
import itertools, sys
from pathlib import Path
from tests.salt_tune.callbacks.test_optuna_study import Search
search = Search(Path(sys.argv[1]))
for number in itertools.count():
    search.start(f"T{number}")
    search.report(f"T{number}", 1.0, -0.5)
"""


class Search:
    """A search whose study lies at `path`, named like its folder; `begun`: its file is there."""

    def __init__(self, path: Path, *, begun: bool = True) -> None:
        self.trials = Trials()
        self.study = OptunaStudy(RunDirectory(path.parent), SPACE)
        self.begun = begun
        if begun:
            self.study.on_search_start(self.trials)

    def begin(self) -> None:
        """What is known already is shown."""
        self.begun = True
        self.study.on_search_start(self.trials)

    def start(self, name: str, *, seed: int = 5, replicate_of: str | None = None, **values: Any) -> None:
        """A trial is added, and starts."""
        values.pop("verdict", None)
        added = new_trial(SPACE, name, {"lr": 1e-3, "loss": "mse", **values}, seed)
        self.trials.apply(replace(added, replicate_of=replicate_of))
        self.trials.apply(JobStarted(name, 0.0, 3.0, "a test"))
        if self.begun:
            self.study.on_trial_start(self.trials[name])

    def report(self, name: str, point: float, r2: float | None, status: str = "running", **more: Any) -> None:
        """A trial reports the objective."""
        report = make_report(point, 0.5, val_r2=r2, status=status, **more)
        add_report(self.trials, name, report, SPACE)
        if self.begun:
            self.study.on_trial_result(self.trials[name], report)

    def end(self, name: str, state: TrialState, error: str | None = None) -> None:
        """A trial has ended."""
        self.trials.apply(TrialPruned(name) if state is TrialState.PRUNED else TrialEnded(name, state, error))
        if self.begun:
            self.study.on_trial_end(self.trials[name])

    def pause(self, name: str) -> None:
        """A trial has paused."""
        self.trials[name].state = TrialState.PAUSED
        self.study.on_trial_pause(self.trials[name])

    def leave(self, *, over: bool = True) -> None:
        """The process leaves the search."""
        self.study.on_search_end(self.trials, over=over)


def read(path: Path) -> Any:
    """What another process reads."""
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True, timeout=600
    )
    return json.loads(done.stdout)


def trials(path: Path) -> list[optuna.trial.FrozenTrial]:
    return list(optuna.load_study(study_name=None, storage=f"sqlite:///{path}").trials)


def test_another_process_reads_what_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    search = Search(path)
    search.start("T0", loss="l1", predictor_depth=2)
    search.report("T0", 1.0, 0.25)
    search.report("T0", 1.5, 0.3)  # no rung
    search.study.on_trial_start(search.trials["T0"])  # goes on
    search.report("T0", 3.0, 0.5, "complete")
    search.end("T0", TrialState.COMPLETE)
    search.start("T1")
    search.report("T1", 1.0, 0.125)
    direction, names, attributes, (complete, running) = read(path)
    assert (direction, names) == ("MAXIMIZE", ["val_r2"])
    assert {name: attributes[name] for name in ("objective", "mode", "resource", "points")} == {
        "objective": "val_r2",
        "mode": "max",
        "resource": "epoch",
        "points": [1.0, 1.5, 3.0],
    }
    params = {"lr": 1e-3, "loss": "l1", "predictor_depth": 2}
    assert complete[:4] == ["COMPLETE", 0.5, params, {"0": 0.25, "2": 0.5}]
    assert running[:4] == ["RUNNING", None, {"lr": 1e-3, "loss": "mse"}, {"0": 0.125}]
    assert (running[4]["trial"], running[4]["seed"], running[4]["fixed"]["batch_size"]) == ("T1", 5, 32)
    search.end("T1", TrialState.PRUNED)
    assert trials(path)[1].state == optuna.trial.TrialState.PRUNED


def test_lost_trials_are_told_as_such(tmp_path: Path) -> None:
    search = Search(tmp_path / "study.db")
    ends = [TrialState.DIVERGED, TrialState.OUT_OF_MEMORY, TrialState.FAILED, TrialState.COMPLETE]
    for number, state in enumerate(ends):
        search.start(f"T{number}")
        search.end(f"T{number}", state, "no CUDA" if state is TrialState.FAILED else None)
    found = trials(tmp_path / "study.db")
    assert [entry.state.name for entry in found] == ["FAIL"] * 4
    assert [entry.user_attrs.get("state") for entry in found] == ends
    assert found[2].user_attrs["error"] == "no CUDA"


def complete(search: Search, name: str, r2: float, **fields: Any) -> None:
    """A trial trains to its end."""
    search.start(name, **fields)
    search.report(name, 3.0, r2, "complete", **({"verdict": fields["verdict"]} if "verdict" in fields else {}))
    search.end(name, TrialState.COMPLETE)


def best(path: Path) -> str:
    """The best trial, as Optuna has it."""
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{path}")
    return str(study.best_trial.user_attrs["trial"])


def test_replicates_are_no_trials_and_the_best_is_that_of_the_search(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    search = Search(path)
    complete(search, "T0", 0.5)
    complete(search, "T1", 0.48)
    complete(search, "T2", 0.47)
    assert best(path) == "T0"
    complete(search, "T0-seed1", 0.3, seed=6, replicate_of="T0")
    search.start("T1-seed1", seed=6, replicate_of="T1")
    found = trials(path)
    assert [entry.user_attrs["trial"] for entry in found] == ["T0", "T1", "T2"]
    assert found[0].value == pytest.approx(0.4)
    assert found[0].user_attrs["replicates"] == {"T0-seed1": {"seed": 6, "state": "complete", "value": 0.3}}
    assert found[1].user_attrs["replicates"]["T1-seed1"]["state"] == "running"
    search.report("T1-seed1", 3.0, 0.42, "complete")
    search.end("T1-seed1", TrialState.COMPLETE)
    winner = standing(search.trials.values())[0].id
    assert best(path) == winner == "T1"
    assert trials(path)[1].value == pytest.approx(0.45)
    behind = trials(path)[2]
    assert (behind.state.name, behind.user_attrs["state"]) == ("PRUNED", "complete")
    assert behind.user_attrs["ranks_behind"] == "trained with fewer seeds, or with a higher val_loss"
    again = Search(path, begun=False)
    again.trials = search.trials
    again.begin()
    assert best(path) == "T1"
    assert [entry.value for entry in trials(path)] == pytest.approx([0.4, 0.45, 0.47])


def test_an_unfit_trial_is_not_the_best(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    search = Search(path)
    complete(search, "T0", 0.5, verdict="collapsed")
    assert best(path) == "T0"  # of no use, and all there is
    complete(search, "T1", 0.4)
    assert (best(path), trials(path)[0].user_attrs["ranks_behind"]) == ("T1", "collapsed")


def test_states_are_those_of_now_and_durations_outlive_a_pause_and_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    search = Search(path)
    for name in ("T0", "T1"):
        search.start(name)
        search.report(name, 1.0, 0.5)
    began = trials(path)[0].datetime_start
    search.pause("T0")
    assert [entry.state.name for entry in trials(path)] == ["WAITING", "RUNNING"]
    search.study.on_trial_start(search.trials["T0"])
    assert (trials(path)[0].state.name, trials(path)[0].datetime_start) == ("RUNNING", began)
    search.pause("T0")
    search.leave(over=False)
    assert [entry.state.name for entry in trials(path)] == ["WAITING", "WAITING"]
    noon = datetime(2026, 12, 1, 12, tzinfo=UTC)
    lines = [{"trial": "T0", "time": (noon + timedelta(hours=hour)).isoformat(), "training_seconds": 60.0}
             for hour in (0, 1)]  # fmt: skip
    (tmp_path / "reports.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = Search(path, begun=False)
    again.trials = search.trials
    again.end("T0", TrialState.PRUNED)
    again.begin()
    (found, _) = trials(path)
    assert found.duration == timedelta(hours=1, minutes=1)
    assert found.datetime_complete is not None
    assert found.datetime_complete.astimezone(UTC) == noon + timedelta(hours=1)


def test_a_search_that_is_over_has_no_paused_trial(tmp_path: Path) -> None:
    search = Search(tmp_path / "study.db")
    search.start("T0")
    search.report("T0", 1.0, 0.5)
    search.pause("T0")
    search.leave()
    (found,) = trials(tmp_path / "study.db")
    assert (found.state.name, found.value, found.user_attrs["state"]) == ("PRUNED", 0.5, "pruned")


def test_who_has_it_open_sees_it_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    Search(path).start("T0")
    looking = sqlite3.connect(path)
    assert looking.execute("SELECT count(*) FROM trials").fetchall() == [(1,)]
    search = Search(path, begun=False)
    for number in range(3):
        search.start(f"T{number}")
    search.begin()
    assert looking.execute("SELECT count(*) FROM trials").fetchall() == [(3,)]
    looking.close()


def test_a_value_outside_its_range_is_told_beside_the_parameters(tmp_path: Path) -> None:
    search = Search(tmp_path / "study.db")
    search.start("T0", lr=1.0, batch_size=4)
    (found,) = trials(tmp_path / "study.db")
    assert found.params == {"loss": "mse"}
    assert (found.user_attrs["fixed"]["lr"], found.user_attrs["fixed"]["batch_size"]) == (1.0, 4)


def test_a_killed_writer_leaves_a_study_that_can_be_read_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT)
    try:
        limit = time.monotonic() + 600
        while not path.exists() or len(trials(path)) < 3:
            assert writer.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.05)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    left = trials(path)
    assert len(left) >= 3
    assert all(entry.intermediate_values == {0: -0.5} for entry in left[:-1])
    path.with_name("study.db-journal").write_bytes(b"of the old file")
    Search(path).start("T0")
    assert len(trials(path)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.db"]


def test_an_odd_path_is_only_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "what? {a} 100%#"
    folder.mkdir()
    Search(folder / "study.db").leave()
    assert [entry.name for entry in folder.iterdir()] == ["study.db"]


def test_what_was_known_before_is_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    search = Search(path, begun=False)
    search.start("T0")
    search.report("T0", 1.0, -0.5)
    search.report("T0", 3.0, -0.25, "complete")
    search.start("T1")
    search.end("T1", TrialState.FAILED, "no CUDA")
    assert not path.exists()
    search.begin()
    search.start("T2")
    search.report("T2", 1.0, -0.75)
    search.end("T2", TrialState.PRUNED)
    found = trials(path)
    assert [(entry.state.name, entry.value) for entry in found] == [
        ("COMPLETE", -0.25), ("FAIL", None), ("PRUNED", -0.75),
    ]  # fmt: skip
    assert (found[0].intermediate_values, found[1].user_attrs["error"]) == ({0: -0.5, 2: -0.25}, "no CUDA")
    assert found[0].duration is not None and found[0].duration.total_seconds() < 60


Harm = Callable[[Path], contextlib.AbstractContextManager[Any]]


@contextlib.contextmanager
def _reader(path: Path) -> Iterator[None]:
    """Another program looks at the trials, and takes its time."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM trials").fetchall()
    yield
    connection.close()


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[None]:
    """Another program writes."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield
    connection.close()


@contextlib.contextmanager
def _deleted(path: Path) -> Iterator[None]:
    path.unlink()
    yield


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[None]:
    path.unlink()
    path.write_bytes(b"no database")
    yield


@contextlib.contextmanager
def _without_its_study(path: Path) -> Iterator[None]:
    optuna.delete_study(study_name=path.parent.name, storage=f"sqlite:///{path}")
    yield


@contextlib.contextmanager
def _full_disk(_path: Path) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def _a_folder_in_its_place(path: Path) -> Iterator[None]:
    path.unlink()
    path.mkdir()
    yield
    path.rmdir()


HARMS = {
    "a reader": _reader,
    "a writer": _writer,
    "deleted": _deleted,
    "replaced": _replaced,
    "without its study": _without_its_study,
    "a full disk": _full_disk,
    "a folder": _a_folder_in_its_place,
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
@pytest.mark.parametrize("soon", [True, False], ids=["written anew soon", "written anew at the end"])
def test_whatever_becomes_of_the_file_is_one_warning_and_it_is_written_anew(
    tmp_path: Path, harm: Harm, soon: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.db"
    search = Search(path)
    search.start("T0")
    began = time.monotonic()
    with harm(path):
        for _ in range(2):
            search.report("T0", 1.0, -0.5)
        search.start("T1")
        search.end("T1", TrialState.FAILED, "no CUDA")
    assert time.monotonic() - began < 60
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert warning.startswith(f"warning: {path}: cannot be written: ")
    assert warning.endswith("; the search goes on without it, and writes it anew when it can")
    if soon:
        monkeypatch.setattr(search.study._file, "_retry_at", 0.0)
        search.report("T0", 3.0, -0.25)
    else:
        search.leave()
    found = trials(path)
    assert found[0].intermediate_values == ({0: -0.5, 2: -0.25} if soon else {0: -0.5})
    assert (found[1].state.name, found[1].user_attrs["error"]) == ("FAIL", "no CUDA")
    if soon:
        search.end("T0", TrialState.COMPLETE)
        assert trials(path)[0].value == -0.25
    assert capsys.readouterr().out == ""
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.db"]


def test_a_file_that_can_never_be_written_is_one_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.db").mkdir()
    search = Search(tmp_path / "study.db")
    for number in range(3):
        search.start(f"T{number}")
    search.leave()
    assert capsys.readouterr().err.count("study.db: cannot be written: ") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.db"]


def test_a_reader_that_stays_costs_one_wait(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    search = Search(path)
    search.start("T0")
    with _reader(path):
        search.report("T0", 1.0, 0.5)
        began = time.monotonic()
        for _ in range(100):
            search.report("T0", 1.0, 0.5)
        assert time.monotonic() - began < 30, "each waited"


FILLS = """
import shutil
from pathlib import Path
from tests.salt_tune.callbacks.test_optuna_study import Search

search = Search(Path("disk/study.db").absolute())
with open("disk/film", "wb") as film:
    film.write(bytes(shutil.disk_usage("disk").free))
for number in range(200):
    search.start(f"T{number}")
"""


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    words = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs -o size=2m tmpfs disk || exit 99; exec "$@"', "sh"]
    done = subprocess.run(
        [*words, sys.executable, "-c", FILLS], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode in (1, 99) and "Traceback" not in done.stderr:
        pytest.skip("this machine lets no user mount a disk of their own")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert "study.db: cannot be written: No space left on device; free some space, then resume the search" in line
