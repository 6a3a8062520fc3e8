"""What is kept of each trial, and who is better."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from analysis.run_directory.trials import TrialRecord, append_report, last_line, ranking
from tests.salt_tune.made_records import make_record, make_report, make_space


def ranked(*reports: dict[str, Any], objective: Any = "val_loss", **of_last: Any) -> list[str]:
    """The ids, best first, of trials with one report each; `of_last` is of the last one."""
    space = make_space(objective=objective)
    records = [make_record(f"T{number}", report, space=space) for number, report in enumerate(reports[:-1])]
    records.append(make_record(f"T{len(records)}", reports[-1], space=space, **of_last))
    return [record.id for record in ranking(records)]


def test_the_lowest_loss_wins_among_those_that_trained_as_long() -> None:
    assert ranked(make_report(3, 2.0), make_report(3, 1.0), make_report(3, 3.0)) == ["T1", "T0", "T2"]


def test_the_highest_r2_wins_where_that_is_the_objective() -> None:
    reports = [make_report(3, 1.0, val_r2=r2) for r2 in (0.2, -1.0, 0.4)]
    assert ranked(*reports, objective="val_r2") == ["T2", "T0", "T1"]


def test_a_pair_is_ranked_by_its_sum() -> None:
    reports = [make_report(3, loss, probe_top1=top1, effective_rank=2.0) for loss, top1 in ((1.0, 0.2), (1.1, 0.9))]
    assert ranked(*reports, objective={"val_loss": 0.9, "probe_top1": 0.1}) == ["T0", "T1"]
    assert ranked(*reports, objective={"val_loss": 0.5, "probe_top1": 0.5}) == ["T1", "T0"]


def test_equal_probes_are_settled_by_the_loss() -> None:
    reports = [make_report(3, loss, probe_top1=0.5, effective_rank=2.0) for loss in (2.0, 1.0, 3.0)]
    assert ranked(*reports, objective="probe_top1") == ["T1", "T0", "T2"]


def test_who_trained_longer_stands_above_a_lower_loss_early() -> None:
    assert ranked(make_report(1, 0.5), make_report(3, 0.9)) == ["T1", "T0"]


@pytest.mark.parametrize("nothing", [math.nan, math.inf, None])
def test_a_trial_without_a_number_never_ranks(nothing: float | None) -> None:
    assert ranked(make_report(3, nothing), make_report(1, 9.0)) == ["T1"]


def test_a_replicate_never_ranks() -> None:
    assert ranked(make_report(3, 1.0), make_report(3, 0.5), replicate_of="T0") == ["T0"]


@pytest.mark.parametrize("status", ["diverged", "out_of_memory"])
def test_a_trial_that_was_lost_has_no_score_but_keeps_those_before(status: str) -> None:
    space = make_space()
    record = make_record("T0", make_report(0.5, 0.7), space=space)
    assert record.score == 0.7
    point = 0.5 if status == "out_of_memory" else 1.0  # it never got to the next one
    assert record.add(make_report(point, None, status=status), space) == math.inf
    assert (record.score, record.resource, record.scores[0.5]) == (math.inf, point, 0.7)
    assert ranking([record]) == []
    record.add(make_report(1.0, 0.6), space)  # tried again
    assert (record.score, record.resource) == (0.6, 1.0)


def test_no_report_is_no_epoch_and_no_value() -> None:
    record = make_record("T0", space=make_space(), state="waiting")
    assert (record.epochs, record.resource, record.score, record.value("val_loss")) == (0.0, 0.0, math.inf, None)


def test_probe_and_rank_are_those_of_the_last_report_that_has_them() -> None:
    space = make_space(objective={"val_loss": 0.5, "probe_top1": 0.5})
    record: TrialRecord = make_record("T0", make_report(1, 1.0, probe_top1=0.5, effective_rank=9.0), space=space)
    assert record.add(make_report(1.5, 0.9), space) == pytest.approx(0.2)
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
