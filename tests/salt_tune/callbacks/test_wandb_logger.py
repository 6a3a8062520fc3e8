"""What Weights & Biases was told, read back from the files of its offline mode."""

import contextlib
import json
import os
import pty
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import wandb
from hypothesis import given
from hypothesis import strategies as st
from wandb.proto import wandb_internal_pb2

from analysis.run_directory.events import JobStarted, TrialEnded, Trials
from analysis.run_directory.journal import read_trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import TrialState
from salt_tune.callbacks.wandb_logger import WandbLogger, check_wandb, plain_name
from tests.conftest import ROOT
from tests.salt_tune.conftest import Ended, read_json, read_reports
from tests.salt_tune.looking import begin_run, make_run
from tests.salt_tune.made_trials import add_report, add_trial, make_report, make_space

BLOCK = 32768
FILE_HEADER, RECORD_HEADER = 7, 7  # of LevelDB's log format, which wandb writes
FIRST_OF_SEVERAL, MIDDLE = 2, 3


@dataclass
class Logged:
    """One run as wandb has it."""

    id: str = ""
    name: str = ""
    group: str = ""
    job: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    exit_code: int | None = None


def records(path: Path) -> Iterator[Any]:
    data, at, parts = path.read_bytes(), FILE_HEADER, b""
    assert data[:4] == b":W&B"
    while at + RECORD_HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < RECORD_HEADER:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + RECORD_HEADER])
        if at + RECORD_HEADER + length > len(data):
            return  # it is being written
        parts += data[at + RECORD_HEADER : at + RECORD_HEADER + length]
        at += RECORD_HEADER + length
        if kind not in (FIRST_OF_SEVERAL, MIDDLE):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def read(path: Path) -> Logged:
    logged = Logged()
    for record in records(path):
        match record.WhichOneof("record_type"):
            case "run":
                logged.id, logged.name = record.run.run_id, record.run.display_name
                logged.group, logged.job = record.run.run_group, record.run.job_type
                logged.config.update(
                    {item.key: json.loads(item.value_json) for item in record.run.config.update if item.key}
                )
            case "history":
                items = record.history.item
                logged.steps.append(record.history.step.num)
                logged.history.append(
                    {(item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in items}
                )
            case "exit":
                logged.exit_code = record.exit.exit_code
    return logged


@pytest.fixture(scope="module")
def logged(mixed_run: Ended) -> dict[str, Logged]:
    runs = [read(path) for path in (mixed_run.path / "wandb").glob("offline-run-*/*.wandb")]
    assert len(runs) == 4
    return {run.name: run for run in runs if run.job != "search"}


def test_each_trial_is_a_run_of_the_searchs_group(logged: dict[str, Logged], mixed_run: Ended) -> None:
    assert logged.keys() == {"T0", "T1", "T2"}
    assert {run.group for run in logged.values()} == {"mixed"}
    for name, run in logged.items():
        wanted = mixed_run.trial(name)["config"]
        assert {key: run.config[key] for key in wanted} == wanted


@pytest.mark.parametrize("trial", ["T0", "T2"])
def test_its_history_is_what_was_reported(logged: dict[str, Logged], mixed_run: Ended, trial: str) -> None:
    reports = [report for report in read_reports(mixed_run.path / "reports.jsonl") if report["trial"] == trial]
    assert len(reports) == 8
    names = ("epoch", "val_loss", "val_r2", "train_loss", "lr", "clips_per_second")
    told = [{name: row[name] for name in names} for row in logged[trial].history]
    assert told == [pytest.approx({name: report[name] for name in names}) for report in reports]
    assert "probe_top1" in logged[trial].history[-1]


def test_only_a_trial_that_diverged_counts_as_crashed(logged: dict[str, Logged]) -> None:
    assert {name: run.exit_code for name, run in logged.items()} == {"T0": 0, "T1": 1, "T2": 0}


def test_a_promotion_is_logged_too(promoted: Ended) -> None:
    (file,) = promoted.path.glob("wandb/offline-run-*/*.wandb")
    run = read(file)
    assert [row["val_loss"] for row in run.history] == [
        row["val_loss"] for row in read_reports(promoted.path / "reports.jsonl")
    ]
    assert run.config["lr"] == read_json(promoted.path / "config.json")["config"]["lr"]
    assert (run.exit_code, run.job) == (0, "final")


class Search:
    """A search of these trials that is logged; it goes on where an `earlier` one was left."""

    def __init__(self, folder: Path, *names: str, earlier: "Search | None" = None) -> None:
        self.trials: Trials = earlier.trials if earlier else Trials()
        self.logger = WandbLogger(RunDirectory(folder), make_space(), mode="offline")
        self.logger.on_search_start(self.trials)
        for name in names:
            add_trial(self.trials, name, make_space())

    def __enter__(self) -> "Search":
        return self

    def __exit__(self, *error: object) -> None:
        self.logger.on_search_end(self.trials, over=False)

    def log(self, name: str, *points: float, status: str = "running") -> None:
        """A trial starts or goes on, and reports."""
        self.trials.apply(JobStarted(name, self.trials[name].resource, 3.0, "a test"))
        self.logger.on_trial_start(self.trials[name])
        for point in points:
            report = make_report(point, 1 / (1 + point), status=status)
            self.logger.on_trial_result(add_report(self.trials, name, report, make_space()), report)

    def pause(self, name: str) -> None:
        """A trial has paused."""
        self.trials[name].state = TrialState.PAUSED
        self.logger.on_trial_pause(self.trials[name])

    def end(self, name: str, state: TrialState) -> None:
        """A trial has ended."""
        self.trials.apply(TrialEnded(name, state))
        self.logger.on_trial_end(self.trials[name])


def written(folder: Path, patience: float = 300) -> list[Logged]:
    """All runs; W&B's own process writes them, and may be behind."""
    until = time.monotonic() + patience
    while True:
        runs = [read(path) for path in folder.glob("wandb/offline-run-*/*.wandb")]
        if all(run.exit_code is not None for run in runs) or time.monotonic() > until:
            return runs
        time.sleep(0.05)


def test_a_trial_that_pauses_stays_one_run_and_never_goes_back(tmp_path: Path) -> None:
    with Search(tmp_path, "T0", "T1", "T2") as search:
        for name in ("T0", "T1", "T2"):
            search.log(name, 0.5)
            search.pause(name)
        search.log("T1", 0.5, 1.0)  # the first comes again
        search.pause("T1")
        search.log("T1", 1.0, 2.0, 3.0)
        search.end("T1", TrialState.COMPLETE)
        search.log("T2", 0.5, status="out_of_memory")
        search.end("T2", TrialState.OUT_OF_MEMORY)
    runs = {run.name: run for run in written(tmp_path)}
    assert runs.keys() == {"T0", "T1", "T2"}
    assert [row["epoch"] for row in runs["T1"].history] == [0.5, 1.0, 2.0, 3.0]
    assert {name: run.exit_code for name, run in runs.items()} == {"T0": 0, "T1": 0, "T2": 1}
    assert [row["epoch"] for row in runs["T2"].history] == [0.5]
    assert runs["T1"].steps == sorted(set(runs["T1"].steps)) and len(runs["T1"].steps) == 4
    assert [row["objective"] for row in runs["T1"].history] == [row["val_loss"] for row in runs["T1"].history]


def test_a_search_that_is_resumed_logs_on_under_the_same_id(tmp_path: Path) -> None:
    with Search(tmp_path / "s", "T0") as before:
        before.log("T0", 0.5, 1.0)
    time.sleep(1)  # offline runs lie in folders named by id and second
    with Search(tmp_path / "s", earlier=before) as search:
        search.log("T0", 1.0, 2.0)
        search.end("T0", TrialState.COMPLETE)
    runs = sorted(written(tmp_path / "s"), key=lambda run: run.history[0]["epoch"])
    assert [(run.id, run.exit_code) for run in runs] == [("s-T0", 1), ("s-T0", 0)]
    assert [[row["epoch"] for row in run.history] for run in runs] == [[0.5, 1.0], [2.0]]
    assert max(runs[0].steps) < min(runs[1].steps)


def test_a_replicate_is_told_from_a_trial(tmp_path: Path) -> None:
    with Search(tmp_path, "T0") as search:
        add_trial(search.trials, "T0-seed1", make_space(), replicate_of="T0")
        for name in ("T0", "T0-seed1"):
            search.log(name, 3.0)
            search.end(name, TrialState.COMPLETE)
    assert {run.name: run.job for run in written(tmp_path)} == {"T0": "trial", "T0-seed1": "replicate"}


def test_the_search_has_its_parallel_coordinates_without_a_click(tmp_path: Path) -> None:
    run = make_run(tmp_path / "<s>")
    logger = WandbLogger(run, make_space(), mode="offline")
    trials = read_trials(run)
    logger.on_search_start(trials)
    logger.on_search_end(trials, over=True)
    (logged,) = written(run.path)
    assert (logged.name, logged.job, logged.exit_code) == ("search", "search", 0)
    (row,) = logged.history
    assert (row["parallel_coordinates._type"], row["trials._type"]) == ("html-file", "table-file")
    assert logged.steps == [sum(len(trial.scores) for trial in trials.values())]
    (folder,) = run.path.glob("wandb/offline-run-*/files")
    page = (folder / row["parallel_coordinates.path"]).read_text()
    assert '"Parallel coordinates of ' in page and len(page) < 2_000_000
    assert not re.search(r"(src|href)=", page.replace(page[page.index("<script>") : page.index("</script>")], ""))
    table = json.loads((folder / row["trials.path"]).read_text())
    assert {"trial", "state", "objective", "lr"} <= {*table["columns"]} and len(table["data"]) == len(trials)


def test_a_search_without_a_trial_has_none(tmp_path: Path) -> None:
    logger = WandbLogger(begin_run(tmp_path / "s"), make_space(), mode="offline")
    logger.on_search_start(Trials())
    logger.on_search_end(Trials(), over=False)
    assert not (tmp_path / "s" / "wandb").exists()


def test_nothing_is_logged_unless_asked_for(finished_run: Path) -> None:
    assert not (finished_run / "wandb").exists()


@given(st.text(min_size=1), st.text(min_size=1))
def test_every_name_becomes_one_that_wandb_takes(name: str, other: str) -> None:
    plain = plain_name(name)
    assert wandb.Settings(run_id=f"{plain}-T0").run_id == f"{plain}-T0"
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", plain)
    assert plain_name(plain) == plain
    assert name == other or plain_name(other) != plain


def test_a_name_that_wandb_takes_stays() -> None:
    assert plain_name("demo-20260101.x_1") == "demo-20260101.x_1"
    assert plain_name("a: b").startswith("a-b-")


def test_a_run_of_any_name_is_logged(tmp_path: Path) -> None:
    folder = tmp_path / "a: b#?'"
    with Search(folder, "T0") as search:
        search.log("T0", 0.5)
        search.end("T0", TrialState.COMPLETE)
    (run,) = written(folder)
    plain = plain_name(folder.name)
    assert (run.name, run.id, run.group, run.exit_code) == ("T0", f"{plain}-T0", plain, 0)


UNREACHABLE = {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_HTTP_TIMEOUT": "2"}


def without_wandb() -> dict[str, str]:
    """This process's environment, but W&B's: with it, another would log through the process that this one started."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}


def on_a_terminal(folder: Path, *arguments: object, **environment: str) -> tuple[int, str]:
    """The exit code of a search on a terminal where nobody types, and all that it drew."""
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "salt_tune.search", *map(str, arguments)],
        cwd=folder, env={**without_wandb(), "PYTHONPATH": str(ROOT), "HOME": str(folder), **environment},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        drawn = b""
        with contextlib.suppress(OSError):  # Linux says so when the other side is closed
            while more := os.read(terminal, 65536):
                drawn += more
        os.close(terminal)
        return process.wait(300), drawn.decode()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "there is no key for W&B; run `wandb login`, set WANDB_API_KEY"),
        ({"WANDB_MODE": "offline"}, "there is no key for W&B"),
        ({"WANDB_API_KEY": "short"}, "W&B does not let you in: "),
        (UNREACHABLE, "127.0.0.1:9"),
    ],
    ids=["no key", "no key, offline by default", "a bad key", "no network"],
)
def test_what_wandb_would_refuse_is_refused_before_anything_starts(
    tmp_path: Path, environment: dict[str, str], words: str
) -> None:
    code, drawn = on_a_terminal(tmp_path, "--wandb", "online", "--name", "a: b", **environment)
    assert code == 2
    assert drawn.count("\n") == 1 and drawn.startswith("error: --wandb online: ") and words in drawn, drawn
    assert "--wandb offline" in drawn
    assert not (tmp_path / "stores").exists() and not (tmp_path / "runs").exists()


STUCK = """
import psutil
import wandb
from salt_tune.callbacks import wandb_logger
from trainable.errors import UserError

log_in = wandb.login

def stop_after(**settings):
    try:
        return log_in(**settings)
    finally:
        (child,) = psutil.Process().children()
        child.suspend()
        print(child.pid, flush=True)

wandb.login = stop_after
wandb_logger.ENDING_SECONDS = 1
try:
    wandb_logger.check_wandb("online")
except UserError as error:
    print(error)
"""


def test_a_process_of_wandb_that_does_not_end_is_not_waited_for(tmp_path: Path) -> None:
    """It misses at times that it is told to end, where an answer of it comes too late."""
    environment = {**without_wandb(), **UNREACHABLE, "HOME": str(tmp_path)}
    with (tmp_path / "said").open("w+") as said:
        process = subprocess.Popen([sys.executable, "-c", STUCK], cwd=ROOT, env=environment, stdout=said)
        try:
            assert process.wait(120) == 0
        finally:
            process.kill()
            said.seek(0)
            number, *lines = said.read().splitlines()
            psutil.Process(int(number)).kill()
    assert [line.startswith("--wandb online: W&B does not let you in: ") for line in lines] == [True]


def test_offline_asks_for_no_key() -> None:
    check_wandb("offline")
    check_wandb("off")


LOSES_WANDB = """
import sys
from pathlib import Path
import psutil
from analysis.run_directory.trials import TrialState
from salt_tune.callbacks.wandb_logger import WandbFollower
from tests.salt_tune.callbacks.test_wandb_logger import Search

def kill():
    for child in psutil.Process().children(recursive=True):
        child.kill()
        child.wait()

folder = Path(sys.argv[1])
if sys.argv[2] == "search":
    with Search(folder, "T0", "T1") as search:
        search.log("T0", 0.5)
        kill()
        search.log("T0", 1.0, 2.0, 3.0)
        search.end("T0", TrialState.COMPLETE)
        search.log("T1", 0.5)
else:
    follower = WandbFollower("offline", folder, "s", "T0-3epochs", {"lr": 1e-3})
    kill()
    for epoch in range(3):
        follower.log({"epoch": epoch})
    follower.finish(0)
print("ended well")
"""


@pytest.mark.parametrize("command", ["search", "promote"])
def test_where_wandb_dies_one_line_says_so_and_the_training_goes_on(tmp_path: Path, command: str) -> None:
    words = [sys.executable, "-c", LOSES_WANDB, str(tmp_path), command]
    done = subprocess.run(words, cwd=ROOT, env=without_wandb(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ended well\n"), done.stderr
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("warning: W&B has failed (") and warning.endswith("the training goes on")


def test_a_folder_that_wandb_cannot_make_is_no_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").touch()
    with Search(tmp_path / "run", "T0") as search:
        search.log("T0", 0.5, 1.0)
        search.end("T0", TrialState.COMPLETE)
    assert capsys.readouterr().err.count("warning: W&B has failed") == 1
