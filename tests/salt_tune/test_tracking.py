"""What Weights & Biases was told, read back from the files of its offline mode."""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from salt_tune.records import TrialRecord
from salt_tune.tracking import WandbTracker
from tests.salt_tune.conftest import Ended, read_json, read_reports
from tests.salt_tune.made_records import make_record, make_report, make_space

BLOCK = 32768
FILE_HEADER, RECORD_HEADER = 7, 7  # of LevelDB's log format, which wandb writes
FIRST_OF_SEVERAL, MIDDLE = 2, 3


@dataclass
class Logged:
    """One run as wandb has it."""

    id: str = ""
    name: str = ""
    group: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
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
                logged.group = record.run.run_group
                logged.config.update(
                    {item.key: json.loads(item.value_json) for item in record.run.config.update if item.key}
                )
            case "history":
                items = record.history.item
                logged.history.append({(item.key or item.nested_key[0]): json.loads(item.value_json) for item in items})
            case "exit":
                logged.exit_code = record.exit.exit_code
    return logged


@pytest.fixture(scope="module")
def logged(mixed_run: Ended) -> dict[str, Logged]:
    runs = [read(path) for path in (mixed_run.path / "wandb").glob("offline-run-*/*.wandb")]
    assert len(runs) == 3
    return {run.name: run for run in runs}


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
    assert run.exit_code == 0


def log(tracker: WandbTracker, record: TrialRecord, *points: float, status: str = "running") -> None:
    """A trial starts or goes on, and reports."""
    record.state = "running"
    tracker.on_start(record)
    for point in points:
        report = make_report(point, 1 / (1 + point), status=status)
        record.add(report, make_space())
        tracker.on_report(record, report)


def end(tracker: WandbTracker, record: TrialRecord, state: str) -> None:
    record.state = state
    tracker.on_end(record)


def written(folder: Path, patience: float = 60) -> list[Logged]:
    """All runs; W&B's own process writes them, and may be behind."""
    until = time.monotonic() + patience
    while True:
        runs = [read(path) for path in folder.glob("wandb/offline-run-*/*.wandb")]
        if all(run.exit_code is not None for run in runs) or time.monotonic() > until:
            return runs
        time.sleep(0.05)


def test_a_trial_that_pauses_stays_one_run_and_never_goes_back(tmp_path: Path) -> None:
    paused, finished, lost = (make_record(f"T{number}", space=make_space()) for number in range(3))
    with WandbTracker("offline", tmp_path, "s") as tracker:
        for record in (paused, finished, lost):
            log(tracker, record, 0.5)
            end(tracker, record, "paused")
        log(tracker, finished, 0.5, 1.0)  # the first comes again
        end(tracker, finished, "paused")
        log(tracker, finished, 1.0, 2.0, 3.0)
        end(tracker, finished, "finished")
        log(tracker, lost, 0.5, status="out_of_memory")
        end(tracker, lost, "out_of_memory")
    runs = {run.name: run for run in written(tmp_path)}
    assert runs.keys() == {"T0", "T1", "T2"}
    assert [row["epoch"] for row in runs["T1"].history] == [0.5, 1.0, 2.0, 3.0]
    assert {name: run.exit_code for name, run in runs.items()} == {"T0": 0, "T1": 0, "T2": 1}
    assert [row["epoch"] for row in runs["T2"].history] == [0.5, 0.5]


def test_a_search_that_is_resumed_logs_on_under_the_same_id(tmp_path: Path) -> None:
    record = make_record("T0", space=make_space())
    with WandbTracker("offline", tmp_path, "s") as tracker:
        log(tracker, record, 0.5, 1.0)
    time.sleep(1)  # offline runs lie in folders named by id and second
    with WandbTracker("offline", tmp_path, "s", resume=True) as tracker:
        log(tracker, record, 1.0, 2.0)
        end(tracker, record, "finished")
    runs = sorted(written(tmp_path), key=lambda run: run.history[0]["epoch"])
    assert [(run.id, run.exit_code) for run in runs] == [("s-T0", 1), ("s-T0", 0)]
    assert [[row["epoch"] for row in run.history] for run in runs] == [[0.5, 1.0], [2.0]]


def test_nothing_is_logged_unless_asked_for(finished_run: Path) -> None:
    assert not (finished_run / "wandb").exists()
