"""The ranking of a search, its trade-offs, and the order at its rungs."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from analysis import RunError, load, pareto, rank_stability, ranking
from analysis.tables.ranking import scores_at_rungs
from tests.analysis.fake_run import summary, write_run
from tests.analysis.made_search import RUNGS, spread, write_search


def test_the_ranking_has_a_row_a_configuration_best_first(tmp_path: Path) -> None:
    table = ranking(load(write_run(tmp_path).path))
    assert table["trial"].tolist()[:3] == ["T2", "T4", "T0"]
    assert not {"T12", "T13"} & set(table["trial"])
    assert table["trial"].tolist()[-2:] == ["T3", "T6"] and table["rank"].isna().tolist()[-2:] == [True, True]
    rows = table.set_index("trial")
    assert rows["tied"].to_dict() == {name: name in ("T2", "T4") for name in rows.index}
    assert rows.loc[["T2", "T0", "T1"], "seeds"].tolist() == [2, 1, 0]
    assert rows.loc["T2", "lr"] == 3.3e-4 and rows.loc["T2", "recommended"]


def test_values_have_the_interval_over_seeds_or_else_over_clips(tmp_path: Path) -> None:
    rows: dict[Any, dict[Any, Any]] = ranking(load(write_run(tmp_path).path)).set_index("trial").to_dict("index")
    finalist = next(each for each in summary()["finalists"] if each["id"] == "T2")
    own = rows["T2"]
    assert (own["value"], own["low"], own["high"]) == tuple(finalist[name] for name in ("mean", "low", "high"))
    alone = rows["T1"]
    assert (alone["high"] - alone["low"]) / 2 == pytest.approx(1.96 * 0.012)
    assert (alone["high"] + alone["low"]) / 2 == pytest.approx(alone["value"])
    assert math.isnan(rows["T3"]["value"])
    assert rows["T4"]["behind_low"] <= rows["T4"]["behind"] <= rows["T4"]["behind_high"]


def test_each_configuration_stands_beside_the_winner(tmp_path: Path) -> None:
    table = ranking(load(write_run(tmp_path).path)).set_index("trial")
    conclusions = table["conclusion"].dropna().to_dict()
    assert (conclusions.pop("T0"), conclusions.pop("T4")) == ("worse", "tied")
    assert set(conclusions) == {"T1", "T5", "T7", "T10", "T11"}
    assert set(conclusions.values()) == {"compared at an earlier rung"}


def test_the_stability_of_rungs_has_its_conclusion(tmp_path: Path) -> None:
    few = {"rung": 1.0, "deepest": 3.0, "trials": 3, "spearman": None, "low": None, "high": None}
    known = {"rung": 0.5, "deepest": 3.0, "trials": 9, "spearman": 0.8, "low": 0.2, "high": 0.9}
    table = rank_stability(load(write_run(tmp_path, rung_correlations=[known, few]).path))
    assert table["conclusion"].tolist() == ["agrees", "too few"]
    assert table["spearman"].tolist() == pytest.approx([0.8, float("nan")], nan_ok=True)


def test_of_a_metric_that_is_to_be_high_the_ends_change_sides(tmp_path: Path) -> None:
    objective = {**summary()["objective"], "metric": "val_r2", "mode": "max", "weights": {"val_r2": 1.0}}
    found: dict[Any, dict[Any, Any]] = ranking(load(write_run(tmp_path, objective=objective).path)).to_dict("index")
    winner = found[0]
    assert winner["low"] < winner["value"] < winner["high"] and winner["value"] < 0


def test_a_parameter_named_as_a_column_stands_apart(tmp_path: Path) -> None:
    run = write_search(tmp_path, [{"value": 1.0}, {"value": 2.0}], lambda values: values["value"])
    content = json.loads(run.summary.read_text()) | {"parameters": ["value"], "scales": {"value": "linear"}}
    run.summary.write_text(json.dumps(content))
    table = ranking(load(tmp_path))
    assert table["config.value"].tolist() == [1.0, 2.0] and list(table).count("value") == 1


def test_scores_at_rungs_and_the_stability_of_their_order(tmp_path: Path) -> None:
    run = load(write_search(tmp_path, spread(8), lambda values: values["mask_ratio"]).path)
    scores = scores_at_rungs(run)
    assert (
        scores.columns.astype(float).tolist() == list(RUNGS) and scores.index.tolist() == run.trials["trial"].tolist()
    )
    assert scores[3.0].tolist() == pytest.approx([loss + 0.1 / 3 for loss in run.trials["val_loss"]])
    (tmp_path / "summary.json").write_text(json.dumps({**summary(), "rung_correlations": []}))
    assert rank_stability(load(tmp_path)).empty


def test_pareto_marks_who_is_beaten_by_none(tmp_path: Path) -> None:
    run = load(write_run(tmp_path).path)
    table = pareto(run, "parameters")
    costs = {"T0": 4 * 192, "T2": 6 * 192, "T4": 3 * 384}
    assert table["trial"].tolist() == sorted(costs, key=costs.__getitem__)
    assert table.set_index("trial")["front"].to_dict() == {"T0": True, "T2": True, "T4": False}
    assert not pareto(run, "step_seconds").empty and "cost" in pareto(run)
    with pytest.raises(RunError, match="against = 'speed', and must be a number of each trial"):
        pareto(run, "speed")
