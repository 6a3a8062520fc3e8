"""What is kept of each trial, and who is better."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from salt_tune.records import TrialRecord, append_report, last_line, ranking
from salt_tune.searcher import propose
from salt_tune.space import SearchSpace

TRIALS = 6


def space(objective: str = "val_loss") -> SearchSpace:
    parameters = {"lr": {"type": "log_uniform", "low": 1e-5, "high": 1e-1}}
    return SearchSpace.model_validate({"name": "s", "parameters": parameters, "trials": TRIALS, "objective": objective})


def records(*reports: dict[str, Any]) -> list[TrialRecord]:
    made = [TrialRecord(proposal, 1, 1) for proposal in propose(space(), seed=0)]
    for record, report in zip(made, reports, strict=False):
        record.add(report)
    return made[: len(reports)]


def order(ranked: list[TrialRecord]) -> list[str]:
    return [record.id for record in ranked]


def test_the_lowest_loss_wins_among_those_that_trained_as_long() -> None:
    ranked = ranking(records(*({"epoch": 3.0, "val_loss": loss} for loss in (2.0, 1.0, 3.0))), space())
    assert order(ranked) == ["T1", "T0", "T2"]


def test_the_highest_r2_wins_where_that_is_the_objective() -> None:
    ranked = ranking(
        records(*({"epoch": 3.0, "val_loss": 1.0, "val_r2": r2} for r2 in (0.2, -1.0, 0.4))), space("val_r2")
    )
    assert order(ranked) == ["T2", "T0", "T1"]


def test_equal_probes_are_settled_by_the_loss() -> None:
    reports = ({"epoch": 3.0, "val_loss": loss, "probe_top1": 0.5, "effective_rank": 2.0} for loss in (2.0, 1.0, 3.0))
    assert order(ranking(records(*reports), space("probe_top1"))) == ["T1", "T0", "T2"]


def test_who_trained_longer_stands_above_a_lower_loss_early() -> None:
    ranked = ranking(records({"epoch": 1.0, "val_loss": 0.5}, {"epoch": 3.0, "val_loss": 0.9}), space())
    assert order(ranked) == ["T1", "T0"]


@pytest.mark.parametrize("nothing", [math.nan, math.inf, None])
def test_a_trial_without_a_number_never_ranks(nothing: float | None) -> None:
    ranked = ranking(records({"epoch": 3.0, "val_loss": nothing}, {"epoch": 1.0, "val_loss": 9.0}, {}), space())
    assert order(ranked) == ["T1"]


def test_no_report_is_no_epoch_and_no_value() -> None:
    (record,) = records({})
    assert (record.state, record.epochs, record.value("val_loss")) == ("waiting", 0.0, None)


def test_probe_and_rank_are_those_of_the_last_whole_epoch() -> None:
    (record,) = records({"epoch": 1.0, "val_loss": 1.0, "probe_top1": 0.5, "effective_rank": 9.0})
    record.add({"epoch": 1.5, "val_loss": 0.9})
    assert (record.value("probe_top1"), record.value("effective_rank"), record.value("val_loss")) == (0.5, 9.0, 0.9)


def test_a_reports_file_is_json_lines_without_nan(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    append_report(path, {"trial": "T0", "epoch": 0.5, "val_loss": 1.25, "status": "running"})
    append_report(path, {"trial": "T0", "epoch": 1.0, "val_loss": math.nan, "train_loss": math.inf})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    rows = [json.loads(line, parse_constant=refuse) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {"trial": "T0", "epoch": 0.5, "val_loss": 1.25, "status": "running"}
    assert rows[1] == {"trial": "T0", "epoch": 1.0, "val_loss": None, "train_loss": None}


def test_the_last_line_of_an_error_names_the_cause() -> None:
    assert last_line(RuntimeError("first\n\n  the cause  \n\n")) == "the cause"
    assert last_line(RuntimeError()) == "RuntimeError"
