"""Tables of what was tried and of how trials compare, as the summary has it."""

from pathlib import Path

import pytest

from analysis import load, rank_stability
from analysis.tables.comparisons import paired_against_best, searched
from tests.analysis.fake_run import summary, write_run


def test_each_trial_meets_the_winner_at_their_deepest_common_rung(tmp_path: Path) -> None:
    table = paired_against_best(load(write_run(tmp_path).path)).set_index("trial")
    assert set(table.index) == {"T0", "T1", "T4", "T5", "T7", "T10", "T11"}
    assert table.loc[["T0", "T10"], "rung"].tolist() == [3.0, 1.0]
    assert (table["low"] <= table["difference"]).all() and (table["difference"] <= table["high"]).all()
    conclusions = table["conclusion"].to_dict()
    assert (conclusions.pop("T0"), conclusions.pop("T4")) == ("worse", "tied")
    assert set(conclusions.values()) == {"compared at an earlier rung"}
    assert table["seed_error"].notna().to_dict() == {name: name in ("T0", "T4") for name in table.index}


def test_without_a_winner_there_are_no_rows(tmp_path: Path) -> None:
    trials = [{**trial, "against_winner": None} for trial in summary()["trials"]]
    run = load(write_run(tmp_path, best=None, trials=trials).path)
    assert paired_against_best(run).empty
    assert "conclusion" in paired_against_best(run)
    assert searched(run)["winner"].isna().all()


def test_searched_tells_what_was_tried(tmp_path: Path) -> None:
    table = searched(load(write_run(tmp_path).path))
    assert table.to_dict("index") == {
        "lr": {"scale": "log", "tried": "3.1e-05 to 0.008", "winner": 3.3e-4},
        "mask_ratio": {"scale": "linear", "tried": "0.6 to 0.9", "winner": 0.8},
        "predictor_depth": {"scale": "linear", "tried": "2 to 6", "winner": 6},
        "predictor_dim": {"scale": "category", "tried": "96, 192, 384", "winner": 192},
    }


def test_rung_correlations_have_their_conclusion(tmp_path: Path) -> None:
    few = {"rung": 1.0, "deepest": 3.0, "trials": 3, "spearman": None, "low": None, "high": None}
    known = {"rung": 0.5, "deepest": 3.0, "trials": 9, "spearman": 0.8, "low": 0.2, "high": 0.9}
    table = rank_stability(load(write_run(tmp_path, rung_correlations=[known, few]).path))
    assert table["conclusion"].tolist() == ["agrees", "too few"]
    assert table["spearman"].tolist() == pytest.approx([0.8, float("nan")], nan_ok=True)
    none = rank_stability(load(write_run(tmp_path / "none", rung_correlations=[]).path))
    assert none.empty and "conclusion" in none
