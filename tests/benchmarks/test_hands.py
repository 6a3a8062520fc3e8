"""Where the time of a search's workers goes, of one whose turns are known."""

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from analysis import load
from benchmarks.hands import busy
from tests.analysis.made_search import START, spread, write_search


def test_all_seconds_of_the_workers_have_a_name(tmp_path: Path) -> None:
    """Two workers take six turns of 10 s each: 1 s to begin, 1 s to load, 8 s of training and evaluation."""
    run = load(write_search(tmp_path, spread(4), lambda values: values["lr"]).path)
    started, ended = pd.Timestamp(START - timedelta(seconds=5)), pd.Timestamp(START + timedelta(seconds=63))
    found = busy(run, 2, started, ended)
    assert found["wall seconds"] == 68
    assert found["start of the workers"] == 7
    assert found["training and evaluation, divided by the workers"] == 48
    assert found["wall over ideal, less the start"] == pytest.approx(61 / 48, abs=1e-3)
    assert found["worker seconds beyond it"] == {
        "starting, after the first": 0,
        "loading a model or checkpoint": 10,
        "handed a trial": 10,
        "without a trial, at the end": 0,
        "the end of the command": 6,
        "without a trial, before": 0,
    }
    assert found["least share of the reports, times the workers"] == 1


def test_a_worker_without_a_report_is_none_that_is_busy(tmp_path: Path) -> None:
    run = load(write_search(tmp_path, spread(4), lambda values: values["lr"]).path)
    found = busy(run, 3, pd.Timestamp(START), pd.Timestamp(START + timedelta(seconds=60)))
    assert found["least share of the reports, times the workers"] == 0
    assert found["worker seconds beyond it"]["without a trial, before"] == pytest.approx(60 - 2, abs=0.1)
