"""What trials and workers took."""

from pathlib import Path

import pytest

from analysis import cost, load, timeline
from tests.analysis.fake_run import write_run
from tests.analysis.made_search import START, spread, write_search


def test_a_lane_a_worker_with_what_it_did(tmp_path: Path) -> None:
    lanes = timeline(load(write_search(tmp_path, spread(4), lambda values: values["lr"]).path))
    assert sorted(lanes["slot"].unique().tolist()) == [0, 1]
    assert lanes["begin"].min().to_pydatetime() == START
    first = lanes[(lanes["trial"] == "T0") & (lanes["resource"] == 0.5)]
    assert first["activity"].tolist() == ["starting", "loading", "training", "waiting", "evaluating"]
    seconds = (first["end"] - first["begin"]).dt.total_seconds().tolist()
    assert seconds == pytest.approx([1, 1, 6.4, 0.4, 1.2], abs=1e-5)
    for _, lane in lanes.groupby("slot"):
        assert (lane["begin"].iloc[1:].to_numpy() >= lane["end"].iloc[:-1].to_numpy()).all()


def test_what_each_trial_took_and_was_spared(tmp_path: Path) -> None:
    table = cost(load(write_search(tmp_path, spread(4), lambda values: values["lr"]).path)).set_index("trial")
    assert table["resource"].tolist() == [3.0] * 4 and table["saved"].tolist() == [0.0] * 4
    assert table[["starting_seconds", "loading_seconds"]].iloc[0].tolist() == pytest.approx([3, 3], abs=1e-4)


def test_reports_that_do_not_say_their_worker_have_no_lanes(tmp_path: Path) -> None:
    run = load(write_run(tmp_path).path)
    assert timeline(run).empty
    table = cost(run).set_index("trial")
    assert table[["resource", "saved"]].iloc[1].tolist() == [1.0, 2.0]
    assert table["evaluating_seconds"].tolist() == [0.0] * len(table)
