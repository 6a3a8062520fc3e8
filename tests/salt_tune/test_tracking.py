"""What Weights & Biases was told, read back from the files of its offline mode."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from tests.salt_tune.conftest import Ended, read_json, read_reports

BLOCK = 32768
FILE_HEADER, RECORD_HEADER = 7, 7  # of LevelDB's log format, which wandb writes
FIRST_OF_SEVERAL, MIDDLE = 2, 3


@dataclass
class Logged:
    """One run as wandb has it."""

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
                logged.name, logged.group = record.run.display_name, record.run.run_group
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


def test_nothing_is_logged_unless_asked_for(finished_run: Path) -> None:
    assert not (finished_run / "wandb").exists()
