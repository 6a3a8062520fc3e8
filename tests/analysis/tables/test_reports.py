"""Reports are read right after restarts, crashes and divergence."""

import json
import math
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import RunError
from analysis.tables import reports
from analysis.tables.reports import COLUMNS
from tests.analysis.fake_run import report, write_lines
from tests.salt_tune.watching import held


def read_reports(file: Path, **options: Any) -> pd.DataFrame:
    """The reports of a run that no process holds."""
    return reports.read_reports(file, file.with_name("lock"), **options)


KEYS = st.tuples(st.integers(0, 120).map("T{}".format), st.integers(1, 12).map(lambda quarter: quarter / 4))
LOSSES = st.floats(0, 100)


@settings(deadline=None)
@given(st.lists(st.tuples(KEYS, LOSSES), max_size=30))
def test_the_last_of_repeated_reports_counts(lines: list[tuple[tuple[str, float], float]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reports.jsonl"
        write_lines(file, [report(trial, point, loss) for (trial, point), loss in lines])
        table = read_reports(file)
    kept = dict(zip(zip(table["trial"], table["resource"], strict=True), table["val_loss"], strict=True))
    assert kept == dict(lines)
    assert list(kept) == sorted(kept, key=lambda key: (int(key[0][1:]), key[1]))


@settings(deadline=None)
@given(st.integers(1, 10_000))
def test_a_last_line_cut_anywhere_is_left_out_with_a_warning(cut: int) -> None:
    whole = (json.dumps(report("T1", 0.5, 0.4, note="größer")) + "\n").encode()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reports.jsonl"
        write_lines(file, [report("T0", 0.25, 0.5)])
        first = file.read_bytes()
        file.write_bytes(first + whole[: 1 + cut % (len(whole) - 2)])
        with pytest.warns(UserWarning, match="line 2 was cut off"):
            table = read_reports(file)
    assert table["trial"].tolist() == ["T0"]


def test_a_line_that_a_process_is_writing_is_left_out_without_a_word(tmp_path: Path) -> None:
    file, lock = tmp_path / "reports.jsonl", tmp_path / "lock"
    file.write_text(json.dumps(report("T0", 0.25, 0.5)) + '\n{"trial": "T1", "reso')
    with held(lock), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reports.read_reports(file, lock)["trial"].tolist() == ["T0"]
    with pytest.warns(UserWarning, match="line 2 was cut off and is left out: its process was killed as it wrote"):
        reports.read_reports(file, lock)  # its file is there still


def test_a_whole_last_line_without_its_end_counts(tmp_path: Path) -> None:
    file = tmp_path / "reports.jsonl"
    file.write_text(json.dumps(report("T0", 0.25, 0.5)))
    assert len(read_reports(file)) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"trial": "T0", "reso', "line 1 is broken JSON"),
        ("", "line 1 is broken JSON"),
        ("7", "line 1 is 7, and must be a JSON object"),
        ('{"resource": 1}', "line 1 has no field trial"),
        ('{"trial": 0, "resource": 1}', "trial is 0, and must be the id"),
        ('{"trial": "T0", "resource": null}', "resource is None, and must be a finite number"),
        ('{"trial": "T0", "resource": NaN}', "resource is nan, and must be a finite number"),
        ('{"trial": "T0", "resource": 1, "val_loss": "low"}', "val_loss is 'low', and must be a number"),
        ('{"trial": "T0", "resource": 1, "lr": true}', "lr is True, and must be a number"),
        ('{"trial": "T0", "resource": 1, "time": "noon"}', "time is 'noon', and must be an ISO 8601 time"),
    ],
)
def test_any_other_broken_line_is_refused(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "reports.jsonl"
    file.write_text(line + "\n" + json.dumps(report("T0", 0.25, 0.5)) + "\n")
    with pytest.raises(RunError, match=message):
        read_reports(file)


def test_promoted_runs_are_told_apart_by_epoch(tmp_path: Path) -> None:
    file = tmp_path / "reports.jsonl"
    write_lines(file, [{"trial": "T0", "epoch": 2}, {"trial": "T0", "epoch": 1}, {"trial": "T0", "epoch": 2, "lr": 1}])
    table = read_reports(file, point="epoch")
    assert table["epoch"].tolist() == [1, 2] and table["step_lr"].iloc[1] == 1
    with pytest.raises(RunError, match="line 1 has no field resource"):
        read_reports(file)


def test_missing_and_non_finite_numbers_stay_so(tmp_path: Path) -> None:
    file = tmp_path / "reports.jsonl"
    lines = [report("T0", 0.25, math.nan), report("T0", 0.5, None), report("T0", 0.75, math.inf)]
    write_lines(file, [*lines, {"trial": "T1", "resource": 1}])
    table = read_reports(file)
    assert table["val_loss"].isna().tolist() == [True, True, False, True]
    assert table["val_loss"].iloc[2] == math.inf
    assert table["time"].isna().tolist() == [False, False, False, True]


def test_types_hold_even_for_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    write_lines(tmp_path / "one", [report("T0", 1.0, 0.5, extra="kept")])
    empty, one = read_reports(tmp_path / "empty"), read_reports(tmp_path / "one")
    assert tuple(empty.columns) == COLUMNS
    assert one.drop(columns="extra").dtypes.astype(str).tolist() == empty.dtypes.astype(str).tolist()
    assert one["extra"].tolist() == ["kept"]
    assert str(one["time"].dtype).endswith("UTC]")
