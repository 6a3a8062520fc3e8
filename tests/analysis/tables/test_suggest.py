"""What another search should draw from follows from where the best trials lie, and has a reason."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import importance, load, suggest
from tests.analysis.made_search import Score, spread, write_search


def suggested(path: Path, score: Score, count: int = 40) -> "pd.DataFrame":
    """By parameter."""
    return suggest(load(write_search(path, spread(count), score).path)).set_index("parameter")


def test_a_range_whose_end_wins_is_widened_beyond_it(tmp_path: Path) -> None:
    found = suggested(tmp_path, lambda values: values["lr"]).loc["lr"]
    assert (found["action"], found["settings"]) == ("widen", f"parameters.lr.low={found['new_low']:g}")
    assert found["new_low"] < found["low"] == 1e-5 and found["new_high"] == found["high"]
    assert "at the lower end" in found["reason"]


def test_a_rate_may_rise_beyond_its_range(tmp_path: Path) -> None:
    found = suggested(tmp_path, lambda values: -values["lr"]).loc["lr"]
    assert (found["action"], found["settings"]) == ("widen", f"parameters.lr.high={found['new_high']:g}")
    assert found["new_high"] > found["high"] == 1e-2 and "at the upper end" in found["reason"]


def test_a_share_stays_below_one_and_a_count_above_zero(tmp_path: Path) -> None:
    share = suggested(tmp_path / "share", lambda values: -values["mask_ratio"]).loc["mask_ratio"]
    assert (share["action"], share["new_high"]) == ("widen", pytest.approx(0.95))
    count = suggested(tmp_path / "count", lambda values: values["predictor_depth"]).loc["predictor_depth"]
    assert (count["action"], count["new_low"]) == ("widen", 1)


def test_a_range_is_narrowed_to_where_the_best_lie(tmp_path: Path) -> None:
    found = suggested(tmp_path, lambda values: abs(math.log10(values["lr"]) + 3.5)).loc["lr"]
    assert found["action"] == "narrow" and found["low"] < found["new_low"] < 10**-3.5 < found["new_high"] < 1e-2
    low, high = found["settings"].split()
    assert low.startswith("parameters.lr.low=") and high.startswith("parameters.lr.high=")
    assert "luck would do that in 0.0% of searches" in found["reason"]


def test_a_value_that_no_good_trial_has_is_dropped(tmp_path: Path) -> None:
    def score(values: dict[str, Any]) -> float:
        return float((values["predictor_dim"] == 384) + values["mask_ratio"] / 100)

    found = suggested(tmp_path, score).loc["predictor_dim"]
    assert (found["action"], found["new_values"]) == ("drop", "[96,192]")
    assert found["settings"] == "parameters.predictor_dim.values=[96,192]" and pd.isna(found["low"])


def test_what_does_not_matter_is_kept(tmp_path: Path) -> None:
    table = suggested(tmp_path, lambda values: abs(values["mask_ratio"] - 0.7))
    assert table.loc[["lr", "predictor_dim", "predictor_depth"], "action"].tolist() == ["keep"] * 3
    assert (table["reason"].str.len() > 10).all() and table.loc["lr", "settings"] == ""


def test_few_trials_suggest_nothing(tmp_path: Path) -> None:
    table = suggested(tmp_path, lambda values: values["lr"], count=5)
    assert set(table["action"]) == {"keep"}
    assert table.loc["lr", "reason"] == "5 ranked trials set it, and 6 are needed to tell"


def test_importance_is_that_of_what_the_scores_follow(tmp_path: Path) -> None:
    run = load(write_search(tmp_path, spread(40), lambda values: -math.log10(values["lr"])).path)
    table = importance(run)
    assert table["parameter"].iloc[0] == "lr" and table["importance"].iloc[0] > 0.8
    assert table["importance"].sum() == pytest.approx(1) and table["spearman"].iloc[0] == pytest.approx(-1)
    assert table["rung"].unique().tolist() == [3.0] and table["caveat"].iloc[0] == ""
    pd.testing.assert_frame_equal(table, importance(run))


def test_importance_says_where_trials_are_too_few_for_it(tmp_path: Path) -> None:
    few = importance(load(write_search(tmp_path / "few", spread(12), lambda values: values["lr"]).path))
    assert few["caveat"].unique().tolist() == ["12 trials are few for 4 parameters"]
    assert importance(load(write_search(tmp_path / "none", spread(5), lambda values: values["lr"]).path)).empty
    assert importance(load(write_search(tmp_path / "equal", spread(9), lambda _: 1.0).path)).empty
